"""A horizontal grid as regridding sees it: where its points are, and what its cells and coordinates are called."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.errors import DatasetError
from xappa.grids.axes import NAMES, find_axis, refuse
from xappa.grids.horizontal import drop_repeated_times, require_fixed_positions
from xappa.grids.regrid.rows import split_rows
from xappa.grids.validation import (
    ROUNDING,
    describe_missing_axis,
    find_degree_problems,
    find_latitude_problems,
    find_longitude_problems,
    find_radian_problems,
)

RECTILINEAR = "rectilinear"
REDUCED = "reduced"
CURVILINEAR = "curvilinear"
POINTS = "points"

BOUNDS = ("_bnds", "_bounds", "_bound", "_bnd", "_vertices")
"""Suffixes of names of bounds that begin with that of their axis."""
MOST_ALIKE = 4
"""Points of a grid at one place, at most: more of them have no place."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Points of a horizontal grid.

    Parameters
    ----------
    kind : str
        ``"rectilinear"`` (rows and columns; Gaussian grids too), ``"reduced"`` (rows of different lengths, as one
        list of points), ``"curvilinear"`` (2-D) or ``"points"`` (a list of places).
    latitude, longitude : array of float
        Degrees north and east: (H,) and (W,) where rectilinear, else both of `shape`.
    shape : tuple of int
        Sizes of fields along `dims`.
    dims : tuple of hashable
        Names of the horizontal dimensions.
    latitude_bounds, longitude_bounds : array of float, optional
        Edges of the cells: (H, 2) and (W, 2) where rectilinear, else (points, vertices) in order round each cell.
        Default: halfway between neighbours.
    coords : dict
        The coordinates that say where the points are, by name.
    """

    kind: str
    latitude: Array
    longitude: Array
    shape: tuple[int, ...]
    dims: tuple[Hashable, ...]
    latitude_bounds: Array | None = None
    longitude_bounds: Array | None = None
    coords: dict[Hashable, xr.Variable] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of points."""
        return int(np.prod(self.shape))

    @cached_property
    def points(self) -> tuple[Array, Array]:
        """Latitude and longitude of every point, (size,) each, in the order of flattened fields."""
        if self.kind == RECTILINEAR:
            latitude, longitude = np.meshgrid(self.latitude, self.longitude, indexing="ij")
            return latitude.ravel(), longitude.ravel()
        return self.latitude.ravel(), self.longitude.ravel()

    @cached_property
    def digest(self) -> str:
        """Hash of everything that weights depend on."""
        text = hashlib.sha256(f"{self.kind} {self.shape}".encode())
        for values in (self.latitude, self.longitude, self.latitude_bounds, self.longitude_bounds):
            text.update(b"-" if values is None else np.ascontiguousarray(values, float).tobytes())
        return text.hexdigest()

    def __str__(self) -> str:
        return f"{self.kind} grid {' x '.join(map(str, self.shape))}"

    @staticmethod
    def from_dataset(ds: xr.Dataset | xr.DataArray) -> Grid:
        """The horizontal grid of a Dataset, found by CF attributes and usual names.

        Raises
        ------
        DatasetError
            If there is none, or its coordinates are not usable.
        """
        ds = ds.to_dataset(name="field") if isinstance(ds, xr.DataArray) else ds
        names = {axis: find_axis(ds, axis) for axis in ("latitude", "longitude")}
        refuse(
            [describe_missing_axis(ds, axis, NAMES[axis]) for axis, name in names.items() if name is None],
            "No grid was found",
        )
        return Grid.from_coordinates(drop_repeated_times(ds), *map(str, names.values()))

    @staticmethod
    def from_coordinates(ds: xr.Dataset, latitude_name: str, longitude_name: str) -> Grid:
        """The horizontal grid of these coordinates of a Dataset.

        Raises
        ------
        DatasetError
            If they are not usable.
        """
        latitude, longitude = ds[latitude_name], ds[longitude_name]
        for coord in (latitude, longitude):
            require_fixed_positions(coord)
        ranks = latitude.ndim, longitude.ndim
        if ranks == (1, 1) and latitude.dims != longitude.dims:
            return _build_rectilinear(ds, latitude, longitude)
        if ranks == (1, 1) or (ranks == (2, 2) and set(latitude.dims) == set(longitude.dims)):
            return _build_from_points(ds, latitude, longitude.transpose(*latitude.dims))
        raise DatasetError(
            f"No grid was found: latitude {latitude.name!r} has the dimensions {latitude.dims}, longitude "
            f"{longitude.name!r} {longitude.dims}; expected one dimension each, or both the same one or two: use "
            "ds.expand_dims, or ds.appa.observe for single places"
        )


def _build_rectilinear(ds: xr.Dataset, latitude: xr.DataArray, longitude: xr.DataArray) -> Grid:
    problems = (
        find_latitude_problems(latitude)
        + find_longitude_problems(longitude)
        + find_radian_problems(latitude, longitude)
    )
    problems += [f"{c.name!r} is empty; expected at least one value" for c in (latitude, longitude) if not c.size]
    refuse(problems, "This grid cannot be used")
    return Grid(
        RECTILINEAR,
        np.clip(np.asarray(latitude.values, float), -90, 90),
        np.asarray(longitude.values, float),
        (latitude.size, longitude.size),
        (latitude.dims[0], longitude.dims[0]),
        *_read_both_bounds(ds, latitude, longitude),
        {c.name: c.variable for c in (latitude, longitude)},
    )


def _build_from_points(ds: xr.Dataset, latitude: xr.DataArray, longitude: xr.DataArray) -> Grid:
    """Both coordinates along the same dimensions: a list of points, rows of different lengths, or curvilinear."""
    phi, lam = np.asarray(latitude.values, float), np.asarray(longitude.values, float)
    wrong = np.abs(phi[np.isfinite(phi)]) > 90 + ROUNDING
    problems = (
        find_degree_problems(latitude) + find_degree_problems(longitude) + find_radian_problems(latitude, longitude)
    )
    if wrong.any():
        problems.append(
            f"latitude {latitude.name!r} goes beyond 90 degrees at {int(wrong.sum())} points; expected degrees north"
        )
    refuse(problems, "This grid cannot be used")
    phi = np.clip(phi, -90, 90)
    coords = {c.name: c.variable for c in (latitude, longitude)}
    bounds = _read_both_bounds(ds, latitude, longitude)
    if phi.ndim == 1:
        kind = POINTS if split_rows(phi, lam) is None else REDUCED
        return Grid(kind, phi, lam, phi.shape, latitude.dims, *bounds, coords)
    phi, lam = _without_fill(phi, lam)
    separable = _find_row_dimension(phi, lam)
    if separable is None:
        return Grid(CURVILINEAR, phi, lam, phi.shape, latitude.dims, *bounds, coords)
    dims = latitude.dims if separable == 0 else latitude.dims[::-1]
    rows, columns = (phi[:, 0], lam[0]) if separable == 0 else (phi[0], lam[:, 0])
    return Grid(RECTILINEAR, rows, columns, (len(rows), len(columns)), dims, coords=coords)


def _without_fill(latitude: Array, longitude: Array) -> tuple[Array, Array]:
    """Coordinates without those of points that have none: NEMO writes the same ones, often zeros, for all on land.

    Points coincide in twos and threes where a grid closes or folds, and at a pole.
    """
    if not ((np.diff(latitude) == 0) & (np.diff(longitude) == 0)).any():
        return latitude, longitude
    _, index, count = np.unique(longitude + 1j * latitude, return_inverse=True, return_counts=True)
    fill = (count[index.reshape(latitude.shape)] > MOST_ALIKE) & (np.abs(latitude) < 89.9)
    return np.where(fill, np.nan, latitude), np.where(fill, np.nan, longitude)


def _find_row_dimension(latitude: Array, longitude: Array) -> int | None:
    """The dimension along which rows follow each other if 2-D coordinates are those of rows and columns, else None."""
    if not (np.isfinite(latitude).all() and np.isfinite(longitude).all()):
        return None
    for axis in (0, 1):
        if np.ptp(latitude, axis=1 - axis).max() < 1e-9 and np.ptp(longitude, axis=axis).max() < 1e-9:
            rows = latitude[:, 0] if axis == 0 else latitude[0]
            steps = np.diff(rows)
            return axis if (steps > 0).all() or (steps < 0).all() else None
    return None


def _read_both_bounds(
    ds: xr.Dataset, latitude: xr.DataArray, longitude: xr.DataArray
) -> tuple[Array | None, Array | None]:
    # Corners by xESMF's names are those of the first of several grids.
    edges = ("lat_b", "lon_b") if find_axis(ds, "latitude") == latitude.name else ("", "")
    return _read_bounds(ds, latitude, edges[0]), _read_bounds(ds, longitude, edges[1])


def _read_bounds(ds: xr.Dataset, coord: xr.DataArray, edges: str) -> Array | None:
    """Edges of cells: CF bounds, also those that no attribute names, or corners as xESMF names them; None without."""
    named = coord.attrs.get("bounds", coord.encoding.get("bounds"))
    for name in (named, *(f"{coord.name}{end}" for end in BOUNDS)):
        if name not in ds.variables:
            continue
        values = ds[name]
        extra = [dim for dim in values.dims if dim not in coord.dims]
        if values.ndim == coord.ndim + 1 and len(extra) == 1:
            ordered = np.asarray(values.transpose(*coord.dims, *extra).values, float)
            if name == named or np.isfinite(ordered).all():
                return ordered.reshape(coord.shape[0], -1) if coord.ndim == 1 else ordered.reshape(coord.size, -1)
    if edges in ds.variables:
        return _from_corners(np.asarray(ds[edges].values, float), coord.shape)
    return None


def _from_corners(corners: Array, shape: tuple[int, ...]) -> Array | None:
    if corners.shape != tuple(n + 1 for n in shape):
        return None
    if corners.ndim == 1:
        return np.stack([corners[:-1], corners[1:]], axis=1)
    around = (corners[:-1, :-1], corners[:-1, 1:], corners[1:, 1:], corners[1:, :-1])
    return np.stack([c.ravel() for c in around], axis=1)
