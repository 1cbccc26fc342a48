"""Ensemble optimal interpolation in four dimensions: the baseline on the same observations.

Windows of other years around the same day of the year stand for the prior. The analysis is the ensemble Kalman
update of their mean, each small block of cells by itself, with observation errors that grow with distance
(R-localisation after Gaspari and Cohn). Everything is in standardised anomalies.

References
----------
Evensen (2003), The ensemble Kalman filter, Ocean Dynamics 53, https://doi.org/10.1007/s10236-003-0036-9
Hunt et al. (2007), Efficient data assimilation for spatiotemporal chaos, Physica D 230, https://doi.org/10.1016/j.physd.2006.11.008
Gaspari and Cohn (1999), Construction of correlation functions, Q. J. R. Meteorol. Soc. 125, eq. 4.10
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.linalg.blas import ssyrk

EARTH_RADIUS = 6371.0
LENGTHS = (800.0, 1500.0, 2500.0)  # km: the localisations to choose from on validation dates


@dataclass(frozen=True)
class Observed:
    """Observations of a window, standardised as the ensemble is.

    Parameters
    ----------
    time, channel, cell : int array (M,)
        Cell is row * columns + column.
    value, error : float array (M,)
        Anomaly and error deviation, both divided by the scale.
    """

    time: np.ndarray
    channel: np.ndarray
    cell: np.ndarray
    value: np.ndarray
    error: np.ndarray


def season(
    times: np.ndarray,
    starts: np.ndarray,
    date: np.datetime64,
    count: int = 300,
    half_width: int = 45,
    same_hour: bool = True,
) -> np.ndarray:
    """First indices of windows that begin within `half_width` days of a day of the year, whatever the year.

    Parameters
    ----------
    times : array (time,), datetime64
    starts : int array
        First indices of all windows that may be taken: those of the training period that no gap divides.
    date : datetime64
        Begin of the window to be analysed.
    count : int, default 300
        How many, evenly spread over the candidates; all of them if there are fewer.
    half_width : int, default 45
        Days.
    same_hour : bool, default True
        Prefer windows that begin at the date's hour, if there are enough, so that what is left of the daily cycle
        is where it belongs.
    """
    begins = times[starts]
    apart = (_day_of_year(begins) - _day_of_year(np.array([date])) + 182.625) % 365.25 - 182.625
    near = starts[np.abs(apart) <= half_width]
    if same_hour:
        aligned = near[_hour(times[near]) == _hour(np.array([date]))]
        near = aligned if len(aligned) >= count else near
    if len(near) <= count:
        return near
    return near[((np.arange(count) + 0.5) * len(near) / count).astype(int)]


def windows(anomalies: np.ndarray, starts: np.ndarray, length: int = 8) -> np.ndarray:
    """Windows (N, time, channel, latitude, longitude), float16, of a record of anomalies (time, channel, ...)."""
    out = np.empty((len(starts), length, *anomalies.shape[1:]), "f2")
    for k, start in enumerate(starts):
        out[k] = anomalies[start : start + length]
    return out


def gaspari_cohn(ratio: np.ndarray) -> np.ndarray:
    """Correlation function of compact support: 1 at ratio (distance / length) 0, 0 from 2 on."""
    r = np.clip(np.abs(np.asarray(ratio, float)), 0, 2)
    near = 1 + r**2 * (-5 / 3 + r * (5 / 8 + r * (1 / 2 - r / 4)))
    s = np.maximum(r, 1)
    far = 4 - 2 / (3 * s) + s * (-5 + s * (5 / 3 + s * (5 / 8 + s * (-1 / 2 + s / 12))))
    return np.maximum(np.where(r <= 1, near, far), 0)


def analyse(
    members: np.ndarray,
    observed: Observed,
    latitude: np.ndarray,
    longitude: np.ndarray,
    *,
    length: float = 1500.0,
    block: int = 2,
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the analysis.

    Parameters
    ----------
    members : array (N, time, channel, latitude, longitude), any float type
        The prior ensemble, standardised anomalies.
    observed : Observed
    latitude, longitude : array
        Centres of the grid's rows and columns, degrees.
    length : float, default 1500
        Gaspari-Cohn length in km: beyond twice that, an observation has no influence. ``inf``: no localisation.
    block : int, default 2
        Cells along a side of the blocks that share their weights; distances are from the block's centre.
    mask : bool array (channel, latitude, longitude), optional
        False where the result is to be missing.

    Returns
    -------
    mean, variance : array (time, channel, latitude, longitude), float32
        The variance is that of the ensemble, before any inflation: see `inflation`.
    """
    _, _, _, height, width = members.shape
    prior = _Prior(members, observed)
    position = _unit(*(a.ravel() for a in np.meshgrid(latitude, longitude, indexing="ij")))
    mean = np.empty(members.shape[1:], "f4")
    variance = np.empty(members.shape[1:], "f4")
    for top in range(0, height, block):
        rows = slice(top, min(top + block, height))
        band = members[..., rows, :].astype("f4")
        centre = band.mean(0)
        band -= centre
        for left in range(0, width, block):
            columns = slice(left, min(left + block, width))
            part = np.ix_(np.arange(rows.start, rows.stop), np.arange(columns.start, columns.stop))
            middle = position.reshape(height, width, 3)[part].mean((0, 1))
            weight = _influence(middle, position[prior.places], length)
            shift, var = prior.update(band[..., columns].reshape(len(band), -1), weight)
            shape = (*members.shape[1:3], rows.stop - rows.start, columns.stop - columns.start)
            mean[:, :, rows, columns] = centre[..., columns] + shift.reshape(shape)
            variance[:, :, rows, columns] = var.reshape(shape)
    if mask is not None:
        mean[:, ~mask] = np.nan
        variance[:, ~mask] = np.nan
    return mean, variance


def inflation(mse: np.ndarray, variance: np.ndarray) -> float:
    """Factor on the analysis deviation that brings the spread of validation dates to their error."""
    return float(np.sqrt(np.mean(mse) / np.mean(variance)))


class _Prior:
    """The ensemble in observation space, whitened, sorted by place."""

    def __init__(self, members: np.ndarray, observed: Observed) -> None:
        self.size = len(members)
        flat = members.reshape(*members.shape[:3], -1)
        equivalent = flat[:, observed.time, observed.channel, observed.cell].T.astype("f4")
        centre = equivalent.mean(1)
        order = np.argsort(observed.cell, kind="stable")
        self.places, first = np.unique(observed.cell[order], return_index=True)
        self.ends = np.append(first, len(order))
        error = observed.error.astype("f4")
        # Rows are observations: S = R^-1/2 H X' / sqrt(N - 1).
        self.rows = ((equivalent - centre[:, None]) / (error * np.sqrt(self.size - 1))[:, None])[order]
        self.innovation = ((observed.value - centre) / error)[order].astype("f4")

    def update(self, deviations: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shift of the mean and variance of `deviations` (N, n), with `weight` (places,) on inverse error variances.

        ``shift = X' (I + S^T S)^-1 S^T d / sqrt(N - 1)`` and ``variance = diag(X' (I + S^T S)^-1 X'^T) / (N - 1)``.
        """
        near = np.flatnonzero(weight > 1e-4)
        if not len(near):
            return np.zeros(deviations.shape[1], "f4"), (deviations**2).sum(0) / (self.size - 1)
        picked = np.concatenate([np.arange(self.ends[k], self.ends[k + 1]) for k in near])
        root = np.sqrt(weight[near]).astype("f4").repeat(np.diff(self.ends)[near])
        rows = self.rows[picked] * root[:, None]
        precision = ssyrk(1.0, rows.T)
        precision[np.diag_indices(self.size)] += 1
        factor = cholesky(precision, lower=False, overwrite_a=True, check_finite=False)
        pull = rows.T @ (self.innovation[picked] * root)
        both = np.concatenate([deviations / np.sqrt(np.float32(self.size - 1)), pull[:, None]], 1)
        both = solve_triangular(factor, both, trans="T", lower=False, overwrite_b=True, check_finite=False)
        return both[:, -1] @ both[:, :-1], (both[:, :-1] ** 2).sum(0)


def _influence(centre: np.ndarray, places: np.ndarray, length: float) -> np.ndarray:
    """Gaspari-Cohn weights of places (n, 3) around a centre (3,) that need not have length 1."""
    if np.isinf(length):
        return np.ones(len(places))
    angle = np.arccos(np.clip(places @ centre / np.linalg.norm(centre), -1, 1))
    return gaspari_cohn(EARTH_RADIUS * angle / length)


def _unit(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    a, b = np.deg2rad(latitude), np.deg2rad(longitude)
    return np.stack([np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)], -1)


def _day_of_year(times: np.ndarray) -> np.ndarray:
    return (times - times.astype("datetime64[Y]").astype(times.dtype)) / np.timedelta64(1, "D")


def _hour(times: np.ndarray) -> np.ndarray:
    return (times - times.astype("datetime64[D]").astype(times.dtype)) / np.timedelta64(1, "h")
