"""A Dataset seen as if it were a model: its channels and grid, and the height of its surface."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.grids.axes import Layout
from xappa.grids.matching import find_grid_problems, find_positions
from xappa.grids.naming import SURFACE_HEIGHT
from xappa.model.state import StateSpec
from xappa.vocabulary import VARIABLES


def derive_spec(ds: xr.Dataset, layout: Layout, variables: Iterable[str] | None = None) -> StateSpec:
    """Specification of the fields that a Dataset holds, as if it were a model's state.

    Parameters
    ----------
    ds : Dataset
    layout : Layout
        Of `ds`, with latitude and longitude.
    variables : iterable of str, optional
        WeatherBench names to keep; default all that are known.

    Returns
    -------
    StateSpec
        Its step is the usual distance of the times, at least 1 h; 1 h for a single time, or none.
    """
    keep = set(layout.names.values() if variables is None else variables)
    levels = [cast(int, int(p) if p == int(p) else p) for p in layout.hectopascals]
    channels: list[tuple[str, int | None]] = []
    for user, name in layout.names.items():
        if name in keep:
            upper_air = VARIABLES[name].upper_air and layout.level in ds[user].coords
            channels += [(name, level) for level in levels] if upper_air else [(name, None)]
    times = np.zeros(1, "M8[s]") if layout.time is None else np.atleast_1d(ds[layout.time].values)
    steps = np.diff(times) / np.timedelta64(1, "h")
    step = max(1, round(float(np.median(steps)))) if steps.size else 1
    return StateSpec(tuple(channels), layout.latitudes, layout.longitudes, step, 1)


def get_surface_height(ds: xr.Dataset, spec: StateSpec, layout: Layout) -> Array | None:
    """Height of the surface on the grid of `spec` (latitude, longitude), m; None if `ds` does not have it there."""
    if not layout.latitudes or not layout.longitudes:
        return None
    horizontal = [*ds[layout.latitude].dims, *ds[layout.longitude].dims]
    for name, field in {**ds.coords, **ds.data_vars}.items():
        key = name if name in SURFACE_HEIGHT else field.attrs.get("standard_name")
        if key in SURFACE_HEIGHT and set(horizontal) <= set(field.dims):
            break
    else:
        return None
    if find_grid_problems(layout, spec):  # the dearest question comes last
        return None
    rows, columns = (
        find_positions(spec.latitude, layout.latitudes),
        find_positions(spec.longitude, layout.longitudes, 360),
    )
    values = field.isel({dim: 0 for dim in field.dims if dim not in horizontal}).transpose(*horizontal).values
    values = np.asarray(values, float).reshape(len(layout.latitudes), len(layout.longitudes))
    return values[rows][:, columns] * SURFACE_HEIGHT[str(key)]
