"""Reports of some windows of time as arrays: what the checks see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np

from xappa._typing import Array
from xappa.distinct_rows import find_distinct
from xappa.geometry import to_unit_vectors
from xappa.observations.flags import Flag

APART = 16.0
"""Between neighbouring windows, where reports are sought on the unit sphere: more than any distance there."""


class ComparisonBasis(IntEnum):
    """Basis of a comparison by the background check."""

    BACKGROUND = 0
    CLIMATOLOGY = 1
    NOTHING = 2


@dataclass
class ReportBatch:
    """N reports, and the flags that the checks change in place.

    Parameters
    ----------
    time : array of datetime64, (N,)
    latitude, longitude, altitude, level : array of float, (N,)
        Degrees, m, hPa; NaN where unknown.
    station, source : array of int, (N,)
        The same number where the name is the same; -1 where there is none.
    kind : array of int, (N,)
        -1 for reports of an instant; those over one period, or of one channel of an instrument, share a number.
    value, error : dict of arrays of float, (N,)
        By quantity; NaN where unknown.
    flag : dict of arrays of int8, (N,)
        By quantity.
    vector_pairs : tuple of pairs of str
        Quantities that are components of one vector: one is not used without the other.
    window : array of int, (N,), optional
        Number of the window of each, ascending; reports of different windows are not compared. Default: all in one.
    group, tie : array of int, (N,), optional
        The same number for reports of one station and time (see `RepeatedReports`), -1 for single ones; and which of
        them comes first where values are the same. Default: all are single.

    Attributes
    ----------
    basis : dict of arrays of int8, (N,)
        By quantity, what good reports are compared with (`ComparisonBasis`); changed in place.
    contradicted : dict of arrays of bool, (N,)
        By quantity, reports that others of the same station and time contradict: they are checked, and nothing is
        checked by them.
    """

    time: Array
    latitude: Array
    longitude: Array
    altitude: Array
    level: Array
    station: Array
    source: Array
    kind: Array
    value: dict[str, Array]
    error: dict[str, Array]
    flag: dict[str, Array]
    vector_pairs: tuple[tuple[str, str], ...] = ()
    window: Array = field(default_factory=lambda: np.zeros(0, int))
    group: Array = field(default_factory=lambda: np.zeros(0, int))
    tie: Array = field(default_factory=lambda: np.zeros(0, int))

    def __post_init__(self) -> None:
        if not len(self.window):
            self.window = np.zeros(len(self.time), int)
        if not len(self.group):
            self.group = self.tie = np.full(len(self.time), -1)
        self.contradicted: dict[str, Array] = {}
        self.basis = {name: np.zeros(len(self.time), "int8") for name in self.value}

    def __len__(self) -> int:
        return len(self.time)

    @cached_property
    def unit_vectors(self) -> Array:
        """Unit vectors (N, 3); NaN where the place is unknown."""
        return to_unit_vectors(self.latitude, self.longitude)

    @cached_property
    def seconds(self) -> Array:
        """Time since the first report of its window, s (N,)."""
        first = self._repeat_by_window(np.minimum.reduceat(self.time, self._window_starts))
        return (self.time - first) / np.timedelta64(1, "s")

    @cached_property
    def sites(self) -> tuple[Array, Array]:
        """Index of the first report at each distinct place (K,), and the number of each report's place (N,)."""
        return find_distinct(self.latitude + 0.0, self.longitude + 0.0)  # so that no zero is negative

    @cached_property
    def place_order(self) -> Array:
        """Positions by window, place and time; reports that share them come in an order that they alone decide."""
        first, number = self.sites
        rank = np.empty(len(first), np.int64)
        rank[np.lexsort((self.longitude[first], self.latitude[first]))] = np.arange(len(first))
        keys = (self.seconds, len(first) * self.window + rank[number])
        order = np.lexsort(keys)
        same = np.logical_and.reduce([key[order[1:]] == key[order[:-1]] for key in keys])
        if not same.any():
            return order
        rows = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False))
        more = (self.altitude, self.level, self.source, self.station)
        order[rows] = order[rows][np.lexsort([key[order[rows]] for key in (*more, *keys)])]
        return order

    @cached_property
    def _window_starts(self) -> Array:
        """First indices of the windows."""
        return np.concatenate([[0], np.flatnonzero(np.diff(self.window)) + 1])

    def _repeat_by_window(self, by_window: Array) -> Array:
        return np.repeat(by_window, np.diff([*self._window_starts, len(self)]))

    def any_in_window(self, mask: Array) -> Array:
        """Whether a mask holds for any report of each one's window: bool (N,)."""
        return self._repeat_by_window(np.logical_or.reduceat(mask, self._window_starts))

    def list_windows(self) -> Iterator[slice]:
        """Reports of each window, as slices."""
        for first, last in zip(self._window_starts, [*self._window_starts[1:], len(self)], strict=True):
            yield slice(int(first), int(last))

    def select(self, rows: slice) -> ReportBatch:
        """Some of the reports; what is rejected there is rejected here."""
        columns = ["time", "latitude", "longitude", "altitude", "level", "station", "source", "kind"]
        columns += ["window", "group", "tie"]
        cut: dict[str, Any] = {name: getattr(self, name)[rows] for name in columns}
        for name in ("value", "error", "flag"):
            cut[name] = {quantity: values[rows] for quantity, values in getattr(self, name).items()}
        return replace(self, **cut)

    def find_good(self, name: str) -> Array:
        """Reports of a quantity that are there and not rejected: bool (N,)."""
        return (self.flag[name] == Flag.GOOD) & np.isfinite(self.value[name])

    def reject(self, name: str, wrong: Array, reason: Flag) -> None:
        """Reject good reports of a quantity, and the other component with them where it is one of a vector."""
        for other in self.list_components(name):
            np.copyto(self.flag[other], np.int8(reason), where=wrong & self.find_good(other))

    def list_components(self, name: str) -> tuple[str, ...]:
        """The quantities that are used or rejected with this one, itself included."""
        return next((pair for pair in self.vector_pairs if name in pair), (name,))


Check = Callable[[ReportBatch], None]
"""Rejects reports of a batch, in place."""

Background = Callable[[ReportBatch], Mapping[str, tuple[Array, Array]]]
"""Values of a background at the reports: by quantity, mean and deviation (N,), NaN if unknown."""
