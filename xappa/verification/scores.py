"""Scores of an ensemble against a truth: pure functions of DataArrays, lazy if their input is.

Means are weighted by the area of grid cells, which on latitudes of even (or nearly even, as Gaussian) spacing is
proportional to the cosine of latitude. Points where the truth is missing are skipped. Where some members are missing
(a run that failed), a point is scored with the others, of which spread needs two; members in antithetic pairs have to
be there all.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from xappa.verification.crps import crps, crps_dressed, fair_crps
from xappa.verification.means import Dims, area_weights, count, default_weights, mean, resolve_dims
from xappa.verification.members import (
    align_exactly,
    compute_ensemble_mean,
    count_members,
    count_pairs,
    sum_pair_differences,
    to_double,
    variance,
)

__all__ = [
    "acc",
    "area_weights",
    "bias",
    "count",
    "crps",
    "crps_dressed",
    "default_weights",
    "expected",
    "fair_crps",
    "mae",
    "mean",
    "rmse",
    "spread",
    "spread_skill",
]


def bias(
    forecast: xr.DataArray,
    truth: xr.DataArray,
    dim: Dims = None,
    *,
    weights: xr.DataArray | None = None,
    member: str = "member",
) -> xr.DataArray:
    """Mean of (ensemble mean - truth), in the units of the field; parameters as in `rmse`."""
    forecast, truth = align_exactly(forecast, truth, member)
    return mean(compute_ensemble_mean(forecast, member) - truth, dim, weights)


def mae(
    forecast: xr.DataArray,
    truth: xr.DataArray,
    dim: Dims = None,
    *,
    weights: xr.DataArray | None = None,
    member: str = "member",
) -> xr.DataArray:
    """Mean absolute error of the ensemble mean, in the units of the field; parameters as in `rmse`."""
    forecast, truth = align_exactly(forecast, truth, member)
    return mean(abs(compute_ensemble_mean(forecast, member) - truth), dim, weights)


def acc(
    forecast: xr.DataArray,
    truth: xr.DataArray,
    climatology: xr.DataArray,
    dim: Dims = None,
    *,
    weights: xr.DataArray | None = None,
    member: str = "member",
) -> xr.DataArray:
    """Anomaly correlation of the ensemble mean: over an area (or the reports) at each time, then the mean over times.

    Anomalies are differences from the climatology; their means are not taken off (the uncentred form of
    WeatherBench2). Dimensionless. Parameters as in `rmse`.

    References
    ----------
    Rasp et al. (2024), WeatherBench 2: A benchmark for the next generation of data-driven global weather models,
    J. Adv. Model. Earth Syst. 16, https://doi.org/10.1029/2023MS004019 (its ACC)
    """
    forecast, truth = align_exactly(forecast, truth, member)
    own, other = compute_ensemble_mean(forecast, member) - climatology, truth - climatology
    own, other = own.where(other.notnull()), other.where(own.notnull())
    over = resolve_dims(other, dim)
    area = [name for name in over if name in ("latitude", "longitude", "obs")]
    product, first, second = (mean(field, area, weights) for field in (own * other, own**2, other**2))
    return mean(product / (first * second) ** 0.5, [name for name in over if name not in area])


def rmse(
    forecast: xr.DataArray,
    truth: xr.DataArray,
    dim: Dims = None,
    *,
    weights: xr.DataArray | None = None,
    member: str = "member",
) -> xr.DataArray:
    """Root mean square error of the ensemble mean.

    The mean over every `dim`, time among them, is taken before the root.

    Parameters
    ----------
    forecast : DataArray
        With or without dimension `member`.
    truth : DataArray
        Coordinates equal to the forecast's.
    dim : str or sequence of str, optional
        Dimensions to average over; all but ``level`` unless told.
    weights : DataArray, optional
        Cosine of latitude unless told.
    member : str, default "member"
        Dimension of the ensemble.

    Returns
    -------
    DataArray
        In the units of the field.

    Raises
    ------
    DatasetError
        If coordinates that both have differ.
    """
    forecast, truth = align_exactly(forecast, truth, member)
    return mean((compute_ensemble_mean(forecast, member) - truth) ** 2, dim, weights) ** 0.5


def spread(
    forecast: xr.DataArray,
    dim: Dims = None,
    *,
    weights: xr.DataArray | None = None,
    member: str = "member",
) -> xr.DataArray:
    """Root of the mean ensemble variance; missing for a single member or a single antithetic pair, which have none.

    The variance is half the mean square of the differences of two members, which is the usual one, with divisor
    M - 1. Members of an antithetic pair are not independent of each other: their difference is left out.
    """
    return mean(variance(to_double(forecast), member), dim, weights) ** 0.5


def spread_skill(
    forecast: xr.DataArray,
    truth: xr.DataArray,
    dim: Dims = None,
    *,
    weights: xr.DataArray | None = None,
    member: str = "member",
) -> xr.DataArray:
    """Spread-skill ratio, `expected` over rmse: 1 if calibrated, below 1 if overconfident.

    Expected and true error are averaged over the same points. Missing for a single member, whose spread is unknown.
    Parameters as in `rmse`.
    """
    forecast, truth = align_exactly(forecast, truth, member)
    known = forecast.where(truth.notnull())
    error = rmse(forecast, truth, dim, weights=weights, member=member)
    return expected(known, dim, weights=weights, member=member) / error


def expected(
    forecast: xr.DataArray,
    dim: Dims = None,
    *,
    weights: xr.DataArray | None = None,
    member: str = "member",
) -> xr.DataArray:
    """Root mean square error that the mean of a calibrated ensemble of this size has; missing for a single member.

    Where truth and members are exchangeable, ``E (mean - truth)^2 = (M + 1) / M E spread^2``. Where members are in
    antithetic pairs, their mean has less noise, by the covariance of both in a pair.

    References
    ----------
    Fortin et al. (2014), Why should ensemble spread match the RMSE of the ensemble mean?, J. Hydrometeor. 15,
    https://doi.org/10.1175/JHM-D-14-0008.1
    """
    forecast = to_double(forecast)
    pairs = count_pairs(forecast, member)
    members = forecast.sizes.get(member, 1) if pairs else count_members(forecast, member)
    between = variance(forecast, member)
    square = (members + 1) / members * between
    if pairs:
        covariance = pairs * between - sum_pair_differences(forecast, member, np.square) / 2
        square = square + 2 * covariance / members**2
    return mean(square, dim, weights) ** 0.5
