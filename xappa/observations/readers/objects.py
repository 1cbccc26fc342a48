"""Arrays of Python objects, of which a table or an attribute may hold any: as what can be compared and parsed."""

from __future__ import annotations

import decimal
import numbers
from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

PARSED = ("string", "integer", "floating", "mixed-integer-float", "empty")
"""Kinds of objects, as pandas calls them, that pandas groups and parses without an error."""

_NONE = "no number"


def make_hashable(values: np.ndarray) -> np.ndarray:
    """Values of which each has a hash, as grouping needs it: lists, arrays and records become their text."""
    if not values.dtype.isnative:  # pandas has its own byte order only
        values = values.astype(values.dtype.newbyteorder("="))
    if values.dtype.kind == "V":
        return np.array([str(value) for value in values.tolist()], object)
    if values.dtype != object or pd.api.types.infer_dtype(values, skipna=True) in PARSED:
        return values
    without = [place for place, value in enumerate(values) if not _has_hash(value)]
    if not without:
        return values
    out = values.copy()
    for place in without:
        out[place] = str(values[place])
    return out


def _has_hash(value: Any) -> bool:
    if isinstance(value, str | float | int):
        return True
    try:
        hash(value)
    except TypeError:
        return False
    return isinstance(value, Hashable)


def simplify_number(value: Any) -> Any:
    """A number as float, text as it is, nothing as None; other objects, truth values too, as text that is no number."""
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, np.timedelta64):  # which numpy counts among the integers
        return None if np.isnat(value) else _NONE
    if isinstance(value, numbers.Real | decimal.Decimal) and not isinstance(value, bool):
        try:
            return float(value)
        except (ArithmeticError, TypeError, ValueError):  # above what floats have, or a decimal that signals
            return _NONE
    missing = type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, np.datetime64) and np.isnat(value))
    return None if missing else _NONE


def to_numeric(column: pd.Series) -> pd.Series:
    """Numbers of a column, missing where there is none, as `pandas.to_numeric` with errors coerced; of any objects."""
    if column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) not in PARSED:
        column = column.map(simplify_number)
    try:
        return pd.to_numeric(column, errors="coerce")
    except (OverflowError, TypeError):  # integers above what floats have
        return pd.to_numeric(column.map(simplify_number), errors="coerce")
