"""Scores that are curves: rank histograms, and reliability diagrams.

References
----------
Hamill (2001), Interpretation of rank histograms for verifying ensemble forecasts, Mon. Weather Rev. 129, 550-560.
Wilks (2019), Statistical Methods in the Atmospheric Sciences, 4th ed., chapter 9 (reliability diagram).
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.special import ndtr

from xappa._typing import Array
from xappa.verification import scores
from xappa.verification.field_pairs import FieldPair


def rank_histogram(forecast: xr.DataArray, pair: FieldPair, over: list[str]) -> dict[str, xr.DataArray]:
    """Relative frequency, by area, with which so many members lie below the truth; flat if members are calibrated.

    A truth that equals members counts in equal parts at all ranks that it may have. Where the truth has an error, as
    reports have, each member stands for a Gaussian of that deviation, and the expected histogram is given. Points where
    a member is missing do not count.

    Parameters
    ----------
    forecast : DataArray
        With dimension ``member``.
    pair : FieldPair
    over : list of str
        Dimensions of the mean.

    Returns
    -------
    dict
        One array along ``rank`` (0 ... M), whose sum is 1.
    """
    chances = _apply_over_members(_compute_rank_probabilities, forecast, pair, "rank", pair.truth)
    labels = np.arange(forecast.sizes["member"] + 1)
    return {"rank_histogram": scores.mean(chances, over).assign_coords(rank=("rank", labels, {"long_name": "rank"}))}


def reliability(forecast: xr.DataArray, pair: FieldPair, over: list[str]) -> dict[str, xr.DataArray]:
    """How often a quantity is above its climatology, by the probability that the members give to that.

    Parameters
    ----------
    forecast : DataArray
        With dimension ``member``.
    pair : FieldPair
        With a climatology.
    over : list of str
        Dimensions of the mean.

    Returns
    -------
    dict
        Along ``probability`` (0, 1/M ... 1; where reports have errors, the nearest of these): ``reliability``, observed
        relative frequency, and ``reliability_share``, the share of cases with that probability; by area.
    """
    assert pair.climatology is not None
    members = forecast.sizes["member"]
    which = _apply_over_members(_compute_exceedance, forecast, pair, "probability", pair.climatology)
    which = which.where(pair.truth.notnull())
    share = scores.mean(which, over)
    happened = scores.mean(which * (pair.truth > pair.climatology), over)
    given = {"probability": ("probability", np.arange(members + 1) / members, {"long_name": "forecast probability"})}
    return {
        "reliability": (happened / share.where(share > 0)).assign_coords(given),
        "reliability_share": share.assign_coords(given),
    }


def _apply_over_members(
    function, forecast: xr.DataArray, pair: FieldPair, dim: str, level: xr.DataArray
) -> xr.DataArray:
    """A function of members, a value and a deviation at each point, along a new dimension of M + 1."""
    deviation = _estimate_deviation(pair)
    if forecast.chunks is not None:
        forecast = forecast.chunk(member=-1)
    size = forecast.sizes["member"] + 1
    return xr.apply_ufunc(
        function, forecast.drop_vars("member", errors="ignore").astype("f8"), level.astype("f8"), deviation,
        input_core_dims=[["member"], [], []], output_core_dims=[[dim]], dask="parallelized",
        output_dtypes=[np.dtype("f8")], dask_gufunc_kwargs={"output_sizes": {dim: size}}, keep_attrs=False,
    )  # fmt: skip


def _estimate_deviation(pair: FieldPair) -> xr.DataArray:
    """Deviation of what the truth, or a member, differs from what it stands for; 0 where nothing is known of it."""
    square = xr.zeros_like(pair.truth) if pair.error is None else pair.error.fillna(0.0) ** 2
    for deviation in pair.unresolved.values():
        square = square + deviation.fillna(0.0) ** 2
    return square**0.5


def _compute_rank_probabilities(members: Array, truth: Array, deviation: Array) -> Array:
    """Chance of each rank (..., M + 1) of a truth (...) among members (..., M)."""
    number = members.shape[-1]
    rank = np.arange(number + 1)
    below = (members < truth[..., None]).sum(-1)[..., None]
    equal = (members == truth[..., None]).sum(-1)[..., None]
    exact = ((rank >= below) & (rank <= below + equal)) / (equal + 1.0)
    if np.any(deviation > 0):
        with np.errstate(divide="ignore", invalid="ignore"):
            chance = ndtr((truth[..., None] - members) / deviation[..., None])
        exact = np.where((deviation > 0)[..., None], _compute_poisson_binomial(chance), exact)
    missing = np.isnan(truth) | np.isnan(members).any(-1)
    return np.where(missing[..., None], np.nan, exact)


def _compute_poisson_binomial(chance: Array) -> Array:
    """Distribution (..., M + 1) of the number of successes in M trials of different chances (Poisson binomial)."""
    found = np.zeros((*chance.shape[:-1], chance.shape[-1] + 1))
    found[..., 0] = 1.0
    for k in range(chance.shape[-1]):
        own = chance[..., k, None]
        before = found[..., : k + 2]
        found[..., : k + 2] = before * (1 - own) + np.concatenate([0 * own, before[..., :-1] * own], -1)
    return found


def _compute_exceedance(members: Array, level: Array, deviation: Array) -> Array:
    """Probability of being above a level by the members, one-hot: (..., M + 1)."""
    number = members.shape[-1]
    above = (members > level[..., None]).mean(-1)
    if np.any(deviation > 0):
        with np.errstate(divide="ignore", invalid="ignore"):
            blurred = ndtr((members - level[..., None]) / deviation[..., None]).mean(-1)
        above = np.where(deviation > 0, blurred, above)
    missing = np.isnan(level) | np.isnan(members).any(-1)
    which = np.round(np.where(missing, 0, above) * number)[..., None] == np.arange(number + 1)
    return np.where(missing[..., None], np.nan, which.astype(float))
