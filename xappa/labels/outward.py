"""Numbers on a model's grid -> a Dataset in the user's names, order and conventions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from xappa.grids.axes import Layout
from xappa.grids.matching import output_columns, output_levels, output_rows
from xappa.grids.notation import Notation
from xappa.labels.asked import Wanted
from xappa.labels.described import attributes, output_problems
from xappa.labels.taking import Array, Fields, taken
from xappa.labels.units import conversion, inverse, refuse_units
from xappa.models.state import StateSpec

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
    """Labelled fields, in the user's names, order, conventions and units.

    Parameters
    ----------
    fields : array or dask array, (member, time, channel, latitude, longitude)
        Physical units, on the model's grid.
    spec : StateSpec
        What the axes of `fields` are.
    times : array of datetime64, (time,)
    members : sequence of int, (member,)
    layout : Layout, optional
        How the user's Dataset is written; default WeatherBench names, units of the vocabulary, float32, the model's own
        order, hPa.
    wanted : Wanted, optional
        What to keep; default everything.
    attrs : mapping, optional
        Global attributes.

    Returns
    -------
    Dataset
        Dimensions (member, time, [level,] latitude, longitude); lazy where `fields` is. Where a variable is not on a
        level that others are on, it is NaN.

    Raises
    ------
    UnitsError
        Listing the variables that cannot be given in the user's units.
    """
    wanted = wanted or Wanted(spec.variables, spec.levels)
    written = _written(layout, wanted)
    rows, latitudes = output_rows(layout, spec)
    columns, longitudes = output_columns(layout, spec)
    levels, level_values = output_levels(layout, wanted.levels)
    spelt = {axis: (getattr(layout, axis) if layout else None) or axis for axis in AXES}
    variables: dict[str, xr.Variable] = {}
    for name in wanted.variables:
        upper_air = bool(spec.levels_of(name))
        channels = [spec.index(name, level) if (name, level) in spec.channels else None for level in levels]
        values = _stacked(fields, channels if upper_air else [spec.index(name)])
        values = taken(taken(values, rows, 3), columns, 4)
        axes = [axis for axis in AXES if axis != "level" or upper_air]
        key = layout.spelling(name) if layout else name
        values = _in_units(values if upper_air else values[:, :, 0], name, written.get(name))
        variables[key] = xr.Variable([spelt[a] for a in axes], values, attributes(name, written.get(name)))
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


def _written(layout: Layout | None, wanted: Wanted) -> dict[str, Notation]:
    """How the user writes each wanted variable, by WeatherBench name."""
    if layout is None:
        return {}
    users = {layout.spelling(name): name for name in wanted.variables}
    written = {user: layout.notation[user] for user in users if user in layout.notation}
    refuse_units(output_problems(written, users))
    return {users[user]: notation for user, notation in written.items()}


def _in_units(values: Fields, name: str, written: Notation | None) -> Fields:
    """Fields in the user's units and precision."""
    if written is None:
        return values
    back = inverse(conversion(written, name))
    kept = np.promote_types(values.dtype, written.dtype)
    return back.value(values if values.dtype == kept else values.astype(kept))


def _stacked(fields: Fields, channels: Sequence[int | None]) -> Fields:
    """Fields of `channels`, NaN where there is none."""
    chosen = taken(fields, np.array([channel or 0 for channel in channels]), 2)
    if None not in channels:
        return chosen
    there = np.array([channel is not None for channel in channels])
    return np.where(there[:, None, None], chosen, chosen.dtype.type(np.nan))
