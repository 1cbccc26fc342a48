"""Columns of a table: which is which, as arrays."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from xappa.errors import ObservationError
from xappa.observations.assumptions import UNITS_ASSUMED
from xappa.observations.names import (
    COORDINATES,
    NEEDED,
    QUANTITIES,
    NameMap,
    find_coordinate,
    normalise_name,
    require_coordinates,
    require_one_each,
)
from xappa.observations.periods import to_periods
from xappa.observations.readers.missing_codes import without_codes
from xappa.observations.readers.objects import make_hashable, simplify_number, to_numeric
from xappa.observations.readers.tables.degrees import apply_hemispheres, find_hemisphere_columns, read_angles
from xappa.observations.readers.times import PARTS, TimeColumns, find_times
from xappa.observations.schema import encode_counts
from xappa.observations.units import COORDINATE_UNITS, find_conversions


def choose_coordinate_names(sources: Mapping[str, list[str]], naming: NameMap) -> dict[str, str]:
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
            names = [min(names, key=lambda name: _rank_name(naming.parse_heading(name).name, meaning))]  # noqa: B023
        chosen[meaning] = names
    require_one_each(chosen)
    return {meaning: names[0] for meaning, names in chosen.items()}


def _rank_name(name: str, meaning: str) -> int:
    """How usual a name is for a coordinate: first those that only an attribute or the caller explains."""
    order = [normalise_name(usual) for usual in COORDINATES[meaning]]
    known = find_coordinate(name) == meaning
    return order.index(normalise_name(name)) if normalise_name(name) in order else len(order) if known else -1


_SIGNS = str.maketrans({"\u2212": "-", "\u00a0": " ", "\u202f": " ", "\u2009": " "})

MISSING_CODES = "missing_codes"
"""Attribute of observations: how many values were codes for a missing one, by quantity and coordinate (JSON)."""


@dataclass(frozen=True)
class PlaceColumns:
    """Times and places of the reports of a table.

    Parameters
    ----------
    arrays : dict of arrays, shape (n,)
        By coordinate.
    used : set
        Columns that they come from.
    dates : bool
        Whether times are dates alone.
    assumed : tuple of str
        Sentences on what was assumed.
    codes, unreadable : dict of str to int
        How many values were codes for a missing one, and how many no numbers, by coordinate.
    """

    arrays: dict[str, np.ndarray]
    used: set[Hashable]
    dates: bool = False
    assumed: tuple[str, ...] = ()
    codes: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, int] = field(default_factory=dict)

    @property
    def located(self) -> np.ndarray:
        """Reports with a place and a time, and a level if there are any: bool (n,)."""
        numeric = [self.arrays[name] for name in ("latitude", "longitude", "level") if name in self.arrays]
        return ~np.isnat(self.arrays["time"]) & np.logical_and.reduce([np.isfinite(array) for array in numeric])

    def list_assumptions(self, quantities: Iterable[str]) -> list[str]:
        """What was assumed, given the quantities of the table: of an instant, a date is not enough."""
        known = [name for name in quantities if name in QUANTITIES]
        instant = [name for name in known if QUANTITIES[name].cell_methods == "time: point"]
        if not self.dates or "period" in self.arrays or not instant:
            return list(self.assumed)
        return [
            *self.assumed,
            f"Dates come without hours: {', '.join(instant)} are taken for 00 UTC. Give a column 'hour', or times with "
            "hours; for values over the day, a column 'period' and the time of its end",
        ]


_TRUTH, _COMPLEX, _TIMES = "true and false", "complex numbers", "times or lengths of time"
_NO_NUMBERS = {"b": _TRUTH, "boolean": _TRUTH, "c": _COMPLEX, "complex": _COMPLEX} | dict.fromkeys(
    ("M", "m", "datetime", "datetime64", "date", "time", "timedelta", "timedelta64"), _TIMES
)


def read_coordinates(frame: pd.DataFrame, columns: Iterable[Hashable], naming: NameMap) -> PlaceColumns:
    """Times and places of a table.

    Raises
    ------
    ObservationError
        If time, latitude or longitude is missing or given twice, or times cannot be read.
    """
    by_name = {str(column): column for column in columns}
    sources: dict[str, list[str]] = {}
    for name in by_name:
        if (meaning := naming.find_coordinate(name)) is not None:
            sources.setdefault(meaning, []).append(name)
    times = _read_times(frame, by_name, sources.pop("time", []), sources, naming)
    require_coordinates([*sources, *(["time"] if times is not None else [])], frame.columns)
    assert times is not None
    used = {meaning: by_name[name] for meaning, name in choose_coordinate_names(sources, naming).items()}
    arrays = {"time": times.times}
    codes: dict[str, int] = {}
    unreadable: dict[str, int] = {}
    for meaning, column in used.items():
        arrays[meaning], codes[meaning], unreadable[meaning] = _read_coordinate(frame[column], meaning, naming)
    columns_used = {*used.values(), *(by_name[name] for name in times.used)}
    rest = {name: frame[column] for name, column in by_name.items() if column not in columns_used}
    for meaning in ("latitude", "longitude"):
        for name in find_hemisphere_columns(rest, meaning):
            arrays[meaning] = apply_hemispheres(arrays[meaning], rest[name], meaning)
            columns_used.add(by_name[name])
    return PlaceColumns(arrays, columns_used, times.dates, times.assumed, codes, unreadable)


def read_written_coordinates(rest: Mapping[str, pd.Series]) -> tuple[dict[str, np.ndarray], set[str]]:
    """Coordinates that only a table that xappa wrote has under their names, and the columns that they are."""
    found = {name: _read_coordinate(rest[name], name, NameMap())[0] for name in ("height", "source") if name in rest}
    return found, set(found)


def _read_times(
    frame: pd.DataFrame,
    by_name: Mapping[str, Hashable],
    named: list[str],
    sources: Mapping[str, list[str]],
    naming: NameMap,
) -> TimeColumns | None:
    taken = {name for names in sources.values() for name in names} | set(named)
    parts = {spelling for spellings in PARTS.values() for spelling in spellings}
    # "dd" is a day beside a year, and else the direction of the wind.
    headings = {n: naming.parse_heading(n).name for n in by_name}
    others = [
        n for n in by_name if n not in taken and (headings[n].casefold() in parts or naming.find_quantity(n) is None)
    ]
    meant = {n: headings[n] for n in others if headings[n] != n and headings[n].casefold() in parts}
    units = next((told for name in named if (told := naming.find_units(name, "time"))), None)
    table = {name: frame[by_name[name]] for name in (*named, *others)}
    return find_times(table, named, others, {**meant, **naming.rename}, units)


def _read_coordinate(series: pd.Series, meaning: str, naming: NameMap) -> tuple[np.ndarray, int, int]:
    """A coordinate in its units, and how many of its values were codes for a missing one, and no numbers."""
    if meaning in ("station", "source"):
        return to_text(series), 0, 0
    if meaning == "period":
        return to_periods(series, naming.find_units(str(series.name), meaning), str(series.name)), 0, 0
    given, unreadable = parse_numbers(read_angles(series, meaning))
    if meaning not in COORDINATE_UNITS:
        return *without_codes(given, given, meaning), unreadable
    expected = COORDINATE_UNITS[meaning]
    units = naming.find_units(str(series.name), meaning) or expected
    values = find_conversions([(meaning, units, expected)])[meaning, units].convert(given)
    return *without_codes(given, values, meaning), unreadable


def to_text(values: Any) -> np.ndarray:
    """Station names as text: numbers without a decimal point, missing ones empty."""

    def text(value: Any) -> str:
        if isinstance(value, bytes):
            return value.decode(errors="replace").strip()
        if isinstance(value, float | np.floating) and float(value).is_integer():
            return str(int(value))
        return str(value).strip()

    # A name is made once, however many reports it has.
    typed = isinstance(values, pd.Series) and values.dtype != object and getattr(values.dtype, "isnative", True)
    codes, names = pd.factorize(values if typed else make_hashable(np.asarray(values)))
    return np.array([*map(text, names), ""], dtype=str)[codes]


def parse_numbers(series: pd.Series) -> tuple[np.ndarray, int]:
    """Values as floats, and how many were given that are no numbers (they are missing then).

    Raises
    ------
    ObservationError
        If all of them are true or false, complex, or times, which other libraries take for numbers.
    """
    kind = pd.api.types.infer_dtype(series, skipna=True) if series.dtype == object else series.dtype.kind
    if pd.api.types.is_complex_dtype(series.dtype):
        kind = "c"
    if kind in _NO_NUMBERS:
        raise ObservationError(
            f"{series.name}: found {_NO_NUMBERS[kind]}. Expected numbers, or text of them. Drop what is none, or say "
            "which column is meant with rename={'<your name>': '2m_temperature'}"
        )
    values, given = to_numeric(series), _is_given(series)
    unread = values.isna() & given
    if unread.any():
        values = values.where(~unread, to_numeric(series.map(_normalise_typography)))
        unread = values.isna() & given
    return values.to_numpy(dtype=float, na_value=np.nan), int(unread.sum())


def _is_given(series: pd.Series) -> pd.Series:
    """Where a column has anything; pandas does not look at decimals that signal."""
    try:
        return series.notna()
    except ArithmeticError:
        return series.map(simplify_number).notna()


def _normalise_typography(value: Any) -> Any:
    """A text without the signs of typesetting: the minus of mathematics, blanks that do not break; None for no text."""
    return value.translate(_SIGNS).strip() if isinstance(value, str) else None


def build_read_attrs(
    unknown: Mapping[str, int],
    unreadable: Mapping[str, int],
    assumed: Iterable[str],
    codes: Mapping[str, int] | None = None,
) -> dict[str, str]:
    """Attributes that tell what was left out or assumed, and how many values were codes for missing ones."""
    attrs = {UNITS_ASSUMED: " ".join(assumed)}
    if any((codes or {}).values()):
        attrs[MISSING_CODES] = encode_counts({name: count for name, count in (codes or {}).items() if count})
    if unknown:
        attrs["unknown_variables"] = encode_counts(unknown)
    if any(unreadable.values()):
        attrs["unreadable_values"] = encode_counts({name: count for name, count in unreadable.items() if count})
    return {name: text for name, text in attrs.items() if text}
