r"""Bilinear and nearest weights from rows of points, among them all grids of rows and columns, regular or Gaussian.

Bilinear weights are linear in latitude between rows and in longitude along each. Between the last row of a grid that
goes round the globe and the pole they are linear in latitude towards the value at the pole: the mean of the row
(what ESMF calls ``POLEMETHOD_ALLAVG``), or for components of a vector, which near a pole turn with longitude, the row's
first harmonic, :math:`\frac{2}{N} \sum_k u_k \cos(\lambda - \lambda_k)`: a constant vector at the pole has no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from xappa._typing import Array
from xappa.grids.bilinear import CyclicColumns, bracket
from xappa.grids.regrid.grid import RECTILINEAR, Grid
from xappa.grids.regrid.rows import PointRow, build_matrix, compute_latitude_edges, compute_longitude_edges, split_rows
from xappa.grids.regrid.weights import Weights


def compute_row_bilinear_weights(source: Grid, target: Grid, vector: bool = False) -> Weights:
    """Bilinear weights from a rectilinear or reduced grid.

    Parameters
    ----------
    source : Grid
        Rectilinear or reduced.
    target : Grid
        Any.
    vector : bool, default False
        Whether the fields are components of horizontal vectors, which matters between the last row and the pole.

    Returns
    -------
    Weights
        Targets that rows and columns do not surround have none.
    """
    if source.kind == RECTILINEAR and target.kind == RECTILINEAR:
        return _build_factors(source, target, vector)
    latitude, longitude = target.points
    rows = _list_rows(source)
    meridian = _Meridian.from_rows([row.latitude for row in rows], source.kind != RECTILINEAR or _is_closed(source))
    pair, weight, pole, inside = meridian.find_neighbours(latitude)
    entries = [(np.zeros(0, int), np.zeros(0, int), np.zeros(0))]
    for side in (0, 1):
        used = np.where(inside, weight[:, side], 0.0)
        for number, met in _group_by_number(pair[:, side], (used != 0) & ~pole[:, side]):
            row, circle = rows[number], CyclicColumns(rows[number].longitude)
            column, share, within = circle.find_neighbours(longitude[met])
            share = np.where(within[:, None], share, 0.0) * used[met][:, None]
            entries.append((np.repeat(met, 2), row.start + column.ravel(), share.ravel()))
        for number, met in _group_by_number(pair[:, side], (used != 0) & pole[:, side]):
            row, unique = rows[number], np.sort(CyclicColumns(rows[number].longitude).order)
            share = _weight_pole_row(longitude[met], row.longitude[unique], vector) * used[met][:, None]
            entries.append((np.repeat(met, len(unique)), np.tile(row.start + unique, len(met)), share.ravel()))
    row_index, column, share = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    full = build_matrix(row_index, column, share, (target.size, source.size))
    scalar = compute_row_bilinear_weights(source, target) if vector and pole.any() else None
    return Weights(source.shape, target.shape, full=full, share=scalar)


def _group_by_number(number: Array, chosen: Array) -> Iterator[tuple[int, Array]]:
    """Positions that are `chosen`, together where they have the same number."""
    members = np.flatnonzero(chosen)
    members = members[np.argsort(number[members], kind="stable")]
    starts = np.flatnonzero(np.diff(number[members], prepend=-1))
    for part in np.split(members, starts[1:]):
        if len(part):
            yield int(number[part[0]]), part


def compute_nearest_weights(source: Grid, target: Grid) -> Weights:
    r"""The nearest point, on the sphere, of a rectilinear grid; none outside its cells.

    Among the points of a meridian :math:`\Delta\lambda` away the nearest is that nearest in latitude to
    :math:`\arctan(\tan\phi / \cos\Delta\lambda)`, and the nearest meridian is nearest at every latitude.
    """
    latitude, longitude = target.points
    west, east, unique = compute_longitude_edges(source.longitude, source.longitude_bounds)
    south, north = compute_latitude_edges(source.latitude, source.latitude_bounds)
    nodes = source.longitude[unique] % 360
    order = np.argsort(nodes)
    place = np.searchsorted(nodes[order], longitude % 360)
    near = np.stack([order[(place - 1) % len(nodes)], order[place % len(nodes)]])
    away = np.abs((longitude - nodes[near] + 180) % 360 - 180)
    pick = (away[1] < away[0]).astype(int)
    column, step = unique[np.take_along_axis(near, pick[None], 0)[0]], np.radians(away.min(axis=0))
    phi = np.radians(latitude)
    sought = np.degrees(np.arctan2(np.sin(phi), np.cos(phi) * np.cos(step)))
    by_latitude = np.argsort(source.latitude)
    middle = (source.latitude[by_latitude][1:] + source.latitude[by_latitude][:-1]) / 2
    row = by_latitude[np.searchsorted(middle, sought)]
    inside = (latitude >= south.min() - 1e-6) & (latitude <= north.max() + 1e-6)
    beyond = (longitude - west[column] + 1e-6) % 360 > (east - west)[column] + 2e-6
    targets = np.flatnonzero(inside & ~beyond)
    cell = (row * len(source.longitude) + column)[targets]
    full = build_matrix(targets, cell, np.ones(len(targets)), (target.size, source.size))
    return Weights(source.shape, target.shape, full=full)


def _build_factors(source: Grid, target: Grid, vector: bool) -> Weights:
    circle = CyclicColumns(source.longitude)
    pair, weight, pole, inside = _Meridian.from_rows(source.latitude, circle.closed).find_neighbours(target.latitude)
    weight = np.where(inside[:, None], weight, 0.0)
    along = _build_pair_matrix(np.where(pole, 0.0, weight), pair, len(source.latitude))
    column, share, within = circle.find_neighbours(target.longitude)
    parts = [(along, _build_pair_matrix(np.where(within[:, None], share, 0.0), column, len(source.longitude)))]
    beyond = _build_pair_matrix(np.where(pole, weight, 0.0), pair, len(source.latitude))
    if not beyond.nnz:
        return Weights(source.shape, target.shape, parts)
    unique = np.sort(circle.order)
    at_pole = np.zeros((len(target.longitude), len(source.longitude)))
    at_pole[:, unique] = _weight_pole_row(target.longitude, source.longitude[unique], False)
    scalar = Weights(source.shape, target.shape, [*parts, (beyond, csr_array(at_pole))])
    if not vector:
        return scalar
    at_pole[:, unique] = _weight_pole_row(target.longitude, source.longitude[unique], True)
    return Weights(source.shape, target.shape, [*parts, (beyond, csr_array(at_pole))], share=scalar)


@dataclass(frozen=True)
class _Meridian:
    """Rows from south to north, with the poles where the grid surrounds them."""

    nodes: Array
    order: Array
    pole: Array

    @staticmethod
    def from_rows(latitudes: Array | list[float], closed: bool) -> _Meridian:
        rows = np.asarray(latitudes, float)
        order = np.argsort(rows)
        nodes, pole = rows[order], np.zeros(len(rows), bool)
        if closed and len(nodes) > 1:
            # A grid that stops within a row of a pole surrounds it; one with a row on the pole needs nothing beyond.
            reach = 1.02 * np.diff(nodes).max()
            if 1e-6 < 90 - nodes[-1] <= reach:
                nodes, order, pole = np.append(nodes, 90.0), np.append(order, order[-1]), np.append(pole, True)
            if 1e-6 < 90 + nodes[0] <= reach:
                nodes, order, pole = np.insert(nodes, 0, -90.0), np.insert(order, 0, order[0]), np.insert(pole, 0, True)
        return _Meridian(nodes, order, pole)

    def find_neighbours(self, latitude: Array) -> tuple[Array, Array, Array, Array]:
        """Rows, weights and whether it is the pole beyond that row, each (N, 2), and whether between rows (N,)."""
        place = np.nan_to_num(latitude)
        pair, weight = bracket(self.nodes, place)
        inside = (place >= self.nodes[0] - 1e-6) & (place <= self.nodes[-1] + 1e-6) & np.isfinite(latitude)
        # Coordinates are often kept in single precision: a place on a row is on it.
        gap = np.diff(self.nodes[pair], axis=1)
        weight = np.where(np.abs(weight - np.round(weight)) * gap < 1e-9, np.round(weight), weight)
        return self.order[pair], weight, self.pole[pair], inside


def _weight_pole_row(longitude: Array, row: Array, vector: bool) -> Array:
    """What each place (N,) sees of the points of a row (W,) when it comes to the pole."""
    if not vector:
        return np.full((len(longitude), len(row)), 1 / len(row))
    return 2 / len(row) * np.cos(np.radians(longitude[:, None] - row[None]))


def _build_pair_matrix(weight: Array, index: Array, width: int) -> csr_array:
    return build_matrix(np.repeat(np.arange(len(index)), 2), index.ravel(), weight.ravel(), (len(index), width))


def _list_rows(grid: Grid) -> list[PointRow]:
    if grid.kind != RECTILINEAR:
        return split_rows(grid.latitude, grid.longitude) or []
    width = len(grid.longitude)
    return [PointRow(float(phi), grid.longitude, i * width) for i, phi in enumerate(grid.latitude)]


def _is_closed(grid: Grid) -> bool:
    return CyclicColumns(grid.longitude).closed
