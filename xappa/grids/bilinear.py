r"""Bilinear weights on the sphere: across the date line and over the poles.

Between rows :math:`\phi_j, \phi_{j+1}` and columns :math:`\lambda_i, \lambda_{i+1}` the weight of a corner is the
product of a linear weight in latitude and one in longitude. Beyond the last row, the next row is that same row seen
across the pole: at latitude :math:`180° - \phi` and longitude :math:`\lambda + 180°`, where horizontal vector
components have the other sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xappa._typing import Array
from xappa.distinct_rows import find_distinct

MANY = 1000
"""Places from which it pays to look for those that come again."""


@dataclass(frozen=True)
class InterpolationWeights:
    """The four grid points round each of N places.

    Parameters
    ----------
    cell : array of int, (N, 4)
        Flat index, row * width + column.
    weight : array of float, (N, 4)
        Weights that sum to 1.
    crossed : array of bool, (N, 4)
        Whether the point lies across a pole, where vector components change sign.
    inside : array of bool, (N,)
        Whether the grid surrounds the place; elsewhere cells and weights mean nothing.
    """

    cell: Array
    weight: Array
    crossed: Array
    inside: Array


def compute_bilinear_weights(
    latitude: Array, longitude: Array, latitudes: Sequence[float] | Array, longitudes: Sequence[float] | Array
) -> InterpolationWeights:
    """Bilinear weights of places on a latitude-longitude grid, global or not.

    Parameters
    ----------
    latitude, longitude : array, (N,)
        Places, degrees north and east; longitudes in any convention.
    latitudes : sequence of float, (H,)
        Rows of the grid, from north to south or from south to north.
    longitudes : sequence of float, (W,)
        Columns of the grid, from any meridian, in any convention and order.

    Returns
    -------
    Corners
    """
    latitude, longitude = np.asarray(latitude, float), np.asarray(longitude, float)
    rows, columns = np.asarray(latitudes, float), np.asarray(longitudes, float)
    if len(latitude) < MANY:
        return _compute_weights(latitude, longitude, rows, columns)
    first, number = find_distinct(latitude, longitude)
    if 2 * len(first) > len(latitude):
        return _compute_weights(latitude, longitude, rows, columns)
    found = _compute_weights(latitude[first], longitude[first], rows, columns)
    return InterpolationWeights(found.cell[number], found.weight[number], found.crossed[number], found.inside[number])


def _compute_weights(latitude: Array, longitude: Array, rows: Array, columns: Array) -> InterpolationWeights:
    place = np.nan_to_num(latitude), np.nan_to_num(longitude)
    circle = CyclicColumns(columns)
    row, row_weight, crossed, in_latitude = _bracket_rows(place[0], rows, circle.closed)
    near, near_weight, in_longitude = circle.find_neighbours(place[1])
    far, far_weight, _ = circle.find_neighbours(place[1] + 180)
    column = np.where(crossed[:, :, None], far[:, None, :], near[:, None, :])
    column_weight = np.where(crossed[:, :, None], far_weight[:, None, :], near_weight[:, None, :])
    inside = in_latitude & in_longitude & np.isfinite(latitude) & np.isfinite(longitude)
    return InterpolationWeights(
        cell=(row[:, :, None] * len(columns) + column).reshape(-1, 4),
        weight=(row_weight[:, :, None] * column_weight).reshape(-1, 4),
        crossed=np.repeat(crossed, 2, axis=1),
        inside=inside,
    )


def bracket(nodes: Array, x: Array) -> tuple[Array, Array]:
    """Linear interpolation between ascending nodes, constant beyond the ends.

    Parameters
    ----------
    nodes : array of float, (K,)
    x : array of float, (N,)

    Returns
    -------
    index : array of int, (N, 2)
        The nodes below and above each `x`.
    weight : array of float, (N, 2)
        Their weights, which sum to 1.
    """
    last = len(nodes) - 1
    lower = np.clip(np.searchsorted(nodes, x, side="right") - 1, 0, max(last - 1, 0))
    upper = np.minimum(lower + 1, last)
    span = nodes[upper] - nodes[lower]
    fraction = np.clip((x - nodes[lower]) / np.where(span > 0, span, 1), 0, 1)
    return np.stack([lower, upper], axis=1), np.stack([1 - fraction, fraction], axis=1)


def _bracket_rows(latitude: Array, rows: Array, closed: bool) -> tuple[Array, Array, Array, Array]:
    """Row, weight and crossing (each (N, 2)) and whether the place lies between rows (N,)."""
    order = np.argsort(rows)
    nodes, crossed = rows[order], np.zeros(len(rows), bool)
    if closed and len(nodes) > 1:
        # A grid that stops within two rows of a pole surrounds it; one with a row on the pole needs nothing beyond.
        reach = 2.01 * np.diff(nodes).max()
        if 1e-6 < 2 * (90 - nodes[-1]) <= reach:
            nodes, order = np.append(nodes, 180 - nodes[-1]), np.append(order, order[-1])
            crossed = np.append(crossed, True)
        if 1e-6 < 2 * (90 + nodes[0]) <= reach:
            nodes, order = np.insert(nodes, 0, -180 - nodes[0]), np.insert(order, 0, order[0])
            crossed = np.insert(crossed, 0, True)
    pair, weight = bracket(nodes, latitude)
    inside = (latitude >= nodes[0] - 1e-6) & (latitude <= nodes[-1] + 1e-6) & (np.abs(latitude) <= 90)
    return order[pair], weight, crossed[pair], inside


class CyclicColumns:
    """Columns of a grid in their order round the globe."""

    def __init__(self, longitudes: Array) -> None:
        wrapped = np.round(longitudes % 360, 9) % 360
        self.nodes, self.order = np.unique(wrapped, return_index=True)
        self.gaps = np.diff(self.nodes, append=self.nodes[0] + 360)
        usual = np.median(self.gaps)
        self.open = self.gaps > 1.5 * usual + 1e-6 if len(self.nodes) > 2 else self.gaps > 180 + 1e-6
        self.closed = not self.open.any()

    def find_neighbours(self, longitude: Array) -> tuple[Array, Array, Array]:
        """Columns and weights to the west and east of places (each (N, 2)), and whether between columns (N,)."""
        wrapped = longitude % 360
        upper = np.searchsorted(self.nodes, wrapped, side="right") % len(self.nodes)
        lower = upper - 1
        fraction = np.clip((wrapped - self.nodes[lower]) % 360 / self.gaps[lower], 0, 1)
        # A place on the last meridian before a gap is still on the grid, whichever side rounding puts it.
        onto = np.minimum(fraction, 1 - fraction) * self.gaps[lower] < 1e-6
        fraction = np.where(onto, np.round(fraction), fraction)
        column = self.order[np.stack([lower, upper], axis=1)]
        return column, np.stack([1 - fraction, fraction], axis=1), ~self.open[lower] | onto
