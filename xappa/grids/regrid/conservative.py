"""Conservative weights of first order: the share of each target cell that each source cell covers.

Cells of rows and columns are bounded by parallels and meridians, so that shares of area are shares in longitude times
shares in the sine of latitude. Other cells are polygons of great circles, see `xappa.grids.regrid.polygons`.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from xappa._typing import Array
from xappa.grids.regrid.grid import RECTILINEAR, REDUCED, Grid
from xappa.grids.regrid.polygons import compute_overlap_weights
from xappa.grids.regrid.rows import (
    build_matrix,
    compute_latitude_edges,
    compute_longitude_edges,
    cover_intervals,
    cover_longitudes,
    split_rows,
)
from xappa.grids.regrid.weights import Weights


def compute_conservative_weights(source: Grid, target: Grid) -> Weights:
    """Conservative weights between any grids whose cells are known.

    Parameters
    ----------
    source, target : Grid

    Returns
    -------
    Weights
        Rows add up to the covered share of each target cell.

    Raises
    ------
    DatasetError
        If one of them is a list of points without bounds.

    References
    ----------
    Jones, P. W., 1999: First- and second-order conservative remapping schemes for grids in spherical coordinates.
    Monthly Weather Review 127, 2204-2210.
    """
    by_rows = (RECTILINEAR, REDUCED)
    if source.kind == RECTILINEAR and target.kind == RECTILINEAR:
        parts = [(_cover_rows(source, target), _cover_columns(source, target))]
        return Weights(source.shape, target.shape, parts)
    if source.kind in by_rows and target.kind in by_rows:
        return Weights(source.shape, target.shape, full=_cover_uneven_rows(source, target))
    return Weights(source.shape, target.shape, full=compute_overlap_weights(source, target))


def _cover_rows(source: Grid, target: Grid) -> csr_array:
    """Shares of rows in area, (H_target, H_source)."""
    edges = [
        np.sin(np.radians(edge))
        for grid in (target, source)
        for edge in compute_latitude_edges(
            _list_row_latitudes(grid), grid.latitude_bounds if grid.kind == RECTILINEAR else None
        )
    ]
    return cover_intervals(*edges)


def _cover_columns(source: Grid, target: Grid) -> csr_array:
    """Shares of columns, (W_target, W_source); of columns on one meridian the first counts."""
    west, east, unique = compute_longitude_edges(source.longitude, source.longitude_bounds)
    target_west, target_east, _ = compute_longitude_edges(target.longitude, target.longitude_bounds)
    return _embed_columns(cover_longitudes(target_west, target_east, west[unique], east[unique]), unique, len(west))


def _cover_uneven_rows(source: Grid, target: Grid) -> csr_array:
    """Weights where the rows of one grid, or of both, have lengths of their own."""
    along = _cover_rows(source, target).tocoo()
    ours, theirs = _list_row_edges(source), _list_row_edges(target)
    known: dict[tuple[bytes, bytes], csr_array] = {}
    entries = []
    for to_row, from_row, share in zip(*along.coords, along.data, strict=True):
        (to_start, to_cells), (from_start, from_cells) = theirs[to_row], ours[from_row]
        key = to_cells[0].tobytes(), from_cells[0].tobytes()
        if key not in known:
            (low, high, _), (west, east, unique) = to_cells, from_cells
            known[key] = _embed_columns(
                cover_longitudes(low, high, west[unique], east[unique]), unique, len(west)
            ).tocoo()
        columns = known[key]
        entries.append((to_start + columns.coords[0], from_start + columns.coords[1], columns.data * share))
    row, column, weight = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    return build_matrix(row, column, weight, (target.size, source.size))


def _list_row_edges(grid: Grid) -> list[tuple[int, tuple[Array, Array, Array]]]:
    """First position, and cells, of each row."""
    if grid.kind == RECTILINEAR:
        cells = compute_longitude_edges(grid.longitude, grid.longitude_bounds)
        return [(i * len(grid.longitude), cells) for i in range(len(grid.latitude))]
    return [
        (row.start, compute_longitude_edges(row.longitude)) for row in split_rows(grid.latitude, grid.longitude) or []
    ]


def _list_row_latitudes(grid: Grid) -> Array:
    if grid.kind == RECTILINEAR:
        return grid.latitude
    return np.array([row.latitude for row in split_rows(grid.latitude, grid.longitude) or []])


def _embed_columns(shares: csr_array, columns: Array, width: int) -> csr_array:
    """Shares whose columns are some of `width`."""
    made = shares.tocoo()
    return build_matrix(made.coords[0], columns[made.coords[1]], made.data, (shares.shape[0], width))
