"""Fields on another grid than a model's, brought to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xappa.grids.axes import Layout, refuse
from xappa.grids.matching import describe_values, find_grid_problems, order_output_columns, order_output_rows
from xappa.model.state import StateSpec

if TYPE_CHECKING:
    from xappa.grids.regrid import Grid, Weights

COARSER = 2.0
"""How many times coarser a model's grid is than the fields' before cells are averaged, not read between points."""


def regrid_to_model(ds: xr.Dataset, spec: StateSpec, layout: Layout) -> tuple[xr.Dataset, str]:
    """The fields of `ds` on the grid of a model, in the user's order and convention; lazy where `ds` is.

    Parameters
    ----------
    ds : Dataset
    spec : StateSpec
    layout : Layout
        Of `ds`.

    Returns
    -------
    ds : Dataset
        `ds` itself where it is on that grid, in any order and convention.
    method : str
        ``"bilinear"``, or ``"conservative"`` where the model's grid is at least twice as coarse; empty where nothing
        was to be done.

    Raises
    ------
    DatasetError
        If `ds` does not cover the model's grid.
    """
    if not find_grid_problems(layout, spec):
        return ds, ""
    refuse(find_coverage_problems(ds, spec, layout))
    from xappa.grids.regrid.fields import apply_weights
    from xappa.grids.regrid.sorting import MASK

    source, target = _build_grids(ds, spec, layout)
    method = choose_method(layout, spec)
    scalar, vector = (_build_weights(source, target, method, vector) for vector in (False, True))
    fields = [user for user, name in layout.names.items() if name in spec.variables]
    # Where users mask a grid, they do so for fields of the sea; states are whole.
    return apply_weights(ds[fields].drop_vars(MASK, errors="ignore"), source, target, scalar, vector), method


def choose_method(layout: Layout, spec: StateSpec) -> str:
    """``"conservative"`` where the model's rows are at least `COARSER` times as far apart, else ``"bilinear"``."""
    return (
        "conservative"
        if _compute_spacing(spec.latitude) >= COARSER * _compute_spacing(layout.latitudes)
        else "bilinear"
    )


def find_coverage_problems(ds: xr.Dataset, spec: StateSpec, layout: Layout) -> list[str]:
    """Whether fields on another grid leave points of the model's grid without value."""
    if not layout.latitudes or not layout.longitudes or not find_grid_problems(layout, spec):
        return []
    if min(len(layout.latitudes), len(layout.longitudes)) > 1:
        source, target = _build_grids(ds, spec, layout)
        outside = int((_build_weights(source, target, choose_method(layout, spec), False).total < 0.5).sum())
    else:
        outside = int(np.prod(spec.shape[1:]))
    if not outside:
        return []
    return [
        f"grid: found {describe_grid(layout)}, outside of which lie {outside} of {np.prod(spec.shape[1:])} points "
        "of the "
        "model's grid; expected fields of the whole globe: put the region into global fields, with combine_first"
    ]


def describe_grid(layout: Layout) -> str:
    """A grid in words."""
    return f"latitudes {describe_values(layout.latitudes)}, longitudes {describe_values(layout.longitudes)}"


def _build_grids(ds: xr.Dataset, spec: StateSpec, layout: Layout) -> tuple[Grid, Grid]:
    from xappa.grids.regrid import Grid

    names = (str(layout.latitude), str(layout.longitude))
    values = (order_output_rows(layout, spec)[1], order_output_columns(layout, spec)[1])
    goal = {name: xr.Variable(name, np.array(v), dict(ds[name].attrs)) for name, v in zip(names, values, strict=True)}
    for name, units in zip(names, ("degrees_north", "degrees_east"), strict=True):
        goal[name].attrs["units"] = units
    return Grid.from_dataset(ds), Grid.from_dataset(xr.Dataset(coords=goal))


def _build_weights(source: Grid, target: Grid, method: str, vector: bool) -> Weights:
    from xappa.grids.regrid import get_weights

    return get_weights(source, target, method, vector=vector)


def _compute_spacing(values: tuple[float, ...]) -> float:
    return float(np.median(np.abs(np.diff(values)))) if len(values) > 1 else np.inf
