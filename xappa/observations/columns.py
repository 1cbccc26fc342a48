"""Columns of a table: which is which, as arrays."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from xappa.observations.assumptions import UNITS_ASSUMED
from xappa.observations.form import counted
from xappa.observations.names import (
    COORDINATES,
    NEEDED,
    Naming,
    coordinate_of,
    require_coordinates,
    require_one_each,
    spelling,
)
from xappa.observations.periods import to_periods
from xappa.observations.times import to_times
from xappa.observations.units import COORDINATE_UNITS, conversions


def preferred(sources: Mapping[str, list[str]], naming: Naming) -> dict[str, str]:
    """One name a coordinate: the one that the caller gave, else (for those that may be absent) the first spelling.

    Raises
    ------
    ObservationError
        If two stand for a coordinate that every report needs.
    """
    chosen: dict[str, list[str]] = {}
    for meaning, names in sources.items():
        names = [name for name in names if name in naming.rename] or names
        if meaning not in NEEDED:
            names = [min(names, key=lambda name: _rank(naming.heading(name).name, meaning))]  # noqa: B023
        chosen[meaning] = names
    require_one_each(chosen)
    return {meaning: names[0] for meaning, names in chosen.items()}


def _rank(name: str, meaning: str) -> int:
    """How usual a name is for a coordinate: first those that only an attribute or the caller explains."""
    order = [spelling(usual) for usual in COORDINATES[meaning]]
    known = coordinate_of(name) == meaning
    return order.index(spelling(name)) if spelling(name) in order else len(order) if known else -1


def coordinates(
    frame: pd.DataFrame, columns: Iterable[Hashable], naming: Naming
) -> tuple[dict[str, np.ndarray], set[Hashable]]:
    """Coordinate arrays of a table, and the columns that they came from.

    Raises
    ------
    ObservationError
        If time, latitude or longitude is missing or given twice, or times cannot be read.
    """
    by_name = {str(column): column for column in columns}
    sources: dict[str, list[str]] = {}
    for name in by_name:
        if (meaning := naming.coordinate(name)) is not None:
            sources.setdefault(meaning, []).append(name)
    require_coordinates(sources, frame.columns)
    used = {meaning: by_name[name] for meaning, name in preferred(sources, naming).items()}
    return {meaning: _coordinate(frame[column], meaning, naming) for meaning, column in used.items()}, set(
        used.values()
    )


def _coordinate(series: pd.Series, meaning: str, naming: Naming) -> np.ndarray:
    if meaning == "time":
        naming.told_units(str(series.name), meaning)  # refuses other zones than UTC
        return to_times(series, str(series.name))
    if meaning == "station":
        return to_text(series)
    if meaning == "period":
        return to_periods(series, naming.told_units(str(series.name), meaning), str(series.name))
    if meaning == "channel":
        return numbers(series)[0]
    expected = COORDINATE_UNITS[meaning]
    units = naming.told_units(str(series.name), meaning) or expected
    return conversions([(meaning, units, expected)])[meaning, units].value(numbers(series)[0])


def to_text(values: Any) -> np.ndarray:
    """Station names as text: numbers without a decimal point, missing ones empty."""

    def text(value: Any) -> str:
        if isinstance(value, bytes):
            return value.decode(errors="replace").strip()
        if isinstance(value, float) and value.is_integer():
            return str(int(value))
        return str(value).strip()

    # A name is made once, however many reports it has.
    codes, names = pd.factorize(np.asarray(values) if not isinstance(values, pd.Series) else values)
    return np.array([*map(text, names), ""], dtype=str)[codes]


def numbers(series: pd.Series) -> tuple[np.ndarray, int]:
    """Values as floats, and how many were given that are no numbers (they are missing then)."""
    values = pd.to_numeric(series, errors="coerce")
    return values.to_numpy(dtype=float, na_value=np.nan), int((values.isna() & series.notna()).sum())


def notes(unknown: Mapping[str, int], unreadable: Mapping[str, int], assumed: Iterable[str]) -> dict[str, str]:
    """Attributes that tell what was left out or assumed."""
    attrs = {UNITS_ASSUMED: " ".join(assumed)}
    if unknown:
        attrs["unknown_variables"] = counted(unknown)
    if any(unreadable.values()):
        attrs["unreadable_values"] = counted({name: count for name, count in unreadable.items() if count})
    return {name: text for name, text in attrs.items() if text}
