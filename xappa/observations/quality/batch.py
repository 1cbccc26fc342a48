"""Reports of one window of time as arrays: what the checks see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from xappa.observations.flags import Flag

Array = np.ndarray

EARTH_RADIUS = 6371.0
"""Mean radius, km."""


@dataclass
class Batch:
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
    pairs : tuple of pairs of str
        Quantities that are components of one vector: one is not used without the other.
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
    pairs: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.time)

    @cached_property
    def place(self) -> Array:
        """Unit vectors (N, 3); NaN where the place is unknown."""
        return unit_vectors(self.latitude, self.longitude)

    @cached_property
    def seconds(self) -> Array:
        """Time since the first report, s (N,)."""
        return (self.time - self.time.min()) / np.timedelta64(1, "s")

    def good(self, name: str) -> Array:
        """Reports of a quantity that are there and not rejected: bool (N,)."""
        return (self.flag[name] == Flag.GOOD) & np.isfinite(self.value[name])

    def reject(self, name: str, wrong: Array, reason: Flag) -> None:
        """Reject good reports of a quantity, and the other component with them where it is one of a vector."""
        for other in self.together(name):
            np.copyto(self.flag[other], np.int8(reason), where=wrong & self.good(other))

    def together(self, name: str) -> tuple[str, ...]:
        """The quantities that are used or rejected with this one, itself included."""
        return next((pair for pair in self.pairs if name in pair), (name,))


Check = Callable[[Batch], None]
"""Rejects reports of a batch, in place."""

Background = Callable[[Batch], Mapping[str, tuple[Array, Array]]]
"""What a background says of the reports: by quantity, mean and deviation (N,), NaN where it says nothing."""


def unit_vectors(latitude: Array, longitude: Array) -> Array:
    """Places on the unit sphere: (N, 3) for degrees (N,)."""
    phi, lam = np.deg2rad(latitude), np.deg2rad(longitude)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)


def chord(distance: float) -> float:
    """Straight line through the unit sphere between places `distance` km apart on its surface."""
    return float(2 * np.sin(min(distance / EARTH_RADIUS, np.pi) / 2))
