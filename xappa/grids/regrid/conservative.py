"""Conservative weights of first order: the share of each target cell that each source cell covers.

Cells of rows and columns are bounded by parallels and meridians, so that shares of area are shares in longitude times
shares in the sine of latitude. Other cells are polygons of great circles, see `xappa.grids.regrid.polygons`.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from xappa._typing import Array
from xappa.grids.regrid.grid import RECTILINEAR, REDUCED, Grid
from xappa.grids.regrid.polygons import clipped_weights
from xappa.grids.regrid.rows import covering, covering_round, latitude_cells, longitude_cells, matrix, split_rows
from xappa.grids.regrid.weights import Weights


def conservative(source: Grid, target: Grid) -> Weights:
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
        parts = [(_along(source, target), _across(source, target))]
        return Weights(source.shape, target.shape, parts)
    if source.kind in by_rows and target.kind in by_rows:
        return Weights(source.shape, target.shape, full=_between_rows(source, target))
    return Weights(source.shape, target.shape, full=clipped_weights(source, target))


def _along(source: Grid, target: Grid) -> csr_array:
    """Shares of rows in area, (H_target, H_source)."""
    edges = [
        np.sin(np.radians(edge))
        for grid in (target, source)
        for edge in latitude_cells(_latitudes(grid), grid.latitude_bounds if grid.kind == RECTILINEAR else None)
    ]
    return covering(*edges)


def _across(source: Grid, target: Grid) -> csr_array:
    """Shares of columns, (W_target, W_source); of columns on one meridian the first counts."""
    west, east, unique = longitude_cells(source.longitude, source.longitude_bounds)
    target_west, target_east, _ = longitude_cells(target.longitude, target.longitude_bounds)
    return _onto(covering_round(target_west, target_east, west[unique], east[unique]), unique, len(west))


def _between_rows(source: Grid, target: Grid) -> csr_array:
    """Weights where the rows of one grid, or of both, have lengths of their own."""
    along = _along(source, target).tocoo()
    ours, theirs = _circles(source), _circles(target)
    known: dict[tuple[bytes, bytes], csr_array] = {}
    entries = []
    for to_row, from_row, share in zip(*along.coords, along.data, strict=True):
        (to_start, to_cells), (from_start, from_cells) = theirs[to_row], ours[from_row]
        key = to_cells[0].tobytes(), from_cells[0].tobytes()
        if key not in known:
            (low, high, _), (west, east, unique) = to_cells, from_cells
            known[key] = _onto(covering_round(low, high, west[unique], east[unique]), unique, len(west)).tocoo()
        columns = known[key]
        entries.append((to_start + columns.coords[0], from_start + columns.coords[1], columns.data * share))
    row, column, weight = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    return matrix(row, column, weight, (target.size, source.size))


def _circles(grid: Grid) -> list[tuple[int, tuple[Array, Array, Array]]]:
    """First position, and cells, of each row."""
    if grid.kind == RECTILINEAR:
        cells = longitude_cells(grid.longitude, grid.longitude_bounds)
        return [(i * len(grid.longitude), cells) for i in range(len(grid.latitude))]
    return [(row.start, longitude_cells(row.longitude)) for row in split_rows(grid.latitude, grid.longitude) or []]


def _latitudes(grid: Grid) -> Array:
    if grid.kind == RECTILINEAR:
        return grid.latitude
    return np.array([row.latitude for row in split_rows(grid.latitude, grid.longitude) or []])


def _onto(shares: csr_array, columns: Array, width: int) -> csr_array:
    """Shares whose columns are some of `width`."""
    made = shares.tocoo()
    return matrix(made.coords[0], columns[made.coords[1]], made.data, (shares.shape[0], width))
