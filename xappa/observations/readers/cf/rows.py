"""CF variables along several dimensions as reports along ``obs``."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xappa.observations.assumptions import set_units_read
from xappa.observations.names import QUANTITIES, NameMap, require_coordinates
from xappa.observations.periods import to_periods
from xappa.observations.readers.cf.periods import NOTHING, compute_periods
from xappa.observations.readers.missing_codes import get_declared_codes, mask_deviation_codes, without_codes
from xappa.observations.readers.tables.columns import build_read_attrs, to_text
from xappa.observations.schema import build_observations
from xappa.observations.units import COORDINATE_UNITS, find_conversions
from xappa.observations.user_variables import build_user_attrs

UNITLESS = ("time", "station", "period", "channel")


@dataclass(frozen=True)
class VariableColumn:
    """CF variable, or a part of one, that becomes reports.

    Parameters
    ----------
    meaning, name : str
        Name of the quantity, and of the variable in the source.
    values : DataArray
        Values with their coordinates.
    error, flags : DataArray or None
        Error standard deviations, and reasons for rejection (int8), along dimensions of the values.
    height : DataArray or None
        Heights of the values, m.
    bounds : DataArray or None
        Begin and end (..., 2) of the periods of the values.
    aloft : bool
        Whether the values are of the upper air.
    key : hashable
        Columns with the same key and dimensions make reports together.
    """

    meaning: str
    name: str
    values: xr.DataArray
    error: xr.DataArray | None = None
    flags: xr.DataArray | None = None
    height: xr.DataArray | None = None
    bounds: xr.DataArray | None = None
    aloft: bool = False
    key: tuple[Hashable, ...] = ()


def group_columns(columns: Sequence[VariableColumn]) -> list[list[VariableColumn]]:
    """Columns that make reports together, in their order."""
    groups: dict[tuple[Any, ...], list[VariableColumn]] = {}
    for column in columns:
        groups.setdefault((frozenset(column.values.dims), column.aloft, *column.key), []).append(column)
    return list(groups.values())


def to_reports(
    ds: xr.Dataset, group: Sequence[VariableColumn], coordinate_names: Mapping[str, str], naming: NameMap
) -> xr.Dataset:
    """Convert columns that share dimensions to reports.

    Parameters
    ----------
    ds : Dataset
        Source Dataset, used for coordinates.
    group : sequence of VariableColumn
        Columns of different quantities, with the same dimensions and `VariableColumn.key`.
    coordinate_names : mapping of str to str
        Meaning of each coordinate, such as ``"time"``, to its name in `ds`.
    naming : NameMap
        Names and units that the caller gives.

    Returns
    -------
    Dataset
        Observations in the schema, along ``obs``. The attribute ``missing_codes`` counts codes for missing values, and
        ``elements_padding`` the elements of a multidimensional array that are no reports.

    Raises
    ------
    ObservationError
        If time, latitude or longitude is not found.
    UnitsError
        If units are unknown or cannot be converted.
    """
    first = group[0].values
    dims = [str(dim) for dim in first.dims]
    # Of several heights only those that the columns have.
    coordinate_variables = {name: first.coords.get(name, ds[name]) for name in coordinate_names.values()}
    usable = {
        meaning: name
        for meaning, name in coordinate_names.items()
        if set(map(str, coordinate_variables[name].dims)) <= set(dims)
    }
    require_coordinates(
        usable,
        [f"{c.name} {c.values.dims}" for c in group]
        + [f"{name} {coordinate_variables[name].dims}" for name in coordinate_names.values()],
    )
    sizes = {dim: first.sizes[dim] for dim in dims}
    is_report = _find_reports(group, [coordinate_variables[name] for name in usable.values()], sizes)
    coordinates, units_assumed, missing_code_counts = _convert_coordinates(
        usable, coordinate_variables, sizes, is_report, naming
    )
    units, more_assumed = _find_units(group, naming)
    units_assumed += more_assumed
    values, errors, user_attrs, counts = _convert_values(group, sizes, is_report, units)
    missing_code_counts |= counts
    flags = {
        c.meaning: select_rows(flatten_along_obs(c.flags.variable, sizes), is_report).data
        for c in group
        if c.flags is not None
    }
    coordinates |= _collect_heights(group, sizes, is_report)
    if group[0].aloft and "level" not in coordinates:
        coordinates["level"] = np.full(len(coordinates["time"]), np.nan)
    periods, ends = _compute_period_bounds(group, sizes, is_report)
    if ends is not None:
        coordinates["time"] = ends
    attrs = build_read_attrs({}, {}, [c.meaning for c in group if c.meaning in units_assumed], missing_code_counts)
    obs = build_observations(coordinates, values, errors, attrs, periods, user_attrs, flags)
    set_units_read(obs, {meaning: unit for meaning, unit in units.items() if meaning not in units_assumed})
    if periods:
        obs["period"] = obs["period"].where(obs["period"] != NOTHING)
    if is_report is not None:
        obs.attrs["elements_padding"] = int(is_report.size - is_report.sum())
    return obs


def _collect_heights(
    group: Sequence[VariableColumn], sizes: Mapping[str, int], is_report: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Coordinate ``height`` (m) along ``obs``, from the first column that has heights; empty if none has."""
    heights = [c.height for c in group if c.height is not None and set(map(str, c.height.dims)) <= set(sizes)]
    if not heights:
        return {}
    return {"height": select_rows(flatten_along_obs(heights[0].variable, sizes), is_report).to_numpy()}


def _compute_period_bounds(
    group: Sequence[VariableColumn], sizes: Mapping[str, int], is_report: np.ndarray | None
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Lengths of the periods by quantity, and their ends, along ``obs``; see `compute_periods`."""
    bounds = group[0].bounds
    if bounds is None:
        return {}, None
    names = [c.meaning for c in group]
    return compute_periods(bounds, names, lambda v: select_rows(flatten_along_obs(v, sizes), is_report))


def flatten_along_obs(variable: xr.Variable, sizes: Mapping[str, int]) -> xr.Variable:
    """Variable along all dimensions, flattened; integers become floats."""
    whole = variable.set_dims(sizes).transpose(*sizes)
    data = whole.data.reshape(-1)
    return xr.Variable("obs", data.astype(float) if data.dtype.kind in "iub" else data, variable.attrs)


def select_rows(variable: xr.Variable, is_report: np.ndarray | None) -> xr.Variable:
    """Rows that are reports; all of them for None."""
    return variable if is_report is None else variable[{"obs": np.flatnonzero(is_report)}]


def _convert_coordinates(
    usable: Mapping[str, str],
    coordinate_variables: Mapping[str, xr.DataArray],
    sizes: Mapping[str, int],
    is_report: np.ndarray | None,
    naming: NameMap,
) -> tuple[dict[str, Any], list[str], dict[str, int]]:
    """Coordinates along ``obs``, in memory and in their units; those with assumed units; counts of missing codes."""
    flat = {
        meaning: _flatten_coordinate(meaning, coordinate_variables[name], sizes, is_report)
        for meaning, name in usable.items()
    }
    units: dict[str, str] = {}
    assumed: list[str] = []
    for meaning in (m for m in usable if m not in UNITLESS):
        found = naming.find_units(usable[meaning], meaning) or flat[meaning].attrs.get("units")
        units[meaning] = str(found or COORDINATE_UNITS[meaning])
        assumed += [] if found else [meaning]
    maps = find_conversions((meaning, unit, COORDINATE_UNITS[meaning]) for meaning, unit in units.items())
    arrays: dict[str, Any] = {}
    counts: dict[str, int] = {}
    for meaning, v in flat.items():
        arrays[meaning] = maps[meaning, units[meaning]].convert(v.data) if meaning in units else v.data
        if v.dtype.kind == "f":
            arrays[meaning], counts[meaning] = without_codes(
                v.data, arrays[meaning], meaning, get_declared_codes(v.attrs)
            )
    return arrays, assumed, counts


def _find_units(group: Sequence[VariableColumn], naming: NameMap) -> tuple[dict[str, str], list[str]]:
    """Units of the quantities that have any, and the quantities whose units are assumed."""
    units: dict[str, str] = {}
    assumed: list[str] = []
    for column in group:
        found = naming.find_units(column.name, column.meaning) or column.values.attrs.get("units")
        if column.meaning in QUANTITIES:
            assumed += [] if found else [column.meaning]
            units[column.meaning] = str(found or QUANTITIES[column.meaning].units)
        elif found:
            units[column.meaning] = str(found)
    return units, assumed


def _convert_values(
    group: Sequence[VariableColumn],
    sizes: Mapping[str, int],
    is_report: np.ndarray | None,
    units: Mapping[str, str],
) -> tuple[dict[str, Any], dict[str, Any], dict[str, dict[str, Any]], dict[str, int]]:
    """Values and errors in their units; attributes of user-defined quantities; counts of missing codes."""
    user_attrs = {
        c.meaning: build_user_attrs(c.values.attrs, units.get(c.meaning)) for c in group if c.meaning not in QUANTITIES
    }
    known = {meaning: found for meaning, found in units.items() if meaning in QUANTITIES}
    maps = find_conversions((meaning, found, QUANTITIES[meaning].units) for meaning, found in known.items())
    values: dict[str, Any] = {}
    errors: dict[str, Any] = {}
    counts: dict[str, int] = {}
    for column in group:
        meaning, flat = column.meaning, select_rows(flatten_along_obs(column.values.variable, sizes), is_report)
        values[meaning] = maps[meaning, known[meaning]].convert(flat.data) if meaning in known else flat.data
        if flat.dtype.kind == "f":
            declared = get_declared_codes(column.values.attrs)
            values[meaning], counts[meaning] = without_codes(flat.data, values[meaning], meaning, declared)
        if (error := column.error) is None:
            continue
        expected = str(user_attrs[meaning].get("units", "")) if meaning in user_attrs else QUANTITIES[meaning].units
        found = str(error.attrs.get("units", units.get(meaning, expected)))
        convert = find_conversions([(str(error.name), found, expected or found)])[str(error.name), found]
        deviation = select_rows(flatten_along_obs(error.variable, sizes), is_report).data
        errors[meaning] = mask_deviation_codes(deviation, convert.convert_deviation(deviation), meaning)
    return values, errors, user_attrs, counts


def _find_reports(
    group: Sequence[VariableColumn], coordinates: Sequence[xr.DataArray], sizes: Mapping[str, int]
) -> np.ndarray | None:
    """Elements of a multidimensional array that are reports; None if all are.

    CF (section 9.6): where an auxiliary coordinate is missing, everything else is as well, and there is no report.
    Values that are in memory are looked at, so that a report without a time is not taken for padding.
    """
    whole = [place for place in coordinates if set(map(str, place.dims)) == set(sizes) and len(sizes) > 1]
    if not whole:
        return None
    missing = np.logical_and.reduce([pd.isna(flatten_along_obs(place.variable, sizes).to_numpy()) for place in whole])
    for column in group:
        if column.values.chunks is None and missing.any():
            missing &= pd.isna(flatten_along_obs(column.values.variable, sizes).to_numpy())
    return None if not missing.any() or missing.all() else ~missing


def _flatten_coordinate(
    meaning: str, variable: xr.DataArray, sizes: Mapping[str, int], is_report: np.ndarray | None
) -> xr.Variable:
    """A coordinate along ``obs``, in memory; texts are made before they are repeated."""
    array = variable.to_numpy()
    if meaning == "station":
        array = to_text(array.reshape(-1)).reshape(array.shape)
    elif meaning == "period":
        array = to_periods(array.reshape(-1), variable.attrs.get("units")).reshape(array.shape)
    return select_rows(flatten_along_obs(xr.Variable(variable.dims, array, variable.attrs), sizes), is_report)
