"""Weights made by other packages."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xappa.errors import DatasetError, MissingDependency, OptionError
from xappa.geometry import to_unit_vectors
from xappa.grids.bilinear import CyclicColumns
from xappa.grids.regrid.grid import CURVILINEAR, RECTILINEAR, Grid
from xappa.grids.regrid.rows import build_matrix, compute_latitude_edges, compute_longitude_edges
from xappa.grids.regrid.sphere import is_closed
from xappa.grids.regrid.weights import Weights

METHODS = {"bilinear": "bilinear", "conservative": "conservative", "nearest": "nearest_s2d"}


def compute_xesmf_weights(source: Grid, target: Grid, method: str) -> Weights:
    """Weights of xESMF.

    Cells have great circles for edges, also those of rows and columns; ``"nearest"`` has a value everywhere.

    Parameters
    ----------
    source, target : Grid
        Rectilinear or curvilinear; the target may be a list of places, but not for conservative weights.
    method : str
        ``"bilinear"``, ``"conservative"`` or ``"nearest"``.

    Returns
    -------
    Weights

    Raises
    ------
    MissingDependency
        If xESMF is not installed.
    DatasetError, OptionError
        If xESMF doesn't take the grids or the method.
    """
    try:
        import xesmf
    except ImportError as error:
        raise MissingDependency(
            "backend='xesmf' needs xESMF, which is not installed; it is on conda-forge: "
            "conda install -c conda-forge xesmf"
        ) from error
    if method not in METHODS:
        raise OptionError(f"Unknown method {method!r} of xESMF; expected one of {', '.join(map(repr, METHODS))}")
    gridded = (RECTILINEAR, CURVILINEAR)
    listed = target.kind not in gridded
    if source.kind not in gridded or (listed and method == "conservative"):
        raise DatasetError(
            f"backend='xesmf' takes grids of rows and columns or with 2-D coordinates; found a {source} as the source "
            f"and a {target} as the target: leave backend out"
        )
    cells = method == "conservative"
    regridder = xesmf.Regridder(
        _to_xesmf_dataset(source, cells),
        _to_xesmf_dataset(target, cells),
        METHODS[method],
        periodic=_is_periodic(source) and not cells,
        locstream_out=listed,
    )
    made = regridder.weights.data.to_scipy_sparse().tocoo()
    full = build_matrix(made.row, made.col, np.asarray(made.data, float), (target.size, source.size))
    return Weights(source.shape, target.shape, full=full, attrs={"method": method, "backend": "xesmf"})


BACKENDS = {"xesmf": compute_xesmf_weights}


def _to_xesmf_dataset(grid: Grid, cells: bool) -> xr.Dataset:
    """The grid as xESMF reads it: ``lat``, ``lon`` and, for cells, their corners ``lat_b``, ``lon_b``."""
    if grid.kind == RECTILINEAR:
        ds = xr.Dataset(coords={"lat": ("y", grid.latitude), "lon": ("x", grid.longitude)})
        if not cells:
            return ds
        south, north = compute_latitude_edges(grid.latitude, grid.latitude_bounds)
        west, east, _ = compute_longitude_edges(grid.longitude, grid.longitude_bounds)
        upward = len(south) < 2 or south[1] > south[0]
        first, last = (south, north) if upward else (north, south)
        meridians = np.append(west, east[-1])
        turns = np.floor((grid.longitude[0] - meridians[0] + 180) / 360)
        meridians = np.rad2deg(np.unwrap(np.deg2rad(meridians))) + 360 * turns
        return ds.assign_coords(lat_b=("y_b", np.append(first, last[-1])), lon_b=("x_b", meridians))
    dims = ("y", "x") if len(grid.shape) == 2 else ("locations",)
    ds = xr.Dataset(coords={"lat": (dims, grid.latitude), "lon": (dims, grid.longitude)})
    if not cells:
        return ds
    latitude, longitude = _compute_corners(grid)
    return ds.assign_coords(lat_b=(("y_b", "x_b"), latitude), lon_b=(("y_b", "x_b"), longitude))


def _compute_corners(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Corners (H + 1, W + 1) of the cells of a curvilinear grid, degrees."""
    from xappa.grids.regrid.polygons import build_cells

    corner = build_cells(grid).reshape(*grid.shape, -1, 3)[:, :, :4]
    wide = np.empty((grid.shape[0] + 1, grid.shape[1] + 1, 3))
    wide[:-1, :-1], wide[:-1, -1] = corner[:, :, 0], corner[:, -1, 1]
    wide[-1, :-1], wide[-1, -1] = corner[-1, :, 3], corner[-1, -1, 2]
    longitude = np.degrees(np.arctan2(wide[..., 1], wide[..., 0]))
    return np.degrees(np.arcsin(np.clip(wide[..., 2], -1, 1))), longitude


def _is_periodic(grid: Grid) -> bool:
    if grid.kind == RECTILINEAR:
        return CyclicColumns(grid.longitude).closed
    return is_closed(to_unit_vectors(grid.latitude, grid.longitude))
