"""Which variable of a Dataset is which quantity."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import xarray as xr

from xappa.vocabulary import VARIABLES, lookup

HEIGHTS = ("height", "heightAboveGround", "z_height")
SURFACE_HEIGHT = {
    "surface_altitude": 1.0,
    "orography": 1.0,
    "surface_height": 1.0,
    "surface_geopotential": 1 / 9.80665,
    "geopotential_at_surface": 1 / 9.80665,
}
"""Names and standard names of the height of the surface, and the factor that makes them metres."""
STATIC = {
    *SURFACE_HEIGHT,
    "land_sea_mask",
    "lsm",
    "land_binary_mask",
    "land_area_fraction",
    "sea_binary_mask",
    "cell_area",
}


def variable_names(
    ds: xr.Dataset, dims: Mapping[str, Hashable | None], level: str | None
) -> tuple[dict[str, str], list[str]]:
    """User's names -> WeatherBench names, and the names that clash.

    A name that is in the vocabulary counts before a standard name. A standard name that several heights share
    (air temperature, wind) needs the level axis, or a scalar coordinate `height`, to be understood.

    Parameters
    ----------
    ds : Dataset
    dims : mapping
        Axis -> dimension of `ds`.
    level : str or None
        Name of the pressure coordinate.

    Returns
    -------
    names : dict
    problems : list of str
    """
    by_name = {str(name): found.name for name in ds.data_vars if (found := lookup(str(name))) is not None}
    problems = []
    for known in sorted(set(by_name.values())):
        users = [user for user, name in by_name.items() if name == known]
        if len(users) > 1:
            listed = " and ".join(map(repr, users))
            problems.append(f"variables {listed} are both {known}; expected each quantity once: drop all but one")
    by_standard = {
        str(name): standard
        for name in ds.data_vars
        if str(name) not in by_name and (standard := _by_standard_name(ds[name], dims, level)) is not None
    }
    taken = [*by_name.values(), *by_standard.values()]
    return by_name | {user: name for user, name in by_standard.items() if taken.count(name) == 1}, problems


def static_names(ds: xr.Dataset, time: Hashable | None) -> tuple[str, ...]:
    """Variables that describe the grid or other variables, and fields that do not change in time."""
    roles = ("bounds", "grid_mapping", "ancillary_variables", "climatology")
    described = {
        word
        for variable in ds.variables.values()
        for role in roles
        for word in str(variable.attrs.get(role, variable.encoding.get(role, ""))).split()
    }
    return tuple(
        str(name)
        for name, field in ds.data_vars.items()
        if str(name) in described
        or name in STATIC
        or field.attrs.get("standard_name") in STATIC
        or (time is not None and time not in field.dims and lookup(str(name)) is None)
    )


def _by_standard_name(field: xr.DataArray, dims: Mapping[str, Hashable | None], level: str | None) -> str | None:
    if not set(field.dims) <= set(dims.values()):
        return None
    standard = field.attrs.get("standard_name")
    upper_air = level is not None and level in field.coords
    candidates = [v for v in VARIABLES.values() if v.standard_name == standard and v.upper_air == upper_air]
    height = _height(field)
    candidates = [v for v in candidates if v.height is None or (height is not None and abs(v.height - height) < 0.5)]
    if len(candidates) > 1:
        candidates = [v for v in candidates if v.cell_methods == field.attrs.get("cell_methods")]
    return candidates[0].name if len(candidates) == 1 else None


def _height(field: xr.DataArray) -> float | None:
    """Height above the ground by a scalar coordinate, m."""
    for name, coord in field.coords.items():
        if coord.ndim == 0 and (name in HEIGHTS or coord.attrs.get("standard_name") == "height"):
            value = float(coord) if coord.dtype.kind in "iuf" else np.nan
            return value if np.isfinite(value) else None
    return None
