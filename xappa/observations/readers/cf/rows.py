"""CF variables along several dimensions as reports along ``obs``."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xappa.observations.assumptions import with_units_read
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
    """One CF variable, or a part of one, as it becomes reports.

    Parameters
    ----------
    meaning, name : str
        The quantity, and the variable in the source.
    values : DataArray
        With its coordinates.
    error, flags : DataArray or None
        Deviations, and reasons (int8) for rejections, along dimensions of the values.
    height : DataArray or None
        Heights of the values, m.
    bounds : DataArray or None
        Begin and end (..., 2) of their periods.
    aloft : bool
        Whether they are of the upper air.
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
    ds: xr.Dataset, group: Sequence[VariableColumn], places: Mapping[str, str], naming: NameMap
) -> xr.Dataset:
    """Columns that share dimensions as reports.

    Parameters
    ----------
    ds : Dataset
        The source, for what it has along the dimensions of the columns.
    group : sequence of VariableColumn
        Each of another quantity.
    places : mapping of str to str
        Coordinates: meaning to name.
    naming : NameMap
        What the caller says.
    """
    first = group[0].values
    dims = [str(dim) for dim in first.dims]
    # Of several heights only those that the columns have.
    here = {name: first.coords.get(name, ds[name]) for name in places.values()}
    usable = {meaning: name for meaning, name in places.items() if set(map(str, here[name].dims)) <= set(dims)}
    require_coordinates(
        usable,
        [f"{c.name} {c.values.dims}" for c in group] + [f"{name} {here[name].dims}" for name in places.values()],
    )
    sizes = {dim: first.sizes[dim] for dim in dims}
    kept = _find_reports(group, [here[name] for name in usable.values()], sizes)
    codes: dict[str, int] = {}
    coordinates, assumed = _convert_coordinates(usable, here, sizes, kept, naming, codes)
    units = _find_units(group, naming, assumed)
    values, errors, own = _convert_values(group, sizes, kept, units, codes)
    flags = {
        c.meaning: select_rows(flatten_along_obs(c.flags.variable, sizes), kept).data
        for c in group
        if c.flags is not None
    }
    size = len(coordinates["time"])
    heights = [c.height for c in group if c.height is not None and set(map(str, c.height.dims)) <= set(dims)]
    if heights:
        coordinates["height"] = select_rows(flatten_along_obs(heights[0].variable, sizes), kept).to_numpy()
    if group[0].aloft and "level" not in coordinates:
        coordinates["level"] = np.full(size, np.nan)
    lengths: dict[str, np.ndarray] = {}
    if (bounds := group[0].bounds) is not None:
        names = [c.meaning for c in group]
        lengths, coordinates["time"] = compute_periods(
            bounds, names, lambda v: select_rows(flatten_along_obs(v, sizes), kept)
        )
    attrs = build_read_attrs({}, {}, [c.meaning for c in group if c.meaning in assumed], codes)
    obs = build_observations(coordinates, values, errors, attrs, lengths, own, flags)
    with_units_read(obs, {meaning: unit for meaning, unit in units.items() if meaning not in assumed})
    if lengths:
        obs["period"] = obs["period"].where(obs["period"] != NOTHING)
    if kept is not None:
        obs.attrs["elements_padding"] = int(kept.size - kept.sum())
    return obs


def flatten_along_obs(variable: xr.Variable, sizes: Mapping[str, int]) -> xr.Variable:
    """A variable along all dimensions, flattened; integers become floats."""
    whole = variable.set_dims(sizes).transpose(*sizes)
    data = whole.data.reshape(-1)
    return xr.Variable("obs", data.astype(float) if data.dtype.kind in "iub" else data, variable.attrs)


def select_rows(variable: xr.Variable, kept: np.ndarray | None) -> xr.Variable:
    """The rows that are kept; all for None."""
    return variable if kept is None else variable[{"obs": np.flatnonzero(kept)}]


def _convert_coordinates(
    usable: Mapping[str, str],
    here: Mapping[str, xr.DataArray],
    sizes: Mapping[str, int],
    kept: np.ndarray | None,
    naming: NameMap,
    codes: dict[str, int],
) -> tuple[dict[str, Any], list[str]]:
    """Coordinates along ``obs``, in memory and in their units, and those whose units are assumed; adds to `codes`."""
    flat = {meaning: _flatten_coordinate(meaning, here[name], sizes, kept) for meaning, name in usable.items()}
    units, assumed = {}, []
    for meaning in (m for m in usable if m not in UNITLESS):
        found = naming.find_units(usable[meaning], meaning) or flat[meaning].attrs.get("units")
        units[meaning] = str(found or COORDINATE_UNITS[meaning])
        assumed += [] if found else [meaning]
    maps = find_conversions((meaning, unit, COORDINATE_UNITS[meaning]) for meaning, unit in units.items())
    arrays = {}
    for meaning, v in flat.items():
        arrays[meaning] = maps[meaning, units[meaning]].convert(v.data) if meaning in units else v.data
        if v.dtype.kind == "f":
            arrays[meaning], codes[meaning] = without_codes(
                v.data, arrays[meaning], meaning, get_declared_codes(v.attrs)
            )
    return arrays, assumed


def _find_units(group: Sequence[VariableColumn], naming: NameMap, assumed: list[str]) -> dict[str, str]:
    """Units of quantities, where they have any; adds to `assumed`."""
    units: dict[str, str] = {}
    for column in group:
        found = naming.find_units(column.name, column.meaning) or column.values.attrs.get("units")
        if column.meaning in QUANTITIES:
            assumed += [] if found else [column.meaning]
            units[column.meaning] = str(found or QUANTITIES[column.meaning].units)
        elif found:
            units[column.meaning] = str(found)
    return units


def _convert_values(
    group: Sequence[VariableColumn],
    sizes: Mapping[str, int],
    kept: np.ndarray | None,
    units: Mapping[str, str],
    codes: dict[str, int],
) -> tuple[dict[str, Any], dict[str, Any], dict[str, dict[str, Any]]]:
    """Values and errors along ``obs`` in their units, and attributes of user-defined quantities; adds to `codes`."""
    own = {
        c.meaning: build_user_attrs(c.values.attrs, units.get(c.meaning)) for c in group if c.meaning not in QUANTITIES
    }
    known = {meaning: found for meaning, found in units.items() if meaning in QUANTITIES}
    maps = find_conversions((meaning, found, QUANTITIES[meaning].units) for meaning, found in known.items())
    values, errors = {}, {}
    for column in group:
        meaning, flat = column.meaning, select_rows(flatten_along_obs(column.values.variable, sizes), kept)
        values[meaning] = maps[meaning, known[meaning]].convert(flat.data) if meaning in known else flat.data
        if flat.dtype.kind == "f":
            declared = get_declared_codes(column.values.attrs)
            values[meaning], codes[meaning] = without_codes(flat.data, values[meaning], meaning, declared)
        if (error := column.error) is None:
            continue
        expected = str(own[meaning].get("units", "")) if meaning in own else QUANTITIES[meaning].units
        found = str(error.attrs.get("units", units.get(meaning, expected)))
        convert = find_conversions([(str(error.name), found, expected or found)])[str(error.name), found]
        deviation = select_rows(flatten_along_obs(error.variable, sizes), kept).data
        errors[meaning] = mask_deviation_codes(deviation, convert.convert_deviation(deviation), meaning)
    return values, errors, own


def _find_reports(
    group: Sequence[VariableColumn], places: Sequence[xr.DataArray], sizes: Mapping[str, int]
) -> np.ndarray | None:
    """Elements of a multidimensional array that are reports; None if all are.

    CF (section 9.6): where an auxiliary coordinate is missing, everything else is as well, and there is no report.
    Values that are in memory are looked at, so that a report without a time is not taken for padding.
    """
    whole = [place for place in places if set(map(str, place.dims)) == set(sizes) and len(sizes) > 1]
    if not whole:
        return None
    missing = np.logical_and.reduce([pd.isna(flatten_along_obs(place.variable, sizes).to_numpy()) for place in whole])
    for column in group:
        if column.values.chunks is None and missing.any():
            missing &= pd.isna(flatten_along_obs(column.values.variable, sizes).to_numpy())
    return None if not missing.any() or missing.all() else ~missing


def _flatten_coordinate(
    meaning: str, variable: xr.DataArray, sizes: Mapping[str, int], kept: np.ndarray | None
) -> xr.Variable:
    """A coordinate along ``obs``, in memory; texts are made before they are repeated."""
    array = variable.to_numpy()
    if meaning == "station":
        array = to_text(array.reshape(-1)).reshape(array.shape)
    elif meaning == "period":
        array = to_periods(array.reshape(-1), variable.attrs.get("units")).reshape(array.shape)
    return select_rows(flatten_along_obs(xr.Variable(variable.dims, array, variable.attrs), sizes), kept)
