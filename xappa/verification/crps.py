"""Continuous ranked probability scores of ensembles, in their fair form."""

from __future__ import annotations

import itertools

import numpy as np
import xarray as xr
from scipy.special import ndtr

from xappa.verification.means import Dims, mean
from xappa.verification.members import (
    align_exactly,
    count_independent_choices,
    count_members,
    count_pairs,
    find_partners,
    sum_pair_differences,
)


def crps(
    forecast: xr.DataArray,
    truth: xr.DataArray,
    dim: Dims = None,
    *,
    weights: xr.DataArray | None = None,
    member: str = "member",
) -> xr.DataArray:
    """Continuous ranked probability score in the fair form, in the units of the field.

    ``mean_i |x_i - y| - sum_ij |x_i - x_j| / (2 M (M - 1))``, whose expectation is that of an ensemble without limit.
    The double sum is ``2 sum_k (2 k - M - 1) x_(k)`` over the sorted members. For a single member the second term
    does not exist, and the score is the mean absolute error. Members of an antithetic pair are not independent of each
    other: their difference is left out of the sum and of the number of its terms, and a single pair has no score.
    Parameters as in `rmse`.

    References
    ----------
    Ferro (2014), Fair scores for ensemble forecasts, Q. J. R. Meteorol. Soc. 140, https://doi.org/10.1002/qj.2270
    """
    forecast, truth = align_exactly(forecast, truth, member)
    error = forecast - truth
    if member not in error.dims:
        return mean(abs(error), dim, weights)
    if error.chunks is not None:
        error = error.chunk({member: -1})
    members, pairs = error.sizes[member], count_pairs(error, member)
    point = xr.apply_ufunc(
        fair_crps, error, input_core_dims=[[member]], dask="parallelized", output_dtypes=[error.dtype], keep_attrs=False
    )
    if pairs:
        distance = abs(error).mean(member, skipna=False) - point
        fewer = (
            distance * members * (members - 1) - sum_pair_differences(error, member, np.abs)
        ) / count_independent_choices(members, pairs)
        point = point + distance - fewer
    return mean(point, dim, weights)


def crps_dressed(
    forecast: xr.DataArray,
    truth: xr.DataArray,
    deviation: xr.DataArray,
    dim: Dims = None,
    *,
    weights: xr.DataArray | None = None,
    member: str = "member",
) -> xr.DataArray:
    """Fair CRPS of members that each stand for a Gaussian of this deviation; parameters else as in `crps`.

    With ``a(m, s) = E |N(m, s^2)| = 2 s phi(m / s) + m (2 Phi(m / s) - 1)``, the score is ``mean_i a(x_i - y, s)
    - sum_{i != j} a(x_i - x_j, sqrt(2) s) / (2 M (M - 1))``: what noise of that deviation, added to members many times
    over, gives on average. A single member stands for itself.

    References
    ----------
    Grimit et al. (2006), The continuous ranked probability score for circular variables and its application to
    mesoscale forecast ensemble verification, https://doi.org/10.1256/qj.05.235 (CRPS of a mixture of Gaussians)
    """
    forecast, truth = align_exactly(forecast, truth, member)
    members = forecast.sizes.get(member, 1)
    if members < 2:
        return crps(forecast, truth, dim, weights=weights, member=member)
    dependent = set(zip(*find_partners(forecast, member), strict=True))
    point = _compute_folded_mean(forecast - truth, deviation).mean(member, skipna=not dependent)
    states = [forecast.isel({member: k}, drop=True) for k in range(members)]
    # One after the other: all of them together are many times the ensemble.
    apart = (
        _compute_folded_mean(states[i] - states[j], np.sqrt(2) * deviation)
        for i, j in itertools.combinations(range(members), 2)
        if (i, j) not in dependent
    )
    if dependent:
        return mean(point - sum(apart) / count_independent_choices(members, len(dependent)), dim, weights)
    there = count_members(forecast, member)
    terms = (there * (there - 1)).where(there > 1)
    return mean(point - sum(term.fillna(0.0) for term in apart) / terms, dim, weights)


def _compute_folded_mean(middle: xr.DataArray, deviation: xr.DataArray) -> xr.DataArray:
    """Mean absolute value of a Gaussian."""
    scaled = middle / deviation.where(deviation > 0, 1e-12)
    return 2 * deviation * np.exp(-(scaled**2) / 2) / np.sqrt(2 * np.pi) + middle * (2 * ndtr(scaled) - 1)


def fair_crps(error: np.ndarray) -> np.ndarray:
    """Fair CRPS of errors ``x_i - y`` (..., M), members last; of those that are there, NaN where fewer than two are."""
    members = error.shape[-1]
    if members == 1:
        return np.abs(error[..., 0])
    if np.isnan(error).any():
        return _compute_fair_crps_with_missing(error)
    rank = 2 * np.arange(1, members + 1, dtype=error.dtype) - members - 1
    # The score is the same for x - y and 0 as for x and y, and sums of small numbers round less.
    return np.abs(error).mean(-1) - np.sort(error, axis=-1) @ rank / (members * (members - 1))


def _compute_fair_crps_with_missing(error: np.ndarray) -> np.ndarray:
    ordered = np.sort(error, axis=-1)  # what is missing comes last
    there = np.isfinite(ordered)
    members = there.sum(axis=-1, keepdims=True)
    rank = np.where(there, 2 * np.arange(1, error.shape[-1] + 1) - members - 1, 0)
    values = np.where(there, ordered, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        score = np.abs(values).sum(-1) / members[..., 0] - (values * rank).sum(-1) / (members * (members - 1))[..., 0]
    return np.where(members[..., 0] > 1, score, np.nan).astype(error.dtype)
