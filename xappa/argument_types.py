"""Checks that arguments and options have the types of their annotations: Python takes the text ``"no"`` for true."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, ParamSpec, TypeVar

import numpy as np

from xappa.errors import DatasetError, OptionError

P = ParamSpec("P")
R = TypeVar("R")

KINDS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "bool": ("True or False", (bool, np.bool_)),
    "int": ("a whole number", (int, np.integer)),
    "float": ("a number", (int, float, np.integer, np.floating)),
    "str": ("text", (str,)),
    "Path": ("a path", (str, os.PathLike)),
    "Mapping": ("a mapping", (Mapping,)),
    "Collection": ("several values", (Collection,)),
    "Iterable": ("several values", (Iterable,)),
    "Sequence": ("several values", (Sequence, np.ndarray)),
    "tuple": ("a tuple", (tuple,)),
    "np.timedelta64": ("a length of time", (np.timedelta64,)),
    "np.random.Generator": ("a generator of random numbers", (np.random.Generator,)),
    "None": ("None", (type(None),)),
}
"""Description of an annotation, and the types that it accepts."""

OBJECTS: dict[str, tuple[str, tuple[str, ...]]] = {
    # Of DataArrays that should be Datasets, the function's own check says more.
    "xr.Dataset": ("a Dataset", ("Dataset", "DataArray")),
    "xr.DataArray": ("a DataArray", ("DataArray",)),
    "Fields": ("a Dataset or a DataArray", ("Dataset", "DataArray")),
    "Weights": ("weights of xappa.regrid_weights", ("Weights",)),
}
"""Classes of an annotation: in words, and names of theirs, so that none has to be imported here."""

DATA = {"xr.Dataset", "xr.DataArray", "Fields", "None"}
"""Types in the annotations of arguments that can only be data."""

LARGEST_SEED = 1 << 63
"""Beyond it, and below 0, NumPy or torch take no seed."""


def find_type_errors(annotations: Mapping[str, str], values: Mapping[str, Any]) -> list[str]:
    """Sentences on what is of another kind than its annotation asks for.

    Parameters
    ----------
    annotations : mapping of str to str
        Such as ``"float | None"``; those of other kinds than `KINDS` and `OBJECTS` are left to other checks.
    values : mapping of str to object
    """
    wrong = []
    for name, value in values.items():
        kinds = _split_union(annotations.get(name, ""))
        if name == "seed" and _is_of_kind(value, "int") and not 0 <= value < LARGEST_SEED:
            wrong.append(f"seed={value!r}, expected a whole number from 0 to 2**63 - 1")
            continue
        # Of what must be None, its own check says why.
        if (
            kinds == ("None",)
            or not set(kinds) <= {*KINDS, *OBJECTS}
            or any(_is_of_kind(value, kind) for kind in kinds)
        ):
            continue
        expected = " or ".join((KINDS | OBJECTS)[kind][0] for kind in kinds)
        wrong.append(f"{name}={format_value(value)}, expected {expected}")
    return wrong


def format_value(value: Any) -> str:
    """A value in a message: in one line, and cut if it is long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def find_option_type_errors(options: Any) -> list[str]:
    """Sentences on options of a dataclass that are of another kind than it says."""
    asked = {field.name: str(field.type) for field in fields(options)} if is_dataclass(options) else {}
    return find_type_errors(asked, {name: getattr(options, name) for name in asked})


@functools.cache
def _split_union(annotation: str) -> tuple[str, ...]:
    """Alternatives of an annotation, without what is in brackets."""
    found, depth = [""], 0
    for letter in annotation:
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if letter == "|" and depth == 0:
            found.append("")
        elif depth == 0 and letter not in " ]":
            found[-1] += letter
    return tuple(dict.fromkeys(found))


def _is_of_kind(value: Any, kind: str) -> bool:
    if kind in OBJECTS:
        return not {base.__name__ for base in type(value).__mro__}.isdisjoint(OBJECTS[kind][1])
    if not isinstance(value, KINDS[kind][1]):
        return False
    if kind in ("int", "float"):  # as which Python and NumPy take truth values and lengths of time
        return not isinstance(value, bool | np.bool_ | np.timedelta64) and value == value  # not NaN
    return not (kind == "Sequence" and isinstance(value, str))


def check_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Refuse arguments of other kinds than the function's annotations ask for, as it is called.

    Raises
    ------
    OptionError
        Naming all of them.
    DatasetError
        If all of them should be Datasets.
    """
    signature, annotations = inspect.signature(function), dict(function.__annotations__)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        given = signature.bind(*args, **kwargs).arguments
        if wrong := find_type_errors(annotations, given):
            of_data = {name for name, kind in annotations.items() if set(_split_union(str(kind))) <= DATA}
            others = {name: value for name, value in given.items() if name not in of_data}
            error = OptionError if find_type_errors(annotations, others) else DatasetError
            raise error(f"{function.__name__}: {'; '.join(wrong)}")
        return function(*args, **kwargs)

    return call
