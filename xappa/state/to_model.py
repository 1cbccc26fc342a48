"""A Dataset's values -> numbers on a model's grid, in its order and units."""

from __future__ import annotations

from dataclasses import dataclass, replace

import dask
import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.grids.axes import Layout, recognise, refuse
from xappa.grids.conventions import decode_conventions
from xappa.grids.matching import find_grid_problems, find_positions
from xappa.model.state import StateSpec
from xappa.observations.units import UnitConversion
from xappa.state.indexing import take_entries
from xappa.state.regridding import find_coverage_problems, regrid_to_model
from xappa.state.units import find_implausible_values, make_conversions, refuse_units
from xappa.state.validation import find_value_problems
from xappa.valid_range import mask_outside_limits

__all__ = ["StateAssembly", "StatePart", "plan_assembly", "to_array", "find_value_problems"]


@dataclass(frozen=True)
class StatePart:
    """One variable of an `StateAssembly`.

    Parameters
    ----------
    user, name : str
        The user's name and the WeatherBench name.
    channels : tuple of int
        Channels of the state that it fills.
    levels : tuple of int or None
        Their positions along the level axis; None at the surface.
    map : Linear
        To the model's units.
    bare : bool
        Whether it has no units, so that its values are looked at.
    """

    user: str
    name: str
    channels: tuple[int, ...]
    levels: tuple[int, ...] | None
    map: UnitConversion
    bare: bool


@dataclass(frozen=True)
class StateAssembly:
    """How blocks of a Dataset's variables become states. Names and numbers only, so that a task can carry it.

    Parameters
    ----------
    parts : tuple of Part
        In the order of the blocks.
    rows, columns : tuple of int
        Positions of the model's rows and columns in the Dataset's.
    shape : tuple of int
        (channel, latitude, longitude) of a state.
    pressures : tuple of float
        The Dataset's levels, hPa.
    """

    parts: tuple[StatePart, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    shape: tuple[int, int, int]
    pressures: tuple[float, ...] = ()

    def __call__(self, *blocks: Array) -> Array:
        """States (time, channel, latitude, longitude) of blocks (time, [level,] latitude, longitude), float32."""
        result = np.empty((blocks[0].shape[0], *self.shape), np.float32)
        for part, block in zip(self.parts, blocks, strict=True):
            values = block[:, None] if part.levels is None else take_entries(block, part.levels, 1)
            values = take_entries(take_entries(values, self.rows, 2), self.columns, 3)
            if part.bare:
                levels = [self.pressures[k] for k in part.levels or ()]
                refuse_units(find_implausible_values(part.user, part.name, values, levels))
            result[:, part.channels] = part.map.convert(values)
        return result


def plan_assembly(
    ds: xr.Dataset, spec: StateSpec, layout: Layout, members: bool = False
) -> tuple[StateAssembly, list[xr.DataArray]]:
    """How `ds` becomes states of a model, and its fields in the order of axes that this needs; nothing is computed.

    Parameters
    ----------
    ds : Dataset
        With all variables and levels of `spec`; on another grid they are regridded.
    spec : StateSpec
    layout : Layout
        Of `ds`.
    members : bool
        Whether fields may have members.

    Returns
    -------
    assembly : StateAssembly
    fields : list of DataArray, ([member,] time, [level,] latitude, longitude)

    Raises
    ------
    DatasetError
        Listing what is missing of grid, variables and levels.
    UnitsError
        If only units are wrong.
    """
    maps, unit_problems = make_conversions(layout, spec.variables)
    problems = find_coverage_problems(ds, spec, layout) + find_value_problems(ds, spec, layout, members)
    refuse([*problems, *unit_problems] if problems else [])
    refuse_units(unit_problems)
    ds = mask_outside_limits(ds, [layout.get_user_name(name) for name in spec.variables], warn=True)
    if find_grid_problems(layout, spec):
        ds, _ = regrid_to_model(ds, spec, layout)
        layout = replace(layout, latitudes=_read_axis(ds, layout.latitude), longitudes=_read_axis(ds, layout.longitude))
    rows, columns = (
        find_positions(spec.latitude, layout.latitudes),
        find_positions(spec.longitude, layout.longitudes, 360),
    )
    parts, fields = [], []
    for name in spec.variables:
        user = layout.get_user_name(name)
        levels = spec.levels_of(name)
        index = tuple(int(np.argmin(np.abs(np.array(layout.hectopascals) - level))) for level in levels)
        bare = layout.notation[user].units is None
        parts.append(StatePart(user, name, spec.of(name), index if levels else None, maps[user], bare))
        fields.append(_order_axes(ds[user], layout, bool(levels), members))
    return StateAssembly(
        tuple(parts), _to_positions(rows), _to_positions(columns), spec.shape, layout.hectopascals
    ), fields


def to_array(ds: xr.Dataset, spec: StateSpec, layout: Layout | None = None) -> Array:
    """Numbers of the model's channels on the model's grid.

    Parameters
    ----------
    ds : Dataset
        With all variables and levels of `spec`, in any order, convention and convertible units; on another grid they
        are regridded. Values are computed.
    spec : StateSpec
    layout : Layout, optional
        Of `ds`, where it is known already.

    Returns
    -------
    array of float32, (time, channel, latitude, longitude)
        Physical units of the vocabulary; missing values are NaN.

    Raises
    ------
    DatasetError
        Listing what is missing of grid, variables and levels.
    UnitsError
        If only units are wrong.
    """
    if layout is None:
        ds = decode_conventions(ds)
        layout = recognise(ds)
    assemble, fields = plan_assembly(ds, spec, layout)
    return assemble(*(np.asarray(block) for block in dask.compute(*[field.data for field in fields])))


def _order_axes(field: xr.DataArray, layout: Layout, upper_air: bool, members: bool) -> xr.DataArray:
    """A field as ([member,] time, [level,] latitude, longitude), without coordinates."""
    order = [layout.member] if members and layout.member in field.dims else []
    absent = []
    for axis in ("time", "level", "latitude", "longitude") if upper_air else ("time", "latitude", "longitude"):
        coord = field[getattr(layout, axis)]
        order.append(str(coord.dims[0]) if coord.ndim else f"_{axis}")
        if not coord.ndim:
            absent.append(order[-1])
    field = field.drop_vars(list(field.coords))
    return field.squeeze([dim for dim in field.dims if dim not in order]).expand_dims(absent).transpose(*order)


def _read_axis(ds: xr.Dataset, name: str | None) -> tuple[float, ...]:
    return tuple(ds[name].values.astype(float).tolist())


def _to_positions(found: Array | None) -> tuple[int, ...]:
    return () if found is None else tuple(found.tolist())
