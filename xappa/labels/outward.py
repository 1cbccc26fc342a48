"""Numbers on a model's grid -> a Dataset in the user's names, order and conventions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dask.array
import numpy as np
import xarray as xr

from xappa.grids.axes import Layout
from xappa.grids.matching import output_columns, output_levels, output_rows
from xappa.labels.asked import Wanted
from xappa.models.state import StateSpec
from xappa.vocabulary import VARIABLES

Array = np.ndarray
Fields = np.ndarray | dask.array.Array

AXES: dict[str, dict[str, str]] = {
    "member": {"standard_name": "realization", "long_name": "ensemble member", "units": "1"},
    "time": {"standard_name": "time", "long_name": "time", "axis": "T"},
    "level": {"standard_name": "air_pressure", "long_name": "pressure level", "positive": "down", "axis": "Z"},
    "latitude": {"standard_name": "latitude", "long_name": "latitude", "units": "degrees_north", "axis": "Y"},
    "longitude": {"standard_name": "longitude", "long_name": "longitude", "units": "degrees_east", "axis": "X"},
}


def to_dataset(
    fields: Fields,
    spec: StateSpec,
    times: Array,
    members: Sequence[int] | Array,
    layout: Layout | None = None,
    wanted: Wanted | None = None,
    attrs: Mapping[str, object] | None = None,
) -> xr.Dataset:
    """Labelled fields, in the user's names, order and conventions.

    Parameters
    ----------
    fields : array or dask array, (member, time, channel, latitude, longitude)
        Physical units, on the model's grid.
    spec : StateSpec
        What the axes of `fields` are.
    times : array of datetime64, (time,)
    members : sequence of int, (member,)
    layout : Layout, optional
        How the user's Dataset is written; default WeatherBench names, the model's own order, hPa.
    wanted : Wanted, optional
        What to keep; default everything.
    attrs : mapping, optional
        Global attributes.

    Returns
    -------
    Dataset
        Dimensions (member, time, [level,] latitude, longitude); lazy where `fields` is. Where a variable is not on a
        level that others are on, it is NaN.
    """
    wanted = wanted or Wanted(spec.variables, spec.levels)
    rows, latitudes = output_rows(layout, spec)
    columns, longitudes = output_columns(layout, spec)
    levels, level_values = output_levels(layout, wanted.levels)
    spelt = {axis: (getattr(layout, axis) if layout else None) or axis for axis in AXES}
    variables: dict[str, xr.Variable] = {}
    for name in wanted.variables:
        upper_air = bool(spec.levels_of(name))
        channels = [spec.index(name, level) if (name, level) in spec.channels else None for level in levels]
        values = _stacked(fields, channels if upper_air else [spec.index(name)])
        values = _taken(_taken(values, rows, 3), columns, 4)
        axes = [axis for axis in AXES if axis != "level" or upper_air]
        key = layout.spelling(name) if layout else name
        variables[key] = xr.Variable([spelt[a] for a in axes], values if upper_air else values[:, :, 0], _attrs(name))
    coordinates = {"member": members, "time": times, "latitude": latitudes, "longitude": longitudes}
    level_units = {}
    if any(spec.levels_of(name) for name in wanted.variables):
        coordinates["level"] = level_values
        level_units = {"units": layout.level_units if layout else "hPa"}
    coords = {
        spelt[axis]: xr.Variable(spelt[axis], np.asarray(values), AXES[axis] | (level_units if axis == "level" else {}))
        for axis, values in coordinates.items()
    }
    return xr.Dataset(variables, coords, {"Conventions": "CF-1.11", **(attrs or {})})


def _attrs(name: str) -> dict[str, str]:
    return VARIABLES[name].attrs if name in VARIABLES else {"long_name": name.replace("_", " ")}


def _stacked(fields: Fields, channels: Sequence[int | None]) -> Fields:
    """Fields of `channels`, NaN where there is none."""
    taken = _taken(fields, np.array([channel or 0 for channel in channels]), 2)
    if None not in channels:
        return taken
    there = np.array([channel is not None for channel in channels])
    return np.where(there[:, None, None], taken, taken.dtype.type(np.nan))


def _taken(fields: Fields, index: Array, axis: int) -> Fields:
    """Entries `index` along an axis, as a view where they are equally spaced."""
    step = int(index[1] - index[0]) if len(index) > 1 else 1
    if step and np.array_equal(index, index[0] + step * np.arange(len(index))):
        stop = int(index[-1]) + (1 if step > 0 else -1)
        entries: slice | Array = slice(int(index[0]), stop if stop >= 0 else None, step)
    else:
        entries = index
    return fields[(slice(None),) * axis + (entries,)]
