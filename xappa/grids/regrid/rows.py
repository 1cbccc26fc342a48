"""Rows of points: the edges of cells along latitude and longitude, and how one set of intervals covers another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from xappa._typing import Array
from xappa.grids.bilinear import CyclicColumns


@dataclass(frozen=True)
class PointRow:
    """A circle of latitude of a reduced grid: points `start` ... `stop - 1` of the list."""

    latitude: float
    longitude: Array
    start: int

    @property
    def stop(self) -> int:
        """Position after the last point."""
        return self.start + len(self.longitude)


def split_rows(latitude: Array, longitude: Array) -> list[PointRow] | None:
    """Rows of a reduced grid given as a list of points; None if the list is something else.

    Parameters
    ----------
    latitude, longitude : array of float, (N,)

    Returns
    -------
    list of PointRow, or None
        At least two rows, sorted one way, each round the whole globe with at least 4 points.
    """
    if len(latitude) < 8 or not (np.isfinite(latitude).all() and np.isfinite(longitude).all()):
        return None
    starts = np.flatnonzero(np.diff(latitude, prepend=np.inf) != 0)
    stops = np.append(starts[1:], len(latitude))
    steps = np.diff(latitude[starts])
    if len(starts) < 2 or (stops - starts).min() < 4 or not ((steps > 0).all() or (steps < 0).all()):
        return None
    rows = [PointRow(float(latitude[i]), longitude[i:j], int(i)) for i, j in zip(starts, stops, strict=True)]
    circles = [CyclicColumns(row.longitude) for row in rows]
    closed = all(c.closed and len(c.nodes) == len(r.longitude) for c, r in zip(circles, rows, strict=True))
    return rows if closed else None


def compute_latitude_edges(latitudes: Array, bounds: Array | None = None) -> tuple[Array, Array]:
    """Southern and northern edges of rows, degrees.

    Edges lie halfway between rows; beyond the last rows half a row further, or on the pole where that is as near.

    Parameters
    ----------
    latitudes : array of float, (H,)
        Sorted either way.
    bounds : array of float, (H, 2), optional
        Edges that are known.

    Returns
    -------
    south, north : array of float, (H,)
    """
    if bounds is not None:
        clipped = np.clip(bounds, -90, 90)
        return clipped.min(axis=1), clipped.max(axis=1)
    if len(latitudes) == 1:
        return np.array([-90.0]), np.array([90.0])
    order = np.argsort(latitudes)
    nodes = latitudes[order]
    middle = (nodes[1:] + nodes[:-1]) / 2
    first, last = nodes[1] - nodes[0], nodes[-1] - nodes[-2]
    # Half a row from the pole there is no room for another row: the cell ends at the pole, as on Gaussian grids.
    south = nodes[0] - first / 2 if nodes[0] + 90 > 1.02 * first else -90.0
    north = nodes[-1] + last / 2 if 90 - nodes[-1] > 1.02 * last else 90.0
    edges = np.concatenate([[south], middle, [north]])
    back = np.empty(len(order), int)
    back[order] = np.arange(len(order))
    return edges[:-1][back], edges[1:][back]


def compute_longitude_edges(longitudes: Array, bounds: Array | None = None) -> tuple[Array, Array, Array]:
    """Western and eastern edges of columns, degrees, west in [0, 360), and the columns that are not repeated.

    Parameters
    ----------
    longitudes : array of float, (W,)
        In any order and convention.
    bounds : array of float, (W, 2), optional
        Edges that are known.

    Returns
    -------
    west, east : array of float, (W,)
    unique : array of int
        Columns without those that repeat another's meridian.
    """
    wrapped = np.round(longitudes % 360, 9) % 360
    nodes, index, inverse = np.unique(wrapped, return_index=True, return_inverse=True)
    if bounds is not None:
        west, width = bounds.min(axis=1), np.ptp(bounds, axis=1)
        crossing = width > 180 + 1e-9 if len(nodes) > 2 else np.zeros(len(width), bool)
        west, width = np.where(crossing, bounds.max(axis=1), west), np.where(crossing, 360 - width, width)
        return west % 360, west % 360 + width, index
    if len(nodes) == 1:
        return wrapped - 180 + 360 * (wrapped < 180), wrapped + 180 + 360 * (wrapped < 180), index
    circle = CyclicColumns(longitudes)
    east = np.where(circle.open, np.nan, circle.gaps) / 2
    west = np.roll(east, 1)
    # At the ends of a grid that is not closed, cells are as wide to both sides.
    east, west = np.where(np.isnan(east), west, east), np.where(np.isnan(west), east, west)
    lone = np.nanmedian(np.where(circle.open, np.nan, circle.gaps)) / 2 if (~circle.open).any() else 180.0
    east, west = (np.where(np.isnan(half), lone, half) for half in (east, west))
    start = (nodes - west) % 360
    return start[inverse], (start + west + east)[inverse], index


def compute_overlaps(low: Array, high: Array, source_low: Array, source_high: Array) -> tuple[Array, Array, Array]:
    """Overlaps of intervals.

    Parameters
    ----------
    low, high : array of float, (M,)
        Intervals in any order.
    source_low, source_high : array of float, (N,)
        Intervals that don't overlap each other.

    Returns
    -------
    target, source : array of int
        Pairs that overlap.
    length : array of float
        By how much.
    """
    order = np.argsort(source_low)
    starts, stops = source_low[order], source_high[order]
    first = np.searchsorted(stops, low, side="right")
    count = np.maximum(np.searchsorted(starts, high, side="left") - first, 0)
    target = np.repeat(np.arange(len(low)), count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    source = np.repeat(first, count) + within
    length = np.minimum(high[target], stops[source]) - np.maximum(low[target], starts[source])
    return target, order[source], np.maximum(length, 0)


def cover_intervals(low: Array, high: Array, source_low: Array, source_high: Array) -> csr_array:
    """Shares of each interval that source intervals cover, (M, N)."""
    target, source, length = compute_overlaps(low, high, source_low, source_high)
    width = (high - low)[target]
    share = np.divide(length, width, out=np.zeros_like(length), where=width > 0)
    return build_matrix(target, source, share, (len(low), len(source_low)))


def cover_longitudes(west: Array, east: Array, source_west: Array, source_east: Array) -> csr_array:
    """Shares of each stretch of longitude that source stretches cover, (M, N); west edges in [0, 360)."""
    target, source, length = [], [], []
    for turn in (-360.0, 0.0, 360.0):
        t, s, overlap = compute_overlaps(west, east, source_west + turn, source_east + turn)
        target.append(t)
        source.append(s)
        length.append(overlap)
    t, s = np.concatenate(target), np.concatenate(source)
    return build_matrix(t, s, np.concatenate(length) / (east - west)[t], (len(west), len(source_west)))


def build_matrix(row: Array, column: Array, weight: Array, shape: tuple[int, int]) -> csr_array:
    """Sparse matrix of the entries that are not zero; entries of one place add up."""
    kept = weight != 0
    made = csr_array((weight[kept], (row[kept], column[kept])), shape=shape)
    made.sum_duplicates()
    return made
