"""Scores of analyses on the grid, as arrays, one number a channel: what the tables of the benchmarks are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from scipy.special import ndtr

from xappa.verification import scores
from xappa.vocabulary import PAIR

Scores = dict[str, np.ndarray]


def channel_scores(
    forecast: np.ndarray,
    truth: np.ndarray,
    latitude: np.ndarray,
    *,
    variance: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    factor: np.ndarray | None = None,
    pairs: Sequence[int] | None = None,
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

    pairs : sequence of int, optional
        A number a member: two with the same were drawn with opposite noise.

    Returns
    -------
    dict of array (channel,)
        ``mse``, ``var`` (of independent members), ``expected`` (what ``mse`` is if members are calibrated) and ``crps``
        (fair for members, in closed form for a Gaussian) of all times but the last, and each with ``_last``.
    """
    factor = np.ones(truth.shape[1:]) if factor is None else np.asarray(factor, float)
    weight = np.cos(np.deg2rad(latitude))[:, None] * (np.ones(truth.shape[1:], bool) if mask is None else mask)
    out: dict[str, list[np.ndarray]] = {"mse": [], "var": [], "expected": [], "crps": []}
    for t in range(len(truth)):
        actual = truth[t] * factor
        if variance is None:
            parts = _of_members((forecast[:, t] * factor - actual).astype("f8"), pairs)
        else:
            error, spread = forecast[t] * factor - actual, variance[t] * factor**2
            parts = (error**2, spread, spread, gaussian_crps(error, np.sqrt(spread)))
        valid = weight * np.isfinite(parts[0])
        for name, part in zip(out, parts, strict=True):
            out[name].append(np.where(valid > 0, part * valid, 0).sum((1, 2)) / valid.sum((1, 2)))
    first = {name: np.mean(rows[:-1] if len(rows) > 1 else rows, 0) for name, rows in out.items()}
    return first | {f"{name}_last": rows[-1] for name, rows in out.items()}


def _of_members(error: np.ndarray, pairs: Sequence[int] | None) -> tuple[np.ndarray, ...]:
    """Square of the mean error, variance, expected square and CRPS of errors (member, ...), each (...)."""
    field = xr.DataArray(error, dims=["member", *(f"d{k}" for k in range(error.ndim - 1))])
    if pairs is not None:
        field = field.assign_coords({PAIR: ("member", list(pairs))})
    square = field.mean("member") ** 2
    if len(error) == 1:
        return square.values, 0 * square.values, 0 * square.values, abs(error[0])
    found = scores.spread(field, ()) ** 2, scores.expected(field, ()) ** 2, scores.crps(field, 0 * field[0], ())
    return tuple(part.values for part in (square, *found))


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


def summary(windows: Sequence[Scores], last: bool = False) -> dict[str, float]:
    """RMSE, spread-skill and CRPS of all channels over windows.

    Parameters
    ----------
    windows : sequence of dict
        From `channel_scores`.
    last : bool, default False
        Of the last time instead of those before.
    """
    names = [f"{name}_last" if last else name for name in ("mse", "expected", "crps")]
    mse, expected, crps = (np.mean([window[name] for window in windows]) for name in names)
    return {"rmse": float(np.sqrt(mse)), "spread_skill": float(np.sqrt(expected / mse)), "crps": float(crps)}
