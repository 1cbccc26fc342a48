"""Why a report is not used: one small integer beside every value, with its CF attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr


class Flag(IntEnum):
    """State of one reported value: 0 is good, anything else is the reason of its rejection."""

    GOOD = 0
    MISSING_PLACE = 1
    MISSING_TIME = 2
    OUT_OF_RANGE = 3
    DUPLICATE = 4
    OUTSIDE_TIMES = 5
    OUTSIDE_LEVELS = 6
    BELOW_SURFACE = 7
    UNKNOWN_VARIABLE = 8
    MASKED = 9
    NO_HEIGHT = 10
    WITHHELD = 11
    UNUSED = 12
    PERIOD_NOT_REPRESENTABLE = 13
    MISPLACED = 14
    HEIGHT_MISMATCH = 15
    BACKGROUND_CHECK = 16
    BUDDY_CHECK = 17
    NEAR_DUPLICATE = 18
    THINNED = 19
    HIGH_STATION = 20
    WRONG_HEIGHT = 21
    PERIOD_UNKNOWN = 22
    REJECTED_BY_SOURCE = 23
    NO_ERROR = 24
    CONTRADICTORY = 25


def flag_attrs() -> dict[str, Any]:
    """CF attributes of a flag variable: ``flag_values`` (int8) and ``flag_meanings``."""
    return {
        "flag_values": np.array([flag.value for flag in Flag], dtype="int8"),
        "flag_meanings": " ".join(flag.name.lower() for flag in Flag),
    }


def flags_of(obs: xr.Dataset, variable: str) -> xr.DataArray:
    """Flags of `variable` (int8, dimension ``obs``): those stored, or all good."""
    name = f"{variable}_flag"
    if name in obs:
        return obs[name]
    return xr.DataArray(np.zeros(obs.sizes["obs"], dtype="int8"), dims="obs", attrs=flag_attrs())


def with_flag(obs: xr.Dataset, variable: str, mask: xr.DataArray | npt.NDArray[np.bool_], flag: Flag) -> xr.Dataset:
    """Reject reports of one variable; a report that is rejected already keeps its first reason.

    Parameters
    ----------
    obs : Dataset
        Observations in the schema; not changed.
    variable : str
        Quantity whose reports are rejected.
    mask : array of bool, shape (obs,)
        Reports to reject. Where nothing was reported (NaN) nothing is flagged.
    flag : Flag
        The reason.

    Returns
    -------
    Dataset
        The same with ``<variable>_flag`` set; lazy where the values are.
    """
    flags = flags_of(obs, variable)
    name = f"{variable}_flag"
    if name in obs and isinstance(mask, np.ndarray) and not mask.any():
        return obs
    mask = mask.data if isinstance(mask, xr.DataArray) else mask
    if all(isinstance(array, np.ndarray) for array in (mask, flags.data, obs[variable].data)):
        wrong = np.flatnonzero(mask & (flags.data == Flag.GOOD))
        rejected = flags.data.astype("int8")
        rejected[wrong[pd.notna(obs[variable].data[wrong])]] = flag
        return set_flag(obs, variable, xr.DataArray(rejected, dims="obs"))
    rejected = obs[variable].notnull() & (flags == Flag.GOOD) & xr.DataArray(mask, dims="obs")
    return set_flag(obs, variable, flags.where(~rejected, np.int8(flag)))


def with_reasons(
    obs: xr.Dataset, variable: str, sources: Iterable[str], rows: xr.DataArray | bool = True
) -> xr.Dataset:
    """Reject reports of one variable for the reasons of what they were derived from.

    Parameters
    ----------
    obs : Dataset
        Observations in the schema; not changed.
    variable : str
        Quantity that was derived.
    sources : iterable of str
        What it was derived from. Flags that say nothing of a value (unused, duplicate) are passed over.
    rows : DataArray of bool, dimension ``obs``, default True
        Reports that were derived.
    """
    for source in sources:
        if f"{source}_flag" not in obs:
            continue
        reasons, flags = flags_of(obs, source).reset_coords(drop=True), flags_of(obs, variable)
        told = ~reasons.isin([Flag.GOOD, Flag.UNUSED, Flag.DUPLICATE])
        take = obs[variable].notnull() & (flags == Flag.GOOD) & told & rows
        obs = set_flag(obs, variable, flags.where(~take, reasons))
    return obs


def merge_flags(first: Mapping[str, npt.NDArray], others: Mapping[str, npt.NDArray]) -> dict[str, npt.NDArray]:
    """Flags (int8) by quantity of two sources of reasons, the first reason staying."""
    both = {name: np.where(first[name] != Flag.GOOD, first[name], others[name]) for name in first if name in others}
    return {**first, **others, **{name: flags.astype("int8") for name, flags in both.items()}}


def set_flag(obs: xr.Dataset, variable: str, flags: xr.DataArray) -> xr.Dataset:
    """`obs` with the flags (integers, dimension ``obs``) of one variable, as they are."""
    name = f"{variable}_flag"
    flags = flags.astype("int8").reset_coords(drop=True)
    standard_name = obs[variable].attrs.get("standard_name", variable)
    flags.attrs = flag_attrs() | {"standard_name": f"{standard_name} status_flag"}
    related = obs[variable].attrs.get("ancillary_variables", "").split()
    obs = obs.assign({name: flags})
    if name not in related:
        obs[variable] = obs[variable].assign_attrs(ancillary_variables=" ".join([*related, name]))
    return obs
