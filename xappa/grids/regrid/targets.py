"""Grids that are not another Dataset's: so many degrees, Gaussian, a model's, or the one that weights tell of."""

from __future__ import annotations

import re
from collections.abc import Hashable

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.errors import DatasetError, OptionError
from xappa.grids.axes import AXES
from xappa.grids.regrid.grid import CURVILINEAR, POINTS, RECTILINEAR, Grid
from xappa.grids.regrid.rows import compute_latitude_edges, split_rows
from xappa.grids.regrid.weights import Weights

GAUSSIAN = re.compile(r"[Ff](\d+)")
# A stretch of longitude as wide as this without any point means that the grid doesn't go round the globe.
GAP = 30.0
MOST_COLUMNS, MOST_ROWS = 1_000_000, 4000
"""Largest size of a grid of given degrees, and of a Gaussian one from pole to equator, for lack of memory."""
SMALL = 1e-9
"""Tolerance of a number of rows, for rounding."""


def make_regular_grid(degrees: float, source: Grid) -> Grid:
    """Rows and columns every so many degrees, the part that `source` covers.

    Rows are on both poles, if 180 is a multiple of `degrees`; else they are counted from the equator, and the last ones
    lie nearer than `degrees` to the poles. Columns are counted from 0; if 360 is no multiple, the last stretch is
    shorter.

    Parameters
    ----------
    degrees : float
        Above 0, up to 90.
    source : Grid
        Tells names, order of rows, convention of longitudes, and extent.

    Returns
    -------
    Grid

    Raises
    ------
    OptionError
        If `degrees` is out of this range, or no point lies inside `source`.
    """
    if not 0 < degrees <= 90:
        raise OptionError(f"target={degrees!r} degrees; expected a number above 0 and up to 90, such as 0.25, 1 or 2.5")
    rows = 180 / degrees
    if 2 * rows > MOST_COLUMNS:
        raise OptionError(
            f"target={degrees!r} degrees makes {2 * rows:.3g} columns; expected at most {MOST_COLUMNS}: "
            f"{360 / MOST_COLUMNS:g} degrees or more"
        )
    if abs(rows - round(rows)) <= SMALL * rows:
        latitudes = 90 - np.arange(round(rows) + 1) * degrees
    else:
        half = int(90 / degrees)
        latitudes = np.arange(half, -half - 1, -1) * degrees
    latitudes = np.round(latitudes, 9)
    longitudes = np.round(np.arange(int(np.ceil(2 * rows * (1 - SMALL)))) * degrees, 9)
    south, north = _compute_extent(source)
    latitudes = latitudes[(latitudes >= south - 1e-9) & (latitudes <= north + 1e-9)]
    longitudes = longitudes[_is_covered(source.points[1], longitudes, degrees)]
    if not len(latitudes) or not len(longitudes):
        raise OptionError(f"target={degrees!r} degrees has no point inside the grid; expected a finer one")
    return make_grid_like(source, latitudes, longitudes)


def make_gaussian_grid(name: str, source: Grid) -> Grid | None:
    """The regular Gaussian grid ``"F48"`` (48 rows between a pole and the equator); None if the name is no such.

    Raises
    ------
    OptionError
        If it has more than `MOST_ROWS` such rows.
    """
    match = GAUSSIAN.fullmatch(name)
    if match is None or not match[1].strip("0"):
        return None
    if len(match[1]) > len(str(MOST_ROWS)) or int(match[1]) > MOST_ROWS:
        raise OptionError(
            f"target={name[:20]!r}: expected at most 'F{MOST_ROWS}', whose rows are {90 / MOST_ROWS:g} degrees apart"
        )
    half = int(match[1])
    latitudes = -np.degrees(np.arcsin(np.polynomial.legendre.leggauss(2 * half)[0]))
    return make_grid_like(source, latitudes, np.arange(4 * half) * 90 / half)


def make_grid_like(source: Grid, latitudes: Array, longitudes: Array) -> Grid:
    """Rows (north to south) and columns (from 0) with names, order and convention as in `source`."""
    regular = source.kind == RECTILINEAR and all(v.dims == (k,) for k, v in source.coords.items())
    names: list[Hashable] = list(source.coords) if regular else ["latitude", "longitude"]
    if regular and len(source.latitude) > 1 and source.latitude[0] < source.latitude[-1]:
        latitudes = latitudes[::-1]
    if (source.longitude < 0).any():
        longitudes = np.sort((longitudes + 180) % 360 - 180)
    return make_labelled_grid(names, latitudes, longitudes)


def make_labelled_grid(names: list[Hashable], latitudes: Array, longitudes: Array) -> Grid:
    """A grid of rows and columns with CF coordinates."""
    coords = {
        name: xr.Variable((name,), values, AXES[axis])
        for name, axis, values in zip(names, ("latitude", "longitude"), (latitudes, longitudes), strict=True)
    }
    return Grid.from_dataset(xr.Dataset(coords=coords))


def make_grid_from_weights(weights: Weights) -> Grid:
    """The target grid that a file of weights describes.

    Raises
    ------
    DatasetError
        If the file does not say where its targets are.
    """
    if "target_latitude" not in weights.places or "target_longitude" not in weights.places:
        raise DatasetError("These weights do not say where their targets are: give target=, a Dataset on that grid")
    latitude = weights.places["target_latitude"].reshape(weights.target_shape)
    longitude = weights.places["target_longitude"].reshape(weights.target_shape)
    dims = ("y", "x") if latitude.ndim == 2 else ("points",)
    axes = {k: {n: v for n, v in AXES[k].items() if n != "axis"} for k in ("latitude", "longitude")}
    coords = {
        "latitude": xr.Variable(dims, latitude, axes["latitude"]),
        "longitude": xr.Variable(dims, longitude, axes["longitude"]),
    }
    grid = Grid.from_dataset(xr.Dataset(coords=coords))
    if grid.kind == RECTILINEAR and grid.dims == dims:
        return make_labelled_grid(["latitude", "longitude"], grid.latitude, grid.longitude)
    return grid


def _compute_extent(grid: Grid) -> tuple[float, float]:
    if grid.kind in (CURVILINEAR, POINTS):
        return float(np.nanmin(grid.latitude)), float(np.nanmax(grid.latitude))
    rows = grid.latitude
    if grid.kind != RECTILINEAR:
        rows = np.array([row.latitude for row in split_rows(grid.latitude, grid.longitude) or []])
    south, north = compute_latitude_edges(rows, grid.latitude_bounds if grid.kind == RECTILINEAR else None)
    return float(south.min()), float(north.max())


def _is_covered(points: Array, longitudes: Array, degrees: float) -> Array:
    """Mask of longitudes that are not in a wide gap between points."""
    nodes = np.unique(np.round(points[np.isfinite(points)] % 360, 9) % 360)
    gaps = np.diff(nodes, append=nodes[0] + 360)
    widest = int(gaps.argmax())
    if gaps[widest] <= max(GAP, 2 * float(np.median(gaps))):
        return np.ones(len(longitudes), bool)
    into = (longitudes - nodes[widest]) % 360
    return (into < 1e-9) | (into > gaps[widest] - 1e-9)
