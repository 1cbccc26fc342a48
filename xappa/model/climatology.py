"""The mean annual and daily cycle at every grid point, as harmonics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ANNUAL = 5  # constant, two harmonics of the year
DIURNAL = 9  # (cosine and sine of the day, and of half a day) times (constant, first harmonic of the year)


def year_angle(times: np.ndarray) -> np.ndarray:
    """Angle of the season, radians: 0 at New Year, 2 pi a year of 365.25 days later."""
    start = times.astype("datetime64[Y]").astype(times.dtype)
    return 2 * np.pi * ((times - start) / np.timedelta64(1, "h")) / 8766.0


def annual_basis(times: np.ndarray) -> np.ndarray:
    """Harmonics of the year: (time, 5)."""
    a = year_angle(times)
    return np.stack([np.ones_like(a), np.cos(a), np.sin(a), np.cos(2 * a), np.sin(2 * a)], -1)


def diurnal_basis(times: np.ndarray) -> np.ndarray:
    """Harmonics of the day, whose size changes with the season: (time, 9).

    Four times a day resolve the first harmonic and the cosine of the second.
    """
    hour = (times - times.astype("datetime64[D]").astype(times.dtype)) / np.timedelta64(1, "h")
    d, a = 2 * np.pi * hour / 24, year_angle(times)
    day = np.stack([np.cos(d), np.sin(d), np.cos(2 * d)], -1)
    season = np.stack([np.ones_like(a), np.cos(a), np.sin(a)], -1)
    return (day[:, :, None] * season[:, None, :]).reshape(len(times), -1)


def season_basis(times: np.ndarray) -> np.ndarray:
    """Constant and first harmonic of the year: (time, 3)."""
    return annual_basis(times)[:, :3]


@dataclass(frozen=True)
class Climatology:
    """Mean state for any time.

    Parameters
    ----------
    annual : array (channel, 5, latitude, longitude)
        Coefficients of `annual_basis`, in physical units.
    diurnal : array (n, 9, latitude, longitude)
        Coefficients of `diurnal_basis`, of those channels that have a daily cycle.
    diurnal_channels : array (n,), int
        Indices of the channels.
    """

    annual: np.ndarray
    diurnal: np.ndarray
    diurnal_channels: np.ndarray

    def __call__(self, times: np.ndarray) -> np.ndarray:
        """Mean state at `times` (datetime64): (time, channel, latitude, longitude), float32."""
        mean = np.einsum("tk,ck...->tc...", annual_basis(times).astype("f4"), self.annual)
        mean[:, self.diurnal_channels] += np.einsum("tk,ck...->tc...", diurnal_basis(times).astype("f4"), self.diurnal)
        return mean
