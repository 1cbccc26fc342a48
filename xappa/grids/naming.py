"""Match of variables of a Dataset to quantities."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import xarray as xr

from xappa.grids.aliases import NEAR_SURFACE, find_by_attributes, find_by_name, find_by_standard_name
from xappa.grids.variable_encoding import PRECIPITATION, infer_summed_hours, parse_interval
from xappa.vocabulary import VARIABLES, look_up

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


def identify_variables(
    ds: xr.Dataset, dims: Mapping[str, Hashable | None], level: str | None, time: str | None = None
) -> tuple[dict[str, str], list[str]]:
    """User's names -> WeatherBench names, and the names that clash.

    A name of the vocabulary counts before names that other centres use, and those before attributes (of GRIB, long
    names, standard names). What several heights share (air temperature, wind) needs the level axis, or a scalar
    coordinate `height`, to be understood.

    Parameters
    ----------
    ds : Dataset
    dims : mapping
        Axis -> dimension of `ds`.
    level : str or None
        Name of the pressure coordinate.
    time : str, optional
        Name of the time coordinate.

    Returns
    -------
    names : dict
    problems : list of str
    """
    tiers: tuple[dict[str, str], ...] = ({}, {}, {})
    for name in map(str, ds.data_vars):
        known = find_by_name(name)
        tier = 2 if known is None else int(look_up(name) is None)
        known = (
            _identify_by_attributes(ds[name], dims, level)
            if known is None
            else _identify_at_height(ds[name], known, level)
        )
        if known is not None:
            tiers[tier][name] = _name_precipitation(ds, name, known, time)
    problems = []
    for known in sorted(set(tiers[0].values())):
        users = [user for user, name in tiers[0].items() if name == known]
        if len(users) > 1:
            listed = " and ".join(map(repr, users))
            problems.append(f"variables {listed} are both {known}; expected each quantity once: drop all but one")
    found = dict(tiers[0])
    for others in tiers[1:]:
        taken = [*found.values(), *others.values()]
        found |= {user: name for user, name in others.items() if taken.count(name) == 1}
    return {str(name): found[str(name)] for name in ds.data_vars if str(name) in found}, problems


def list_static_variables(ds: xr.Dataset, time: Hashable | None, names: Mapping[str, str]) -> tuple[str, ...]:
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
        if str(name) not in names
        and (
            str(name) in described
            or name in STATIC
            or field.attrs.get("standard_name") in STATIC
            or is_surface_geopotential(field)
            or (time is not None and time not in field.dims and find_by_name(str(name)) is None)
        )
    )


def is_surface_geopotential(field: xr.DataArray) -> bool:
    """Whether a field is what ERA5 calls ``z`` on a single level: the geopotential of the ground."""
    if find_by_name(str(field.name)) != "geopotential" and find_by_attributes(field.attrs) != "geopotential":
        return False
    return "surface" in (field.attrs.get("GRIB_typeOfLevel"), *field.coords)


def _identify_at_height(field: xr.DataArray, known: str, level: str | None) -> str | None:
    """The quantity of a field with a known name: near the ground where a scalar coordinate says so."""
    if not VARIABLES[known].upper_air or (level is not None and level in field.coords):
        return known
    if is_surface_geopotential(field):
        return None
    height, near = _read_scalar_height(field), NEAR_SURFACE.get(known)
    if near is not None and height is not None and abs((VARIABLES[near].height or 0) - height) < 0.5:
        return near
    return known


def _identify_by_attributes(field: xr.DataArray, dims: Mapping[str, Hashable | None], level: str | None) -> str | None:
    allowed = set(dims.values()) | {dim for dim in field.dims if field.sizes[dim] == 1}
    if not set(field.dims) <= allowed or is_surface_geopotential(field):
        return None
    upper_air = level is not None and level in field.coords
    named = find_by_attributes(field.attrs, str(field.name))
    if named is not None and VARIABLES[named].upper_air == upper_air:
        return named
    candidates = [VARIABLES[n] for n in find_by_standard_name(str(field.attrs.get("standard_name", "")), upper_air)]
    height = _read_scalar_height(field)
    candidates = [v for v in candidates if v.height is None or (height is not None and abs(v.height - height) < 0.5)]
    if len({v.name in PRECIPITATION for v in candidates}) == 1 and candidates[0].name in PRECIPITATION:
        candidates = candidates[:1]  # over how many hours it is summed is looked at for all precipitation
    return candidates[0].name if len(candidates) == 1 else None


def _name_precipitation(ds: xr.Dataset, user: str, name: str, time: str | None) -> str:
    """Name of precipitation by its hours, where the vocabulary has such a sum and the user's name says nothing else."""
    if name not in PRECIPITATION or (
        user in PRECIPITATION and not parse_interval(ds[user].attrs.get("cell_methods", ""))
    ):
        return name
    hours = infer_summed_hours(ds[user], name, time, ds)
    return next((known for known, own in PRECIPITATION.items() if own == hours), name)


def _read_scalar_height(field: xr.DataArray) -> float | None:
    """Height above the ground by a scalar coordinate, m."""
    for name, coord in field.coords.items():
        if coord.ndim == 0 and (name in HEIGHTS or coord.attrs.get("standard_name") == "height"):
            value = float(coord) if coord.dtype.kind in "iuf" else np.nan
            return value if np.isfinite(value) else None
    return None
