"""Pairs of latitude and longitude: a Dataset may have several, and a field lies on one of them.

A field's own ``coordinates`` attribute (CF conventions, section 5) says on which: staggered models keep theirs (POP,
ROMS, WRF, NEMO, CAM-FV), some of them along the same dimensions.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from xappa.errors import DatasetError

LATITUDES = ("latitude", "lat", "Latitude", "LAT", "nav_lat", "y")
LONGITUDES = ("longitude", "lon", "Longitude", "LON", "nav_lon", "x")

_NORTH = re.compile(r"deg(ree)?s?[ _]?n(orth)?")
_EAST = re.compile(r"deg(ree)?s?[ _]?e(ast)?")
# POP, CICE, CAM-FV and ICON; WRF; ROMS; NEMO; MOM6.
_MODELS = r"[tuvcexs]{a}|x{a}_[uvmc]|{a}_(rho|u|v|psi)|nav_{a}\w*|{b}[tuvf]|geo{a}(_[tcuv])?"
_LATITUDE = re.compile(_MODELS.format(a="lat(?:itude)?", b="gphi") + "|lat(itude)?")
_LONGITUDE = re.compile(_MODELS.format(a="lon(?:g|gitude)?", b="glam") + "|lon(gitude)?")
_BOUNDS = re.compile(r"(_bnds?|_bounds?|_vertices|_corners)$|^(vertices|bounds)_", re.IGNORECASE)


@dataclass(frozen=True)
class CoordinatePair:
    """Names of a latitude and the longitude that belongs to it."""

    latitude: str
    longitude: str


def identify_axis(name: Hashable, variable: xr.Variable) -> str | None:
    """``"latitude"`` or ``"longitude"``, by CF attributes, then by the names that models use; else None."""
    standard = variable.attrs.get("standard_name")
    if is_bounds(name):
        return None
    if standard:  # grid_latitude of a rotated grid, for one, is no latitude
        return str(standard) if standard in ("latitude", "longitude") else None
    units = str(variable.attrs.get("units", "")).strip().casefold()
    for axis, by_units, by_name in (("latitude", _NORTH, _LATITUDE), ("longitude", _EAST, _LONGITUDE)):
        if by_units.fullmatch(units) or by_name.fullmatch(str(name).casefold()):
            return axis
    return None


def find_pairs(ds: xr.Dataset) -> list[CoordinatePair]:
    """All pairs of a Dataset, those of dimension coordinates first."""
    found: dict[str, list[str]] = {"latitude": [], "longitude": []}
    for name, variable in ds.variables.items():
        axis = identify_axis(name, variable) if variable.ndim and variable.dtype.kind in "iuf" else None
        if axis is not None:
            found[axis].append(str(name))
    both = [p for one in found["latitude"] for p in _match_longitudes(ds, one, found["longitude"], found["latitude"])]
    return sorted(both, key=lambda p: not {p.latitude, p.longitude} <= set(map(str, ds.dims)))


def _match_longitudes(
    ds: xr.Dataset, latitude: str, longitudes: list[str], latitudes: list[str]
) -> Iterator[CoordinatePair]:
    dims = ds[latitude].dims
    alike = [name for name in longitudes if set(ds[name].dims) == set(dims)]
    alone = len(alike) == 1 and sum(set(ds[name].dims) == set(dims) for name in latitudes) == 1
    for name in alike:
        if alone or _extract_stem(name) == _extract_stem(latitude):
            yield CoordinatePair(latitude, name)
    if len(dims) == 1 and not alike:
        # Rows and columns: which go together, the dimensions of a field tell.
        yield from (
            CoordinatePair(latitude, name) for name in longitudes if ds[name].ndim == 1 and ds[name].dims != dims
        )


def _extract_stem(name: str) -> str:
    """Common part of the names of a latitude and its longitude: ``u*`` of ``ULAT`` and ``ULONG``."""
    return re.sub(r"latitude|longitude|long|lat|lon|gphi|glam", "*", name.casefold())


def find_pair(ds: xr.Dataset, name: Hashable, known: list[CoordinatePair]) -> CoordinatePair | None:
    """The pair on which a field lies; None if it lies on none.

    Parameters
    ----------
    ds : Dataset
    name : str
        Name of the field.
    known : list of CoordinatePair
        From `find_pairs`.

    Raises
    ------
    DatasetError
        If its ``coordinates`` name places that are not there, or nothing tells on which of several it lies.
    """
    field = ds[name]
    dims = set(field.dims)
    possible = [p for p in known if {*ds[p.latitude].dims, *ds[p.longitude].dims} <= dims]
    written = _read_coordinates_attribute(field)
    told = [p for p in possible if {p.latitude, p.longitude} <= set(written)]
    if told:
        return told[0]
    lost = [word for word in written if word not in ds.variables and _is_coordinate_name(word)]
    if lost and possible:
        there = ", ".join(f"{p.latitude!r} and {p.longitude!r}" for p in possible)
        raise DatasetError(
            f"Variable {str(name)!r} lies at {' and '.join(map(repr, lost))}, as its attribute 'coordinates' says, but "
            f"they are not there; found {there}: add them with ds.assign_coords"
        )
    if not possible:
        return None
    first = possible[0]
    others = [p for p in possible[1:] if _is_ambiguous(ds, first, p)]
    if others:
        listed = " or ".join(f"{p.latitude!r} and {p.longitude!r}" for p in [first, *others])
        raise DatasetError(
            f"Variable {str(name)!r} may lie at {listed}, along the same dimensions; expected an attribute that tells: "
            f"ds[{str(name)!r}].attrs['coordinates'] = '{first.longitude} {first.latitude}'"
        )
    return first


def drop_repeated_times(ds: xr.Dataset) -> xr.Dataset:
    """A Dataset whose latitudes and longitudes lack the times along which they are repeated (WRF's are, in each file).

    Places that move stay as they are: `require_fixed_positions` refuses them where they are needed.
    """
    changed: dict[str, xr.Variable] = {}
    for pair in find_pairs(ds):
        both = {name: _drop_constant_dims(ds[name]) for name in (pair.latitude, pair.longitude)}
        # Where but one of them moves, the places do.
        if len({still.ndim for still in both.values()}) == 1:
            changed |= {name: still.variable for name, still in both.items() if still.ndim < ds[name].ndim}
    coords = {name: variable for name, variable in changed.items() if name in ds.coords}
    return ds.assign({n: v for n, v in changed.items() if n not in coords}).assign_coords(coords)


def require_fixed_positions(coord: xr.DataArray) -> None:
    """Refuse places that differ from time to time.

    Raises
    ------
    DatasetError
    """
    if moving := _find_moving_dims(coord):
        raise DatasetError(
            f"The places move: {coord.name!r} differs along {moving[0]!r}; expected places that stay: regrid one after "
            f"the other, as in ds.isel({moving[0]}=0)"
        )


def _drop_constant_dims(coord: xr.DataArray) -> xr.DataArray:
    for dim in _find_moving_dims(coord):
        first = coord.isel({dim: 0})
        if np.allclose(coord.transpose(dim, ...), first, rtol=0, atol=1e-6, equal_nan=True):
            coord = first
    return coord


def _find_moving_dims(coord: xr.DataArray) -> list[str]:
    """Dimensions of places beside those of a grid: times, and whatever there are more than two of."""
    if coord.ndim < 2:
        return []
    times = [dim for dim in coord.dims if _is_time(coord, dim)]
    others = [dim for dim in coord.dims if dim not in times]
    return [str(dim) for dim in (*times, *others[: max(len(others) - 2, 0)])]


def is_bounds(name: Hashable) -> bool:
    """Whether a name is that of bounds, by the ways in which these end."""
    return bool(_BOUNDS.search(str(name)))


def _is_time(coord: xr.DataArray, dim: Hashable) -> bool:
    named = str(dim).casefold() in ("time", "valid_time", "times")
    return named or any(c.dims == (dim,) and c.dtype.kind in "mM" for c in coord.coords.values())


def _is_ambiguous(ds: xr.Dataset, first: CoordinatePair, other: CoordinatePair) -> bool:
    """Whether two pairs along the same dimensions say different things, and no dimension coordinates decide."""
    if {first.latitude, first.longitude} <= set(map(str, ds.dims)):
        return False
    dims = [{*ds[p.latitude].dims, *ds[p.longitude].dims} for p in (first, other)]
    if dims[0] != dims[1]:
        return False
    return not all(
        np.allclose(ds[a].transpose(*ds[b].dims), ds[b], rtol=0, atol=1e-6, equal_nan=True)
        for a, b in ((first.latitude, other.latitude), (first.longitude, other.longitude))
    )


def _read_coordinates_attribute(field: xr.DataArray) -> list[str]:
    """Words of the ``coordinates`` attribute, which xarray keeps in the encoding once it has read it."""
    attrs: Mapping = field.attrs if "coordinates" in field.attrs else field.encoding
    return str(attrs.get("coordinates") or "").split()


def _is_coordinate_name(word: str) -> bool:
    return bool(_LATITUDE.fullmatch(word.casefold()) or _LONGITUDE.fullmatch(word.casefold()))
