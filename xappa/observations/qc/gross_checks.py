"""Checks of reports by themselves, as they are read: place, time, range, duplicates."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from xappa.observations.assumptions import with_assumption
from xappa.observations.derive import list_winds
from xappa.observations.flags import Flag, flags_of, with_flag, with_reasons
from xappa.observations.names import QUANTITIES
from xappa.observations.periods import LONGEST, NO_LENGTH
from xappa.observations.qc.coordinate_checks import refuse_wrong_coordinates
from xappa.observations.qc.index import ReportIndex
from xappa.observations.qc.repeats import flag_repeats
from xappa.observations.qc.windows import get_valid_times
from xappa.observations.schema import quantities

HIGHEST_PRESSURE = 1100.0
"""hPa, of levels: more than was ever measured near the ground."""

LOWEST, HIGHEST = -12_000.0, 100_000.0
"""Heights, m: below the deepest sea and above all instruments in the atmosphere."""

HIGHEST_DECK = 50.0
"""Height, m, that ships and platforms at sea do not exceed."""


def check(obs: xr.Dataset, index: ReportIndex | None = None) -> xr.Dataset:
    """Flag reports that cannot be believed, or that come twice.

    In this order, the first reason staying: places that do not exist (as well as 0 N 0 E at a height above the sea,
    heights that are not between -12 and 100 km, and upper-air values without a level or with one that is none), times
    that are missing or not between 1600 and 2261, periods that are no lengths of time, values outside the range of the
    vocabulary (both components of a wind if either, or the speed or direction behind them, is), what comes twice from
    the same station or place, time and level (of values that agree one stays; those that contradict each other are all
    rejected: `flag_repeats`), and speeds and directions that are used as components.

    Parameters
    ----------
    obs : Dataset
        Observations in the schema; not changed.
    index : ReportIndex, optional
        Index of their coordinates, where it is there already.

    Returns
    -------
    Dataset
        The same with ``<name>_flag`` for every quantity. Only coordinates are computed; values that are lazy stay so.

    Raises
    ------
    ObservationError
        If most latitudes, longitudes, levels or times are impossible, or latitudes and longitudes exchanged: a wrong
        column or unit.
    """
    refuse_wrong_coordinates(obs)
    place, time, level = _find_impossible_places(obs), np.isnat(get_valid_times(obs)), _find_impossible_levels(obs)
    period = _find_impossible_periods(obs)
    names = quantities(obs)
    for name in names:
        upper = QUANTITIES[name].upper_air if name in QUANTITIES else False
        obs = with_flag(obs, name, place | level if upper else place, Flag.MISSING_PLACE)
        obs = with_flag(obs, name, time, Flag.MISSING_TIME)
        obs = with_flag(obs, name, period, Flag.PERIOD_UNKNOWN)
        obs = with_flag(obs, name, _find_outside_range(obs, name), Flag.OUT_OF_RANGE)
    obs = _reject_wind_pairs(obs)
    return _flag_unused_polar_winds(flag_repeats(obs, (index or ReportIndex(obs)).repeats))


def _get_array(obs: xr.Dataset, name: str) -> npt.NDArray:
    return np.asarray(obs[name])


def _find_impossible_places(obs: xr.Dataset) -> npt.NDArray[np.bool_]:
    latitude, longitude = _get_array(obs, "latitude"), _get_array(obs, "longitude")
    wrong = ~((np.abs(latitude) <= 90.0) & (np.abs(longitude) <= 360.0))
    if "altitude" in obs.coords and "level" not in obs.coords:
        # Zeros in place of a missing position: at 0 N 0 E there is the sea, so no station is above it.
        wrong |= (latitude == 0.0) & (longitude == 0.0) & (_get_array(obs, "altitude") > HIGHEST_DECK)
    for name in ("altitude", "height"):
        if name in obs.coords:
            height = _get_array(obs, name)
            wrong |= (height < LOWEST) | (height > HIGHEST)
    return wrong


def _find_impossible_levels(obs: xr.Dataset) -> npt.NDArray[np.bool_]:
    if "level" not in obs.coords:
        return np.zeros(obs.sizes["obs"], dtype=bool)
    level = _get_array(obs, "level")
    return ~((level > 0.0) & (level <= HIGHEST_PRESSURE))


def _find_impossible_periods(obs: xr.Dataset) -> npt.NDArray[np.bool_]:
    if "period" not in obs.coords:
        return np.zeros(obs.sizes["obs"], dtype=bool)
    period = _get_array(obs, "period")
    return (period <= NO_LENGTH) | (period > LONGEST)


def _find_outside_range(obs: xr.Dataset, name: str) -> xr.DataArray:
    values, known = obs[name], QUANTITIES.get(name)
    if known is None:
        return abs(values) == np.inf
    return ~((values >= known.valid_min) & (values <= known.valid_max))


def _reject_wind_pairs(obs: xr.Dataset) -> xr.Dataset:
    """One part of a wind out of range rejects the components: 349 m/s can have a small eastward one.

    Components that were derived are rejected for what speed and direction are rejected for.
    """
    for wind in list_winds(obs):
        components = [name for name in wind.components if name in obs]
        if not components:
            continue
        parts = components + [name for name in wind.polar if name in obs]
        wrong = xr.DataArray(np.zeros(obs.sizes["obs"], bool), dims="obs")
        for name in parts:
            wrong = wrong | (flags_of(obs, name).reset_coords(drop=True) == Flag.OUT_OF_RANGE)
        for name in components:
            obs = with_flag(obs, name, wrong, Flag.OUT_OF_RANGE)
            if "derived_from" in obs[name].attrs:
                obs = with_reasons(obs, name, (part for part in wind.polar if part in obs))
    return obs


def _flag_unused_polar_winds(obs: xr.Dataset) -> xr.Dataset:
    for wind in list_winds(obs):
        if not all(name in obs for name in wind.components):
            continue
        used = obs[wind.u].notnull() & obs[wind.v].notnull()
        for name in wind.polar:
            if name in obs:
                obs = with_flag(obs, name, used, Flag.UNUSED)
    return obs


def ignore_levels_near_ground(obs: xr.Dataset) -> xr.Dataset:
    """Drop levels that no pressure can be from reports near the ground, which need none.

    Parameters
    ----------
    obs : Dataset
        Observations in the schema.

    Returns
    -------
    Dataset
        With these levels missing, and their number as an assumption. Reports on levels keep theirs, to be flagged.
    """
    on_levels = [name for name in quantities(obs) if name not in QUANTITIES or QUANTITIES[name].upper_air]
    if "level" not in obs.coords or any(obs[name].chunks is not None for name in on_levels):
        return obs
    wrong = _find_impossible_levels(obs) & obs["level"].notnull().values
    for name in on_levels:
        wrong &= obs[name].isnull().values
    if not wrong.any():
        return obs
    example = f"{obs['level'].values[wrong][0]:g}"
    return with_assumption(
        obs.assign_coords(level=obs["level"].where(~wrong).assign_attrs(obs["level"].attrs)),
        f"level: {int(wrong.sum())} reports near the ground have levels that no pressure can be, as {example} hPa, "
        "which are ignored. Leave the level out where there is none",
    )
