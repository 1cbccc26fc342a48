"""Tables of reports: tidy (one value a row) or wide (one column a quantity)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations.form import build, counted
from xappa.observations.names import (
    NEEDED,
    QUANTITIES,
    Naming,
    listing,
    require_coordinates,
    require_one_each,
    require_quantities,
)
from xappa.observations.times import to_times
from xappa.observations.units import COORDINATE_UNITS, conversions

TIDY: dict[str, tuple[str, ...]] = {
    "variable": ("variable", "parameter", "quantity"),
    "observation": ("observation", "obs", "value", "obs_value", "observed_value"),
    "error": ("error", "obs_error", "standard_error", "sigma"),
    "units": ("units", "unit"),
}


def from_frame(frame: pd.DataFrame, naming: Naming | None = None) -> xr.Dataset:
    """Observations from a table.

    Parameters
    ----------
    frame : DataFrame
        Tidy, with the columns time, latitude, longitude, variable and observation (optional: level, altitude, station,
        error, units), or wide, with a column for each quantity (optional: ``<quantity>_error``). The usual spellings
        are recognised; named index levels count as columns.
    naming : Naming, optional
        What the caller says about names and units.

    Returns
    -------
    Dataset
        In the one form, without flags. Rows of a tidy table that differ in nothing but the variable are one report; a
        variable that comes again in it makes another.

    Raises
    ------
    ObservationError
        If columns are missing, are named twice, or none is a known quantity.
    UnitsError
        If units are unknown or cannot be converted.
    """
    naming = naming or Naming()
    frame = _with_index(frame)
    if frame.empty:
        raise ObservationError(f"The table has no rows (columns: {listing(frame.columns)}). Expected at least one report")
    tidy = _tidy_columns(frame)
    return _from_tidy(frame, tidy, naming) if {"variable", "observation"} <= set(tidy) else _from_wide(frame, naming)


def _with_index(frame: pd.DataFrame) -> pd.DataFrame:
    if any(name is not None for name in frame.index.names):
        return frame.reset_index()
    return frame.reset_index(drop=True)


def _tidy_columns(frame: pd.DataFrame) -> dict[str, Hashable]:
    by_spelling = {str(column).casefold(): column for column in frame.columns}
    found = {role: next((by_spelling[s] for s in spellings if s in by_spelling), None) for role, spellings in TIDY.items()}
    return {role: column for role, column in found.items() if column is not None}


def _coordinates(frame: pd.DataFrame, columns: list[Hashable], naming: Naming) -> tuple[dict[str, Any], set[Hashable]]:
    """Coordinate arrays, and the columns that they came from."""
    sources: dict[str, list[str]] = {}
    for column in columns:
        meaning = naming.coordinate(str(column))
        if meaning is not None:
            sources.setdefault(meaning, []).append(str(column))
    for meaning, names in sources.items():
        told = [name for name in names if name in naming.rename]
        sources[meaning] = told or names
    require_coordinates(sources, frame.columns)
    require_one_each(sources)
    by_name = {str(column): column for column in columns}
    used = {meaning: by_name[names[0]] for meaning, names in sources.items()}
    return {meaning: _coordinate(frame[column], meaning, naming) for meaning, column in used.items()}, set(used.values())


def _coordinate(series: pd.Series, meaning: str, naming: Naming) -> np.ndarray:
    if meaning == "time":
        return to_times(series, str(series.name))
    if meaning == "station":
        return to_text(series)
    values = pd.to_numeric(series, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    expected = COORDINATE_UNITS[meaning]
    units = naming.told_units(str(series.name), meaning) or expected
    return conversions([(meaning, units, expected)])[meaning, units].value(values)


def to_text(values: Any) -> np.ndarray:
    """Station names as text (numbers without a decimal point, missing ones empty)."""

    def text(value: Any) -> str:
        if isinstance(value, bytes):
            return value.decode(errors="replace").strip()
        if isinstance(value, float | np.floating) and float(value).is_integer():
            return str(int(value))
        return "" if pd.isna(value) else str(value).strip()

    return np.array([text(value) for value in np.asarray(values, dtype=object)], dtype=str)


def _numbers(series: pd.Series) -> tuple[np.ndarray, int]:
    """Values as floats, and how many were given that are no numbers."""
    numbers = pd.to_numeric(series, errors="coerce")
    return numbers.to_numpy(dtype=float, na_value=np.nan), int((numbers.isna() & series.notna()).sum())


def _attrs(unknown: Mapping[str, int], unreadable: Mapping[str, int], assumed: list[str]) -> dict[str, str]:
    attrs = {"units_assumed": " ".join(assumed)} if assumed else {}
    if unknown:
        attrs["unknown_variables"] = counted(unknown)
    if any(unreadable.values()):
        attrs["unreadable_values"] = counted({name: count for name, count in unreadable.items() if count})
    return attrs


def _from_wide(frame: pd.DataFrame, naming: Naming) -> xr.Dataset:
    coordinates, used = _coordinates(frame, list(frame.columns), naming)
    sources: dict[str, list[str]] = {}
    errors: dict[str, list[str]] = {}
    unknown: dict[str, int] = {}
    for column in (column for column in frame.columns if column not in used):
        name = str(column)
        if (meaning := naming.quantity(name)) is not None:
            sources.setdefault(meaning, []).append(name)
        elif (meaning := naming.quantity(name.removesuffix("_error"))) is not None:
            errors.setdefault(meaning, []).append(name)
        else:
            unknown[name] = int(frame[column].notna().sum())
    require_quantities(sources, unknown)
    require_one_each(sources | {f"{meaning}_error": names for meaning, names in errors.items()})
    table = frame.set_axis([str(column) for column in frame.columns], axis=1)
    units = {meaning: naming.told_units(names[0], meaning) for meaning, names in sources.items()}
    expected = {meaning: QUANTITIES[meaning].units for meaning in sources}
    maps = conversions((meaning, found or expected[meaning], expected[meaning]) for meaning, found in units.items())
    values, unreadable = {}, {}
    for meaning, names in sources.items():
        numbers, unreadable[meaning] = _numbers(table[names[0]])
        values[meaning] = maps[meaning, units[meaning] or expected[meaning]].value(numbers)
    deviations = {
        meaning: maps[meaning, units[meaning] or expected[meaning]].deviation(_numbers(table[names[0]])[0])
        for meaning, names in errors.items()
        if meaning in sources
    }
    assumed = [meaning for meaning, found in units.items() if found is None]
    return build(coordinates, values, deviations, _attrs(unknown, unreadable, assumed))


def _from_tidy(frame: pd.DataFrame, tidy: Mapping[str, Hashable], naming: Naming) -> xr.Dataset:
    others = [column for column in frame.columns if column not in tidy.values()]
    coordinates, used = _coordinates(frame, others, naming)
    names = frame[tidy["variable"]].astype(str)
    meanings = names.map({name: naming.quantity(name) for name in names.unique()})
    known = meanings.notna().to_numpy()
    unknown = names[~known].value_counts().to_dict()
    require_quantities(meanings[known].unique(), unknown)
    if len(dropped := [column for column in others if column not in used]):
        unknown |= {str(column): int(frame[column].notna().sum()) for column in dropped}
    rows = pd.DataFrame({name: array[known] for name, array in coordinates.items()})
    report, first = _reports(rows, meanings[known].to_numpy())
    expected = meanings[known].map(lambda name: QUANTITIES[name].units)
    units, assumed = _tidy_units(frame[known], tidy, names[known], meanings[known], naming)
    numbers, bad = _numbers(frame.loc[known, tidy["observation"]])
    keys = list(zip(meanings[known], units, strict=True))
    maps = conversions((name, unit, want) for (name, unit), want in zip(keys, expected, strict=True))
    factor = np.array([maps[key].factor for key in keys])
    offset = np.array([maps[key].offset for key in keys])
    converted = np.where(offset == 0.0, numbers * factor, numbers * factor + offset)
    at = {name: np.flatnonzero(meanings[known] == name) for name in meanings[known].unique()}
    values = {name: _spread(converted, report, rows_of, len(first)) for name, rows_of in at.items()}
    errors = {}
    if "error" in tidy:
        deviations = _numbers(frame.loc[known, tidy["error"]])[0] * factor
        errors = {name: _spread(deviations, report, rows_of, len(first)) for name, rows_of in at.items()}
    places = {name: array[known][first] for name, array in coordinates.items()}
    return build(places, values, errors, _attrs(unknown, {"observation": bad}, assumed))


def _reports(rows: pd.DataFrame, meanings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of the report that each row belongs to, and the first row of each report."""
    place = rows.groupby(list(rows.columns), dropna=False, sort=False).ngroup()
    again = pd.DataFrame({"place": place, "meaning": meanings}).groupby(["place", "meaning"], sort=False).cumcount()
    report = pd.DataFrame({"place": place, "again": again}).groupby(["place", "again"], sort=False).ngroup().to_numpy()
    return report, np.unique(report, return_index=True)[1]


def _tidy_units(
    frame: pd.DataFrame, tidy: Mapping[str, Hashable], names: pd.Series, meanings: pd.Series, naming: Naming
) -> tuple[list[str], list[str]]:
    """Units of each row, and the quantities for which they had to be assumed."""
    pairs = pd.DataFrame({"name": names, "meaning": meanings}).drop_duplicates().itertuples(index=False)
    told = {(name, meaning): naming.told_units(name, meaning) for name, meaning in pairs}
    given = frame[tidy["units"]] if "units" in tidy else pd.Series(None, index=frame.index, dtype=object)
    units, assumed = [], {}
    for name, meaning, unit in zip(names, meanings, given, strict=True):
        found = told[name, meaning] or (unit.strip() if isinstance(unit, str) and unit.strip() else None)
        if found is None:
            assumed[meaning] = True
        units.append(found or QUANTITIES[meaning].units)
    return units, list(assumed)


def _spread(values: np.ndarray, report: np.ndarray, rows: np.ndarray, size: int) -> np.ndarray:
    result = np.full(size, np.nan)
    result[report[rows]] = values[rows]
    return result


__all__ = ["NEEDED", "TIDY", "from_frame", "to_text"]
