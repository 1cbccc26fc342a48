"""From what a TOML file says to dataclasses, with what is wrong in words."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any, get_args, get_origin, get_type_hints

from xappa.errors import OptionError
from xappa.training.ranges import describe_out_of_range


def build_dataclass(kind: Any, values: Any, where: str, renamed: Mapping[Any, Mapping[str, str]]) -> Any:
    """Values as TOML gives them, as a dataclass, and its fields as what they are.

    Parameters
    ----------
    kind : type
        A dataclass, a tuple of types, or a type.
    values : dict, list or value
    where : str
        For messages.
    renamed : mapping
        By dataclass, old names of keys and the new ones; old ones are read with a warning.

    Raises
    ------
    OptionError
        If keys are unknown or missing, or values are of another type or out of range.
    """
    if dataclasses.is_dataclass(kind):
        if not isinstance(values, dict):
            raise OptionError(f"{where}: expected a table of keys, found {values!r}")
        values, hints = _replace_old_keys(renamed.get(kind, {}), values, where), get_type_hints(kind)
        unknown = sorted(set(values) - set(hints))
        if unknown:
            raise OptionError(f"{where}: unknown keys {unknown}; expected some of {sorted(hints)}")
        built = {key: build_dataclass(hints[key], value, f"{where}: {key}", renamed) for key, value in values.items()}
        if missing := [f.name for f in dataclasses.fields(kind) if _is_required(f) and f.name not in built]:
            raise OptionError(f"{where}: {', '.join(missing)} missing; expected it in the recipe")
        if wrong := describe_out_of_range(built):
            raise OptionError(f"{where}: {'; '.join(wrong)}")
        try:
            return kind(**built)  # type: ignore[operator]
        except OptionError as error:
            raise OptionError(f"{where}: {error}") from None
    if get_origin(kind) is tuple:
        if not isinstance(values, list):
            raise OptionError(f"{where}: expected a list, found {values!r}")
        inner = get_args(kind)
        kinds = [inner[0]] * len(values) if inner[-1] is Ellipsis else inner
        if len(kinds) != len(values):
            raise OptionError(f"{where}: expected {len(kinds)} entries, found {len(values)}")
        return tuple(build_dataclass(k, v, where, renamed) for k, v in zip(kinds, values, strict=True))
    if kind is float and isinstance(values, int) and not isinstance(values, bool):
        return float(values)
    if not isinstance(values, kind) or (kind is int and isinstance(values, bool)):
        raise OptionError(f"{where}: expected {kind.__name__}, found {values!r}")
    return values


def _replace_old_keys(names: Mapping[str, str], values: dict[str, Any], where: str) -> dict[str, Any]:
    """The table with today's names of keys.

    Raises
    ------
    OptionError
        If a key is given by both its names.
    """
    for old in sorted(names.keys() & values.keys()):
        new = names[old]
        if new in values:
            raise OptionError(f"{where}: {old!r} is the old name of {new!r}; expected one of them")
        warnings.warn(
            f"{where}: {old!r} is now {new!r}; the old name goes with version 0.2", FutureWarning, stacklevel=2
        )
    return {names.get(key, key): value for key, value in values.items()}


def _is_required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
