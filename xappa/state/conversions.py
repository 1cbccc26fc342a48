"""Description of the conversions of a Dataset's fields for a model."""

from __future__ import annotations

import xarray as xr

from xappa.errors import UnitsError
from xappa.grids.axes import Layout
from xappa.grids.matching import find_grid_problems
from xappa.grids.variable_encoding import PRECIPITATION
from xappa.model.state import StateSpec
from xappa.observations.units import UnitConversion
from xappa.state.regridding import choose_method, describe_grid, find_coverage_problems
from xappa.state.units import make_conversion
from xappa.vocabulary import VARIABLES


def describe_conversions(ds: xr.Dataset, spec: StateSpec, layout: Layout, axes: bool = True) -> list[str]:
    """Description of renamed and converted variables, and of changes of the grid.

    Parameters
    ----------
    ds : Dataset
    spec : StateSpec
    layout : Layout
        Of `ds`.
    axes : bool
        Whether the axes of `ds` can be used, so that its grid may be looked at.

    Returns
    -------
    list of str
    """
    notes = []
    for user, name in layout.names.items():
        if name not in spec.variables:
            continue
        written = layout.notation[user]
        try:
            change = make_conversion(written, name)
        except UnitsError:
            continue
        hours = f" in {PRECIPITATION[name]:g} h" if name in PRECIPITATION else ""
        if change != UnitConversion():
            notes.append(f"{user!r} is {name}: {written.units} becomes {VARIABLES[name].units}{hours}")
        elif written.units is None:
            notes.append(f"{user!r} has no units: taken to be {name} in {VARIABLES[name].units}{hours}")
    global_field = axes and layout.latitudes and layout.longitudes
    if global_field and find_grid_problems(layout, spec) and not find_coverage_problems(ds, spec, layout):
        notes.append(f"grid: {describe_grid(layout)} is regridded, {choose_method(layout, spec)}, to the model's")
    return notes
