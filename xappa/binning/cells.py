"""Cells of a grid, of time and of pressure, and which of them each report lies in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from xappa._typing import Array
from xappa.errors import OptionError

MOST_CELLS = 1_000_000
"""Along one axis: 36 m of latitude at the finest, less than any report's place is known to."""

TICKS = {"ms": 10**3, "us": 10**6, "ns": 10**9}
"""Units of time a second."""


@dataclass(frozen=True)
class BinAxis:
    """Intervals that follow each other.

    Parameters
    ----------
    edges : tuple of float, (K + 1,)
        Ascending. Interval k reaches from ``edges[k]``, included, to ``edges[k + 1]``.
    period : float or None
        360 for longitudes, whose edges may begin anywhere and span at most this.
    """

    edges: tuple[float, ...]
    period: float | None = None

    def __len__(self) -> int:
        return len(self.edges) - 1

    @cached_property
    def _bounds(self) -> Array:
        return np.asarray(self.edges)

    @cached_property
    def _step(self) -> float | None:
        steps = np.diff(self._bounds)
        return float(steps.mean()) if np.allclose(steps, steps.mean(), rtol=1e-9, atol=1e-9) else None

    def unroll(self, x: Array) -> Array:
        """Values between the first edge and a period later, where there is a period."""
        if self.period is None:
            return x
        x = x - self.edges[0]
        # Within two turns, as all longitudes that are believed, this is a good deal faster than a remainder.
        turns = np.floor(x * (1 / self.period))
        return np.minimum(x - self.period * turns, np.nextafter(self.period, 0)) + self.edges[0]

    def find_intervals(self, x: Array) -> Array:
        """Number of the interval of each unrolled value, -1 outside; the last edge belongs to the last interval."""
        first, last = self.edges[0], self.edges[-1]
        if self._step is None:
            index = np.searchsorted(self._bounds, x, side="right") - 1
        else:
            with np.errstate(invalid="ignore"):  # places that are missing are outside
                index = ((x - first) * (1 / self._step)).astype(np.int64)
        np.minimum(index, len(self) - 1, out=index)
        outside = ~((x >= first) & (x <= last))
        if outside.any():
            index[outside] = -1
        return index

    @staticmethod
    def from_centres(centres: Sequence[float] | Array, low: float, high: float) -> BinAxis:
        """Intervals whose edges lie halfway between `centres`, within `low` and `high`."""
        nodes = np.unique(np.asarray(centres, float))
        if len(nodes) < 2:
            raise OptionError(f"target: found {len(nodes)} row or level; expected a grid of at least 2")
        middle = (nodes[1:] + nodes[:-1]) / 2
        ends = max(1.5 * nodes[0] - 0.5 * nodes[1], low), min(1.5 * nodes[-1] - 0.5 * nodes[-2], high)
        return BinAxis((ends[0], *middle.tolist(), ends[1]))

    @staticmethod
    def from_longitudes(centres: Sequence[float] | Array) -> BinAxis:
        """Intervals of longitude whose edges lie halfway between `centres`, which may leave a gap."""
        nodes = np.unique(np.round(np.asarray(centres, float) % 360, 9) % 360)
        if len(nodes) < 2:
            raise OptionError(f"target: found {len(nodes)} column; expected a grid of at least 2")
        gaps = np.diff(nodes, append=nodes[0] + 360)
        widest = int(gaps.argmax())
        # Begin after the widest gap; if that is no wider than usual, the grid goes all the way round.
        nodes = np.concatenate([nodes[widest + 1 :], nodes[: widest + 1] + 360])
        usual = float(np.median(gaps))
        closed = gaps[widest] <= 1.5 * usual + 1e-6
        half = gaps[widest] / 2 if closed else usual / 2
        middle = (nodes[1:] + nodes[:-1]) / 2
        west = nodes[0] - half
        return BinAxis((west, *middle.tolist(), west + 360 if closed else nodes[-1] + half), 360.0)


@dataclass(frozen=True)
class BinGrid:
    """Boxes that reports are gathered in.

    Parameters
    ----------
    latitude, longitude : Axis
        Degrees.
    step : timedelta64
        Length of the intervals of time, whose centres are its multiples from 00 UTC, 1 January 1970.
    levels : tuple of float
        Pressures (hPa) round which levels are gathered, halfway in log-pressure; without any, each level is its own.
    """

    latitude: BinAxis
    longitude: BinAxis
    step: np.timedelta64
    levels: tuple[float, ...] = field(default=())

    @staticmethod
    def from_degrees(size: float, step: np.timedelta64, levels: Sequence[float] = ()) -> BinGrid:
        """Cells of `size` degrees, with edges at the poles and at Greenwich."""
        if isinstance(size, bool) or not 0 < size <= 90:
            raise OptionError(f"target={size!r}: expected 'model', a Dataset, or degrees above 0 and up to 90")
        if 360 / size > MOST_CELLS:
            raise OptionError(
                f"target={size!r} degrees makes {360 / size:.3g} cells round the globe; expected at most {MOST_CELLS}: "
                f"cells of {360 / MOST_CELLS:g} degrees or more"
            )
        rows, columns = int(np.ceil(180 / size - 1e-9)), int(np.ceil(360 / size - 1e-9))
        south = np.minimum(-90 + size * np.arange(rows + 1), 90.0)
        west = np.minimum(size * np.arange(columns + 1), 360.0)
        return BinGrid(BinAxis(tuple(south.tolist())), BinAxis(tuple(west.tolist()), 360.0), step, tuple(levels))

    @staticmethod
    def from_grid(
        latitudes: Sequence[float], longitudes: Sequence[float], step: np.timedelta64, levels: Sequence[float] = ()
    ) -> BinGrid:
        """Cells round the points of a grid."""
        rows = BinAxis.from_centres(latitudes, -90.0, 90.0)
        return BinGrid(rows, BinAxis.from_longitudes(longitudes), step, tuple(levels))

    def find_time_intervals(self, time: Array) -> tuple[Array, Array]:
        """Number of the interval of each time (datetime64, none missing), and seconds from its middle."""
        length = int(self.step / np.timedelta64(1, "s"))
        unit = np.datetime_data(time.dtype)[0]
        if unit in ("s", "m", "h", "D"):
            seconds = time.astype("datetime64[s]").astype(np.int64)
            number = (seconds + length // 2) // length
            return number, (seconds - number * length).astype(float)
        ticks = TICKS[unit]
        raw = time.astype(np.int64)
        number = (raw + length * ticks // 2) // (length * ticks)
        return number, (raw - number * (length * ticks)) * (1 / ticks)

    def find_layers(self, level: Array) -> Array:
        """Number of the layer of each pressure (hPa); -1 where there is none."""
        known = np.isfinite(level) & (level > 0)
        log = np.log(np.where(known, level, 1.0))
        if not self.levels:
            return np.where(known, np.round(np.where(known, level, 0.0) * 10).astype(np.int64), -1)
        nodes = np.log(np.sort(np.asarray(self.levels, float)))
        # Beyond the first and the last level is beyond what a model can be read at, and stays apart.
        edges = np.concatenate([[nodes[0] - 1e-6], (nodes[1:] + nodes[:-1]) / 2, [nodes[-1] + 1e-6]])
        return np.where(known, np.searchsorted(edges, log, side="right"), -1)


def number_groups(keys: Sequence[Array]) -> tuple[Array, Array]:
    """Groups of equal keys.

    Parameters
    ----------
    keys : sequence of array of int, (N,)

    Returns
    -------
    group : array of int, (N,)
        Number of the group of each row; groups are in the order of their keys, the first key first.
    unique : array of int, (K, groups)
        The keys of each group.
    """
    count = len(keys[0])
    if not count:
        return np.empty(0, np.int64), np.empty((len(keys), 0), np.int64)
    low = [int(key.min()) for key in keys]
    sizes = [int(key.max()) - first + 1 for key, first in zip(keys, low, strict=True)]
    if np.prod([float(size) for size in sizes]) >= 2.0**62:
        # Each key by its rank: as many values as occur.
        ranks = [np.unique(key, return_inverse=True) for key in keys]
        group, unique = number_groups([inverse.reshape(-1) for _, inverse in ranks])
        return group, np.stack([values[row] for (values, _), row in zip(ranks, unique, strict=True)])
    joint = np.zeros(count, np.int64)
    for key, first, size in zip(keys, low, sizes, strict=True):
        if size > 1:
            joint *= size
            joint += key
            joint -= first
    total = int(np.prod(sizes))
    if total <= 8 * count + (1 << 20):
        there = np.zeros(total, bool)
        there[joint] = True
        found = np.flatnonzero(there)
        number = np.empty(total, np.int64)
        number[found] = np.arange(len(found))
        group = number[joint]
    else:
        found, group = np.unique(joint, return_inverse=True)
        group = group.reshape(-1)
    unique = np.stack(np.unravel_index(found, sizes))
    return group, unique + np.array(low)[:, None]
