"""Numbers on a model's grid -> a Dataset in the user's names, order and conventions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dask
import dask.array as da
import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.grids.axes import AXES, Layout
from xappa.grids.matching import order_output_levels
from xappa.grids.variable_encoding import VariableEncoding
from xappa.model.state import StateSpec
from xappa.observations.units import UnitConversion
from xappa.state.area import GridSubset
from xappa.state.cf_attrs import find_output_problems, make_cf_attributes
from xappa.state.indexing import Fields, take_entries
from xappa.state.selection import OutputSelection
from xappa.state.units import invert_conversion, make_conversion, refuse_units
from xappa.vocabulary import PAIR


def to_dataset(
    fields: Fields,
    spec: StateSpec,
    times: Array,
    members: Sequence[int] | Array,
    layout: Layout | None = None,
    wanted: OutputSelection | None = None,
    attrs: Mapping[str, object] | None = None,
    area: GridSubset | None = None,
) -> xr.Dataset:
    """Labelled fields, in the user's names, order, conventions and units.

    Parameters
    ----------
    fields : array or dask array, (member, time, channel, latitude, longitude)
        Physical units, on the model's grid.
    spec : StateSpec
        Names of the axes of `fields`.
    times : array of datetime64, (time,)
    members : sequence of int, (member,)
    layout : Layout, optional
        Layout of the user's Dataset; default WeatherBench names, units of the vocabulary, float32, the model's own
        order, hPa.
    wanted : OutputSelection, optional
        Variables and levels to keep; default all.
    attrs : mapping, optional
        Global attributes.
    area : GridSubset, optional
        The part of the grid to keep; default the whole.

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
    wanted = wanted or OutputSelection(spec.variables, spec.levels)
    written = _list_encodings(layout, wanted)
    area = area or GridSubset.whole(layout, spec)
    levels, level_values = order_output_levels(layout, wanted.levels)
    spelt = {axis: (getattr(layout, axis) if layout else None) or axis for axis in AXES}
    variables: dict[str, xr.Variable] = {}
    for name in wanted.variables:
        upper_air = bool(spec.levels_of(name))
        channels = [spec.index(name, level) if (name, level) in spec.channels else None for level in levels]
        back, dtype = _resolve_units(fields.dtype, name, written.get(name))
        pick = VariableExtractor(
            tuple(channels if upper_air else [spec.index(name)]), upper_air, area.rows, area.columns, back, dtype
        )
        axes = [axis for axis in AXES if axis != "level" or upper_air]
        key = layout.get_user_name(name) if layout else name
        values = _extract_blockwise(pick, fields) if isinstance(fields, da.Array) else pick(fields)
        variables[key] = xr.Variable([spelt[a] for a in axes], values, make_cf_attributes(name, written.get(name)))
    coordinates = {"member": members, "time": times, "latitude": area.latitudes, "longitude": area.longitudes}
    level_units = {}
    if any(spec.levels_of(name) for name in wanted.variables):
        coordinates["level"] = level_values
        level_units = {"units": layout.level_units if layout else "hPa"}
    coords = {
        spelt[axis]: xr.Variable(spelt[axis], np.asarray(values), AXES[axis] | (level_units if axis == "level" else {}))
        for axis, values in coordinates.items()
    }
    return xr.Dataset(variables, coords, {"Conventions": "CF-1.11", **(attrs or {})})


def with_pairs(ds: xr.Dataset, layout: Layout | None = None) -> xr.Dataset:
    """A result whose members 2k and 2k + 1 were drawn with opposite noise, with the coordinate that says so."""
    dim = (layout.member if layout else None) or "member"
    attrs = {"long_name": "pair of members that were drawn with opposite noise", "units": "1"}
    return ds.assign_coords({PAIR: (dim, ds[dim].values // 2, attrs)})


def _list_encodings(layout: Layout | None, wanted: OutputSelection) -> dict[str, VariableEncoding]:
    """Encoding of each wanted variable in the user's Dataset, by WeatherBench name."""
    if layout is None:
        return {}
    users = {layout.get_user_name(name): name for name in wanted.variables}
    written = {user: layout.notation[user] for user in users if user in layout.notation}
    refuse_units(find_output_problems(written, users))
    return {users[user]: notation for user, notation in written.items()}


@dataclass(frozen=True, eq=False)
class VariableExtractor:
    """One variable out of whole states: channels, order of rows and columns, units.

    Parameters
    ----------
    channels : tuple of int or None
        None where there is none, which gives NaN.
    upper_air : bool
        Whether the result has an axis of levels.
    rows, columns : array of int
    back : UnitConversion or None
        Into the user's units.
    dtype : dtype
    """

    channels: tuple[int | None, ...]
    upper_air: bool
    rows: Array
    columns: Array
    back: UnitConversion | None
    dtype: np.dtype

    def __dask_tokenize__(self) -> tuple:
        return (self.channels, self.upper_air, self.rows.tobytes(), self.columns.tobytes(), self.back, str(self.dtype))

    def __call__(self, fields: Array) -> Array:
        """Values (member, time, [level,] latitude, longitude) of states (member, time, channel, row, column)."""
        values = take_entries(take_entries(_stack_channels(fields, self.channels), self.rows, 3), self.columns, 4)
        values = values if self.upper_air else values[:, :, 0]
        if isinstance(values, np.ndarray):
            # A copy, so that whole states are not kept for the sake of one variable.
            values = np.array(values, self.dtype, order="C")
        return values if self.back is None else self.back.convert(values)


def _extract_blockwise(pick: VariableExtractor, fields: da.Array) -> da.Array:
    """The variable as one blockwise layer, which shares the tasks of `fields` with all others."""
    axes = {"l": len(pick.channels)} if pick.upper_air else {}
    axes |= {"y": len(pick.rows), "x": len(pick.columns)}
    out = "mt" + "".join(axes)
    name = f"xappa-pick-{dask.base.tokenize(pick, fields.name)}"
    return da.blockwise(
        pick, out, fields, "mtvij", name=name, new_axes=axes, concatenate=True, align_arrays=False,
        meta=np.empty((0,) * len(out), pick.dtype), dtype=pick.dtype,
    )  # fmt: skip


def _resolve_units(
    found: np.dtype, name: str, written: VariableEncoding | None
) -> tuple[UnitConversion | None, np.dtype]:
    """Conversions of fields to the user's units and precision."""
    if written is None:
        return None, found
    return invert_conversion(make_conversion(written, name)), np.promote_types(found, written.dtype)


def _stack_channels(fields: Array, channels: Sequence[int | None]) -> Array:
    """Fields of `channels`, NaN where there is none."""
    chosen = take_entries(fields, np.array([channel or 0 for channel in channels]), 2)
    if None not in channels:
        return chosen
    there = np.array([channel is not None for channel in channels])
    return np.where(there[:, None, None], chosen, chosen.dtype.type(np.nan))
