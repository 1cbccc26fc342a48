"""A Dataset's values -> numbers on a model's grid, in its order and units."""

from __future__ import annotations

import dask
import dask.array
import numpy as np
import xarray as xr

from xappa.grids.axes import Layout, recognise, refuse
from xappa.grids.matching import grid_problems, positions
from xappa.labels.units import implausible, refuse_units, unit_maps
from xappa.models.state import StateSpec

Array = np.ndarray


def to_array(ds: xr.Dataset, spec: StateSpec, layout: Layout | None = None) -> Array:
    """Numbers of the model's channels on the model's grid.

    Parameters
    ----------
    ds : Dataset
        With all variables and levels of `spec` on its grid, in any order, convention and convertible units. Values
        are computed.
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
        Listing every difference of grid, variables and levels.
    UnitsError
        If only units are wrong.
    """
    layout = layout or recognise(ds)
    maps, unit_problems = unit_maps(ds, spec, layout)
    problems = value_problems(ds, spec, layout)
    refuse([*problems, *unit_problems] if problems else [])
    refuse_units(unit_problems)
    rows, columns = positions(spec.latitude, layout.latitudes), positions(spec.longitude, layout.longitudes, 360)
    users = [layout.spelling(name) for name in spec.variables]
    pairs = list(zip(users, spec.variables, strict=True))
    blocks = dask.compute(*[_block(ds[user], layout, spec, name) for user, name in pairs])
    result = np.empty((blocks[0].shape[0], *spec.shape), np.float32)
    for (user, name), block in zip(pairs, blocks, strict=True):
        values = maps[user].value(np.asarray(block, float)[:, :, rows][..., columns])
        if "units" not in ds[user].attrs:
            refuse_units(implausible(user, name, values))
        result[:, spec.of(name)] = values
    return result


def _block(field: xr.DataArray, layout: Layout, spec: StateSpec, name: str) -> Array | dask.array.Array:
    """Values of a variable as (time, level, latitude, longitude), levels in the order of the channels."""
    axes = [layout.time, layout.level if spec.levels_of(name) else None, layout.latitude, layout.longitude]
    dims = [str(field[axis].dims[0]) if axis in field.coords and field[axis].ndim else None for axis in axes]
    field = field.squeeze([dim for dim in field.dims if dim not in dims], drop=True)
    if dims[1] is not None:
        index = [int(np.argmin(np.abs(np.array(layout.hectopascals) - level))) for level in spec.levels_of(name)]
        field = field.isel({dims[1]: index})
    field = field.transpose(*[dim for dim in dims if dim is not None])
    missing = tuple(axis for axis, dim in enumerate(dims) if dim is None)
    return np.expand_dims(field.data, missing)


def value_problems(ds: xr.Dataset, spec: StateSpec, layout: Layout) -> list[str]:
    """Why the values of `ds` are not a state of the model: grid, variables, levels (units apart)."""
    problems = grid_problems(layout, spec)
    lacking = [name for name in spec.variables if name not in layout.names.values()]
    if lacking:
        problems.append(f"variables that the model needs are missing: {', '.join(lacking)}; add them, or rename yours")
    for user, name in layout.names.items():
        if name not in spec.variables:
            continue
        field, levels = ds[user], spec.levels_of(name)
        needed = ("time", "latitude", "longitude", "level") if levels else ("time", "latitude", "longitude")
        axes = {axis: getattr(layout, axis) for axis in needed}
        bare = [axis for axis, coord in axes.items() if coord is not None and coord not in field.coords]
        if levels and layout.level is None:
            bare.append("level")
        if bare:
            problems.append(f"variable {user!r} has no {' and no '.join(bare)} axis; expected all of {', '.join(axes)}")
        used = {dim for coord in axes.values() if coord in field.coords for dim in field[coord].dims}
        extra = [str(dim) for dim in field.dims if dim not in used and field.sizes[dim] > 1]
        if extra:
            problems.append(f"variable {user!r} has the dimensions {extra} besides; select one of each with ds.isel")
        absent = [lev for lev in levels if not any(np.isclose(lev, p) for p in layout.hectopascals)]
        if absent and "level" not in bare:
            problems.append(f"variable {user!r} lacks the levels {', '.join(f'{lev:g}' for lev in absent)} hPa")
    return problems
