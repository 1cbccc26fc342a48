"""Why the values of a Dataset are not states of a model."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xappa.grids.axes import Layout
from xappa.grids.conventions import find_encoding_problems
from xappa.grids.statistics import describe_statistic
from xappa.model.state import StateSpec

INSTEAD = {
    "specific_humidity": {
        "r": "relative humidity",
        "relative_humidity": "relative humidity",
        "hur": "relative humidity",
        "d": "dew point",
    },
    "mean_sea_level_pressure": {
        "sp": "surface pressure",
        "surface_pressure": "surface pressure",
        "ps": "surface pressure",
    },
    "sea_surface_temperature": {"skt": "skin temperature", "skin_temperature": "skin temperature"},
}
"""What a Dataset may have in place of a quantity that the model needs, and that is not taken for it."""


def find_value_problems(ds: xr.Dataset, spec: StateSpec, layout: Layout, members: bool = False) -> list[str]:
    """Why the values of `ds` are not a state of the model: variables, axes, levels (grid and units apart)."""
    problems = []
    lacking = [name for name in spec.variables if name not in layout.names.values()]
    if lacking:
        listed = ", ".join(name + _describe_alternative(ds, name) for name in lacking)
        problems.append(f"variables that the model needs are missing: {listed}; add them, or rename yours")
    for user, name in layout.names.items():
        if name in spec.variables:
            problems += _find_field_problems(ds[user], user, spec.levels_of(name), layout, members)
    return problems + find_encoding_problems(
        ds, [user for user, name in layout.names.items() if name in spec.variables]
    )


def _find_field_problems(
    field: xr.DataArray, user: str, levels: tuple[int, ...], layout: Layout, members: bool
) -> list[str]:
    problems = []
    needed = ("time", "latitude", "longitude", "level") if levels else ("time", "latitude", "longitude")
    axes = {axis: getattr(layout, axis) for axis in needed}
    bare = [axis for axis, coord in axes.items() if coord is not None and coord not in field.coords]
    if levels and layout.level is None:
        bare.append("level")
    if bare:
        problems.append(f"variable {user!r} has no {' and no '.join(bare)} axis; expected all of {', '.join(axes)}")
    used = {dim for coord in axes.values() if coord in field.coords for dim in field[coord].dims}
    used |= {layout.member} if members else set()
    extra = [str(dim) for dim in field.dims if dim not in used and field.sizes[dim] > 1]
    if extra:
        problems.append(f"variable {user!r} has the dimensions {extra} besides; select one of each with ds.isel")
    written = layout.notation.get(user)
    if written is not None and written.statistic is not None:
        problems.append(describe_statistic(user, written.statistic))
    absent = [lev for lev in levels if not any(np.isclose(lev, p) for p in layout.hectopascals)]
    if absent and "level" not in bare:
        problems.append(
            f"variable {user!r} lacks the levels {', '.join(f'{lev:g}' for lev in absent)} hPa: add them, or "
            "interpolate in the logarithm of pressure"
        )
    return problems


def _describe_alternative(ds: xr.Dataset, name: str) -> str:
    """Variables of `ds` that resemble a missing quantity but are another."""
    found = [f"{user!r} is the {what}" for user, what in INSTEAD.get(name, {}).items() if user in ds.data_vars]
    return f" ({' and '.join(found)}, which is another quantity: compute it first)" if found else ""
