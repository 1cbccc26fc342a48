"""Members of an ensemble: their mean and variance, how many are there, and which of them belong together in pairs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from xappa.errors import DatasetError
from xappa.vocabulary import PAIR


def count_members(forecast: xr.DataArray, member: str) -> xr.DataArray:
    """Number of members that have a value, at each point; NaN where there is none."""
    there = forecast.notnull()
    number = (there.sum(member) if member in there.dims else there).astype("f8")
    return number.where(number > 0)


def variance(forecast: xr.DataArray, member: str) -> xr.DataArray:
    """Half the mean square difference of two members that are independent of each other."""
    members, pairs = forecast.sizes.get(member, 1), count_pairs(forecast, member)
    if members < 2:
        return compute_ensemble_mean(forecast, member) * np.nan
    if not pairs:
        there = count_members(forecast, member)
        squares = ((forecast - compute_ensemble_mean(forecast, member)) ** 2).sum(member)
        return squares / (there - 1).where(there > 1)
    squares = members * (members - 1) * forecast.var(member, ddof=1, skipna=False)
    return (squares - sum_pair_differences(forecast, member, np.square)) / count_independent_choices(members, pairs)


def find_partners(forecast: xr.DataArray, member: str) -> tuple[list[int], list[int]]:
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


def count_pairs(forecast: xr.DataArray, member: str) -> int:
    """Number of antithetic pairs."""
    return len(find_partners(forecast, member)[0])


def sum_pair_differences(
    forecast: xr.DataArray, member: str, size: Callable[[xr.DataArray], xr.DataArray]
) -> xr.DataArray:
    """Sum over pairs of the size of their difference."""
    first, second = (
        forecast.isel({member: k}).drop_vars([member, PAIR], errors="ignore") for k in find_partners(forecast, member)
    )
    return size(first - second).sum(member, skipna=False)


def count_independent_choices(members: int, pairs: int) -> float:
    """Number of ordered choices of two members that are independent of each other; NaN if there is none."""
    return members * (members - 1) - 2 * pairs or np.nan


def align_exactly(forecast: xr.DataArray, truth: xr.DataArray, member: str) -> tuple[xr.DataArray, xr.DataArray]:
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
    return to_double(forecast), to_double(truth)


def compute_ensemble_mean(forecast: xr.DataArray, member: str) -> xr.DataArray:
    """Mean of the members that are there; of antithetic pairs all have to be."""
    if member not in forecast.dims:
        return forecast
    return forecast.mean(member, skipna=not count_pairs(forecast, member))


def to_double(field: xr.DataArray) -> xr.DataArray:
    """A field in double precision."""
    return field.astype("f8", keep_attrs=False)
