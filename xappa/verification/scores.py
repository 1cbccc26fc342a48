"""Scores of an ensemble against a truth: pure functions of DataArrays, lazy if their input is.

Means are weighted by the area of grid cells, which on latitudes of even (or nearly even, as Gaussian) spacing is
proportional to the cosine of latitude. Points where the truth is missing are skipped. Where some members are missing
(a run that failed), a point is scored with the others, of which spread needs two; members in antithetic pairs have to
be there all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable

import numpy as np
import xarray as xr
from scipy.special import ndtr

from xappa.errors import DatasetError
from xappa.vocabulary import PAIR

Dims = Hashable | Iterable[Hashable] | None

_LATITUDES = ("latitude", "lat", "nav_lat", "XLAT")


def area_weights(latitude: xr.DataArray) -> xr.DataArray:
    """Cosine of latitude, never negative.

    Parameters
    ----------
    latitude : DataArray
        Degrees north, any shape.
    """
    cosine = xr.DataArray(np.cos(np.deg2rad(latitude.astype("f8"))))
    return cosine.clip(min=0.0).rename("weights").drop_attrs()


def default_weights(field: xr.DataArray) -> xr.DataArray | None:
    """Area weights of a gridded field (one with an axis of latitude); None for points, which count alike."""
    for dim in field.dims:
        coord = field.coords.get(dim)
        if coord is not None and (dim in _LATITUDES or coord.attrs.get("standard_name") == "latitude"):
            return area_weights(coord)
    return None


def mean(field: xr.DataArray, dim: Dims = None, weights: xr.DataArray | None = None) -> xr.DataArray:
    """Weighted mean of what is not missing.

    Parameters
    ----------
    field : DataArray
    dim : str or sequence of str, optional
        Dimensions to average over; all but ``level`` unless told.
    weights : DataArray, optional
        Weights along some of the dimensions; `default_weights` unless told.
    """
    over = _over(field, dim)
    if not over:
        return field
    weights = default_weights(field) if weights is None else weights
    weights = None if weights is None or not set(weights.dims) & set(over) else weights
    if weights is None:
        return field.mean(over, skipna=True)
    return field.weighted(weights.fillna(0.0)).mean(over, skipna=True)


def count(field: xr.DataArray, dim: Dims = None) -> xr.DataArray:
    """Number of points that are not missing."""
    return field.notnull().sum(_over(field, dim)).astype("f8")


def bias(
    forecast: xr.DataArray,
    truth: xr.DataArray,
    dim: Dims = None,
    *,
    weights: xr.DataArray | None = None,
    member: str = "member",
) -> xr.DataArray:
    """Mean of (ensemble mean - truth), in the units of the field; parameters as in `rmse`."""
    forecast, truth = _pair(forecast, truth, member)
    return mean(_centre(forecast, member) - truth, dim, weights)


def mae(
    forecast: xr.DataArray,
    truth: xr.DataArray,
    dim: Dims = None,
    *,
    weights: xr.DataArray | None = None,
    member: str = "member",
) -> xr.DataArray:
    """Mean absolute error of the ensemble mean, in the units of the field; parameters as in `rmse`."""
    forecast, truth = _pair(forecast, truth, member)
    return mean(abs(_centre(forecast, member) - truth), dim, weights)


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
    forecast, truth = _pair(forecast, truth, member)
    own, other = _centre(forecast, member) - climatology, truth - climatology
    own, other = own.where(other.notnull()), other.where(own.notnull())
    over = _over(other, dim)
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
    forecast, truth = _pair(forecast, truth, member)
    return mean((_centre(forecast, member) - truth) ** 2, dim, weights) ** 0.5


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
    return mean(_variance(_double(forecast), member), dim, weights) ** 0.5


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
    forecast, truth = _pair(forecast, truth, member)
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
    forecast = _double(forecast)
    pairs = _pairs(forecast, member)
    members = forecast.sizes.get(member, 1) if pairs else _there(forecast, member)
    variance = _variance(forecast, member)
    square = (members + 1) / members * variance
    if pairs:
        covariance = pairs * variance - _apart(forecast, member, np.square) / 2
        square = square + 2 * covariance / members**2
    return mean(square, dim, weights) ** 0.5


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
    forecast, truth = _pair(forecast, truth, member)
    error = forecast - truth
    if member not in error.dims:
        return mean(abs(error), dim, weights)
    if error.chunks is not None:
        error = error.chunk({member: -1})
    members, pairs = error.sizes[member], _pairs(error, member)
    point = xr.apply_ufunc(
        fair_crps, error, input_core_dims=[[member]], dask="parallelized", output_dtypes=[error.dtype], keep_attrs=False
    )
    if pairs:
        distance = abs(error).mean(member, skipna=False) - point
        fewer = (distance * members * (members - 1) - _apart(error, member, np.abs)) / _independent(members, pairs)
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
    forecast, truth = _pair(forecast, truth, member)
    members = forecast.sizes.get(member, 1)
    if members < 2:
        return crps(forecast, truth, dim, weights=weights, member=member)
    dependent = set(zip(*_partners(forecast, member), strict=True))
    point = _absolute(forecast - truth, deviation).mean(member, skipna=not dependent)
    states = [forecast.isel({member: k}, drop=True) for k in range(members)]
    # One after the other: all of them together are many times the ensemble.
    apart = (
        _absolute(states[i] - states[j], np.sqrt(2) * deviation)
        for i, j in itertools.combinations(range(members), 2)
        if (i, j) not in dependent
    )
    if dependent:
        return mean(point - sum(apart) / _independent(members, len(dependent)), dim, weights)
    there = _there(forecast, member)
    terms = (there * (there - 1)).where(there > 1)
    return mean(point - sum(term.fillna(0.0) for term in apart) / terms, dim, weights)


def _absolute(middle: xr.DataArray, deviation: xr.DataArray) -> xr.DataArray:
    """Mean absolute value of a Gaussian."""
    scaled = middle / deviation.where(deviation > 0, 1e-12)
    return 2 * deviation * np.exp(-(scaled**2) / 2) / np.sqrt(2 * np.pi) + middle * (2 * ndtr(scaled) - 1)


def fair_crps(error: np.ndarray) -> np.ndarray:
    """Fair CRPS of errors ``x_i - y`` (..., M), members last; of those that are there, NaN where fewer than two are."""
    members = error.shape[-1]
    if members == 1:
        return np.abs(error[..., 0])
    if np.isnan(error).any():
        return _fair_crps_of_some(error)
    rank = 2 * np.arange(1, members + 1, dtype=error.dtype) - members - 1
    # The score is the same for x - y and 0 as for x and y, and sums of small numbers round less.
    return np.abs(error).mean(-1) - np.sort(error, axis=-1) @ rank / (members * (members - 1))


def _fair_crps_of_some(error: np.ndarray) -> np.ndarray:
    ordered = np.sort(error, axis=-1)  # what is missing comes last
    there = np.isfinite(ordered)
    members = there.sum(axis=-1, keepdims=True)
    rank = np.where(there, 2 * np.arange(1, error.shape[-1] + 1) - members - 1, 0)
    values = np.where(there, ordered, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        score = np.abs(values).sum(-1) / members[..., 0] - (values * rank).sum(-1) / (members * (members - 1))[..., 0]
    return np.where(members[..., 0] > 1, score, np.nan).astype(error.dtype)


def _there(forecast: xr.DataArray, member: str) -> xr.DataArray:
    """Number of members that have a value, at each point."""
    there = forecast.notnull()
    return (there.sum(member) if member in there.dims else there).astype("f8")


def _variance(forecast: xr.DataArray, member: str) -> xr.DataArray:
    """Half the mean square difference of two members that are independent of each other."""
    members, pairs = forecast.sizes.get(member, 1), _pairs(forecast, member)
    if members < 2:
        return _centre(forecast, member) * np.nan
    if not pairs:
        there = _there(forecast, member)
        squares = ((forecast - _centre(forecast, member)) ** 2).sum(member)
        return squares / (there - 1).where(there > 1)
    squares = members * (members - 1) * forecast.var(member, ddof=1, skipna=False)
    return (squares - _apart(forecast, member, np.square)) / _independent(members, pairs)


def _partners(forecast: xr.DataArray, member: str) -> tuple[list[int], list[int]]:
    """Positions of members whose noise is opposite, the first of each pair and the second.

    Runs that were put together have each its pairs with the same numbers, one run after the other.
    """
    if PAIR not in forecast.coords or forecast[PAIR].dims != (member,):
        return [], []
    alone: dict[int, int] = {}
    first, second = [], []
    for position, pair in enumerate(forecast[PAIR].values.tolist()):
        if pair in alone:
            first.append(alone.pop(pair))
            second.append(position)
        else:
            alone[pair] = position
    return first, second


def _pairs(forecast: xr.DataArray, member: str) -> int:
    return len(_partners(forecast, member)[0])


def _apart(forecast: xr.DataArray, member: str, size: Callable[[xr.DataArray], xr.DataArray]) -> xr.DataArray:
    """Sum over pairs of the size of their difference."""
    first, second = (
        forecast.isel({member: k}).drop_vars([member, PAIR], errors="ignore") for k in _partners(forecast, member)
    )
    return size(first - second).sum(member, skipna=False)


def _independent(members: int, pairs: int) -> float:
    """Number of ordered choices of two members that are independent of each other; NaN if there is none."""
    return members * (members - 1) - 2 * pairs or np.nan


def _pair(forecast: xr.DataArray, truth: xr.DataArray, member: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Both in double precision, once their coordinates are known to be equal: arithmetic would drop what is not.

    A truth that was itself a member brings its own pair, on which arithmetic would drop that of the members.
    """
    truth = truth.drop_vars(PAIR, errors="ignore")
    try:
        forecast, truth = xr.align(forecast, truth, join="exact", exclude={member}, copy=False)
    except ValueError as error:
        raise DatasetError(
            f"Forecast and truth have different coordinates ({error}); select common ones, or regrid one to the other."
        ) from error
    return _double(forecast), _double(truth)


def _centre(forecast: xr.DataArray, member: str) -> xr.DataArray:
    if member not in forecast.dims:
        return forecast
    return forecast.mean(member, skipna=not _pairs(forecast, member))


def _double(field: xr.DataArray) -> xr.DataArray:
    return field.astype("f8", keep_attrs=False)


def _over(field: xr.DataArray, dim: Dims) -> list[Hashable]:
    if dim is None:
        return [d for d in field.dims if d != "level"]
    named = [dim] if isinstance(dim, str) or not isinstance(dim, Iterable) else list(dim)
    return [d for d in named if d in field.dims]
