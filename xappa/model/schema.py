"""JSON values into dataclasses, checked against their annotations before anything is built from them."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from xappa.errors import ModelError, XappaError, suggest_names

T = TypeVar("T")

LARGEST = 1 << 24
"""Beyond it no size of a network, grid or window is meant."""


def from_json(kind: type[T], values: Any, where: str) -> T:
    """A dataclass whose fields are the entries of a JSON object.

    Parameters
    ----------
    kind : type
        Dataclass whose fields are annotated with bool, int, float, str, None, tuples, unions of these, or dataclasses.
    values : Any
        What `json.loads` gave. Integers are between 0 and 2**24, floats are finite.
    where : str
        Name of the entry, for the error.

    Raises
    ------
    ModelError
        If `values` is no object, entries are missing or not known, or values are of another type or out of range; all
        problems are named. Also if the dataclass itself refuses them.
    """
    if not isinstance(values, Mapping):
        raise ModelError(f"{where} is {_abbreviate_repr(values)}; expected an object with entries")
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}  # type: ignore[arg-type]
    hints = get_type_hints(kind)
    problems = [f"{where}.{key} is not known{suggest_names(key, fields)}" for key in values if key not in fields]
    problems += [
        f"{where}.{name} is missing" for name, field in fields.items() if name not in values and _is_required(field)
    ]
    known = {
        name: _convert(hints[name], values[name], f"{where}.{name}", problems) for name in fields if name in values
    }
    if problems:
        raise ModelError("; ".join(problems))
    try:
        return kind(**known)
    except XappaError as error:
        raise ModelError(f"{where}: {error}") from error


def _is_required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _convert(hint: Any, value: Any, where: str, problems: list[str]) -> Any:
    """`value` as `hint` says; a problem is noted, and None returned, if it is not of that type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _convert_union(arguments, value, where, problems)
    if origin is tuple and isinstance(value, list | tuple):
        open_ended = len(arguments) == 2 and arguments[1] is Ellipsis
        if not open_ended and len(value) != len(arguments):
            problems.append(f"{where} has {len(value)} entries; expected {len(arguments)}")
            return None
        hints = [arguments[0]] * len(value) if open_ended else arguments
        return tuple(
            _convert(h, v, f"{where}[{i}]", problems) for i, (h, v) in enumerate(zip(hints, value, strict=True))
        )
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        try:
            return from_json(hint, value, where)
        except ModelError as error:
            problems.append(str(error))
            return None
    if hint in _SCALARS and _SCALARS[hint](value):
        return float(value) if hint is float else value
    problems.append(f"{where} is {_abbreviate_repr(value)}; expected {_describe_type(hint)}")
    return None


def _convert_union(hints: tuple[Any, ...], value: Any, where: str, problems: list[str]) -> Any:
    for hint in hints:
        own: list[str] = []
        converted = _convert(hint, value, where, own)
        if not own:
            return converted
    problems.append(f"{where} is {_abbreviate_repr(value)}; expected {' or '.join(map(_describe_type, hints))}")
    return None


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_SCALARS: dict[Any, Callable[[Any], bool]] = {
    bool: lambda value: isinstance(value, bool),
    int: _is_size,
    float: _is_finite,
    str: lambda value: isinstance(value, str),
    type(None): lambda value: value is None,
}


def _describe_type(hint: Any) -> str:
    words = {bool: "true or false", int: f"an integer from 0 to {LARGEST}", float: "a finite number", str: "text"}
    words[type(None)] = "null"
    return words.get(hint, "a list" if get_origin(hint) is tuple else str(hint))


def _abbreviate_repr(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
