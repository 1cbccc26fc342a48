"""Fields on evenly spaced rows and columns, as such, as a list and as curvilinear: what tests of regridding share."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.spatial import cKDTree

from tests import cdo
from xappa.geometry import to_unit_vectors
from xappa.grids.regrid import Grid
from xappa.grids.regrid.rows import compute_latitude_edges, compute_longitude_edges

METHODS = ("bilinear", "conservative", "nearest")


def on(latitude, longitude, values) -> xr.Dataset:
    return cdo.lonlat(np.asarray(latitude, float), np.asarray(longitude, float)).assign(f=(("lat", "lon"), values))


def even(rows: int, columns: int, pole: bool = False) -> tuple[np.ndarray, np.ndarray]:
    step = 180 / rows
    latitude = np.linspace(-90, 90, rows) if pole else -90 + step / 2 + step * np.arange(rows)
    return latitude, np.arange(columns) * 360 / columns


def area_mean(ds: xr.Dataset) -> float:
    grid = Grid.from_dataset(ds)
    south, north = (np.sin(np.radians(edge)) for edge in compute_latitude_edges(grid.latitude))
    west, east, _ = compute_longitude_edges(grid.longitude)
    area = (north - south)[:, None] * (east - west)
    return float((ds["f"].values * area).sum() / area.sum())


def untied(ds: xr.Dataset, grid: xr.Dataset) -> np.ndarray:
    """Targets that one source is nearer to than all others."""
    sources, targets = (to_unit_vectors(*Grid.from_dataset(g).points) for g in (ds, grid))
    distance = cKDTree(sources).query(targets, k=2)[0]
    return (np.diff(distance, axis=1)[:, 0] > 1e-9).reshape(Grid.from_dataset(grid).shape)


def as_list(ds: xr.Dataset) -> xr.Dataset:
    return ds.stack(point=("lat", "lon")).reset_index("point")


def as_curvilinear(ds: xr.Dataset) -> Grid:
    grid = Grid.from_dataset(ds)
    latitude, longitude = (p.reshape(grid.shape) for p in grid.points)
    return Grid("curvilinear", latitude, longitude, grid.shape, ("y", "x"))
