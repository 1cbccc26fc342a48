"""Scores of analyses on the grid, as arrays, one number a channel: what the tables of the benchmarks are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr

from xappa.verification.scores import fair_crps

Scores = dict[str, np.ndarray]


def channel_scores(
    forecast: np.ndarray,
    truth: np.ndarray,
    latitude: np.ndarray,
    *,
    variance: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    factor: np.ndarray | None = None,
) -> Scores:
    """Scores of one window, area-weighted, of its last time apart from the others.

    Parameters
    ----------
    forecast : array (member, time, channel, latitude, longitude), or without member if `variance` is given
        Members, or the mean of a Gaussian.
    truth : array (time, channel, latitude, longitude)
    latitude : array (latitude,)
        Degrees.
    variance : array (time, channel, latitude, longitude), optional
        Of the Gaussian.
    mask : bool array (channel, latitude, longitude), optional
        Where a channel exists. Values that are not finite are skipped as well.
    factor : array (channel, latitude, longitude), optional
        Multiplies forecast and truth: from standardised anomalies, ``scale / deviation`` gives those divided by one
        deviation a channel, and ``scale`` the physical units.

    Returns
    -------
    dict of array (channel,)
        ``mse``, ``var`` (divisor M - 1) and ``crps`` (fair for members, in closed form for a Gaussian) of all times
        but the last, and ``mse_last``, ``var_last``, ``crps_last``.
    """
    factor = np.ones(truth.shape[1:]) if factor is None else np.asarray(factor, float)
    weight = np.cos(np.deg2rad(latitude))[:, None] * (np.ones(truth.shape[1:], bool) if mask is None else mask)
    out: dict[str, list[np.ndarray]] = {"mse": [], "var": [], "crps": []}
    for t in range(len(truth)):
        actual = truth[t] * factor
        if variance is None:
            error = np.moveaxis(forecast[:, t] * factor - actual, 0, -1).astype("f8")
            spread = error.var(-1, ddof=1) if error.shape[-1] > 1 else np.zeros(actual.shape)
            parts = (error.mean(-1) ** 2, spread, fair_crps(error))
        else:
            error, spread = forecast[t] * factor - actual, variance[t] * factor**2
            parts = (error**2, spread, gaussian_crps(error, np.sqrt(spread)))
        valid = weight * np.isfinite(parts[0])
        for name, part in zip(out, parts, strict=True):
            out[name].append(np.where(valid > 0, part * valid, 0).sum((1, 2)) / valid.sum((1, 2)))
    first = {name: np.mean(rows[:-1] if len(rows) > 1 else rows, 0) for name, rows in out.items()}
    return first | {f"{name}_last": rows[-1] for name, rows in out.items()}


def gaussian_crps(error: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """CRPS of N(mean, deviation^2) at an error (mean - truth); the absolute error where the deviation is 0.

    References
    ----------
    Gneiting et al. (2005), Mon. Wea. Rev. 133, eq. 5, https://doi.org/10.1175/MWR2904.1
    """
    z = np.divide(error, deviation, out=np.zeros(np.shape(error)), where=deviation > 0)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    score = deviation * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))
    return np.where(deviation > 0, score, np.abs(error))


def summary(windows: Sequence[Scores], members: int | None = None, last: bool = False) -> dict[str, float]:
    """RMSE, spread-skill and CRPS of all channels over windows.

    Parameters
    ----------
    windows : sequence of dict
        From `channel_scores`.
    members : int, optional
        Number of members; None for a Gaussian, whose spread needs no correction.
    last : bool, default False
        Of the last time instead of those before.
    """
    names = [f"{name}_last" if last else name for name in ("mse", "var", "crps")]
    mse, var, crps = (np.mean([window[name] for window in windows]) for name in names)
    finite = 1.0 if members is None else (members + 1) / members
    return {"rmse": float(np.sqrt(mse)), "spread_skill": float(np.sqrt(finite * var / mse)), "crps": float(crps)}
