"""Positions and heights that cannot be right, by the report's own track, a station table or the model's surface."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import xarray as xr

from xappa._typing import Array
from xappa.geometry import chord_to_arc, to_unit_vectors
from xappa.observations.flags import Flag, flags_of, with_flag
from xappa.observations.names import QUANTITIES
from xappa.observations.qc.options import Quality
from xappa.observations.qc.windows import encode_names
from xappa.observations.schema import quantities

ALTITUDES = (-450.0, 9000.0)
"""Heights, m, between which the ground lies: the Dead Sea's shore and more than Mount Everest."""

_SHARED = 0.25  # a call sign of which more positions than this are leaps belongs to several platforms
_ALOFT = 6.0  # times that what flies is faster
_BLUR = 20.0  # km by which rounded positions may be wrong
_MISPLACED = 100.0  # km between a station and its place in a table


PRESSURES = {"mean_sea_level_pressure": "sea_level_pressure", "surface_pressure": "station_pressure"}
"""Option that says up to which height of a station a pressure is used."""

REPORTED = ("mean_sea_level_pressure",)
"""Pressures that stations reduce themselves."""


def check_places(
    obs: xr.Dataset,
    quality: Quality,
    surface: Array | None = None,
    reduced: Iterable[str] = REPORTED,
    station: Array | None = None,
) -> xr.Dataset:
    """Flag reports whose position or height cannot be right. Only coordinates are computed.

    Parameters
    ----------
    obs : Dataset
        Observations in the schema.
    quality : Quality
        Its `track`, `stations`, `station_height`, `model_height`, `sea_level_pressure` and `station_pressure`.
    surface : array of float, (obs,), optional
        Height of the model's surface at the reports, m.
    reduced : iterable of str, optional
        Pressures that stand for that at mean sea level: reported so (the default), or to be reduced by the operator.
    station : array of int, (obs,), optional
        Of `encode_names`, where they are there already.

    Returns
    -------
    Dataset
        The same with ``misplaced`` (all quantities of the report), ``height_mismatch`` (those that a wrong height
        falsifies, see `find_height_dependent`) and ``high_station`` (pressures reduced over too long a way) flagged.

    Notes
    -----
    Below a station there is no air whose temperature could be measured. The reduction of WMO-No. 8, section 3.7.2, is
    meant for stations up to 750 m [1]_; what stations reduce themselves, with what they know of their climate, reaches
    higher, in the United States up to 2000 m, and is the less certain [2]_.

    References
    ----------
    .. [1] WMO-No. 8, Guide to Instruments and Methods of Observation, volume I, chapter 3, section 3.7.2.
    .. [2] Mohr (2004), Problems with the mean sea level pressure field over the western United States, Mon. Wea. Rev.
       132, 1952.
    """
    misplaced = np.zeros(obs.sizes["obs"], bool)
    if quality.track is not None:
        misplaced |= find_leaps(obs, quality.track, station)
    height = np.zeros(obs.sizes["obs"], bool)
    if "altitude" in obs.coords and quality.station_height is not None:
        height |= _find_impossible_heights(obs)
    if quality.stations is not None and quality.station_height is not None and "station" in obs.coords:
        table = _look_up_stations(quality, obs)
        misplaced |= _find_far_from_station(table, obs)
        height |= _find_height_differences(obs, table["altitude"].to_numpy(float), quality.station_height)
    if surface is not None and quality.model_height is not None:
        height |= _find_height_differences(obs, surface, quality.model_height)
    for name in quantities(obs):
        obs = with_flag(obs, name, misplaced, Flag.MISPLACED)
        obs = with_flag(obs, name, height & find_height_dependent(obs, name), Flag.HEIGHT_MISMATCH)
    for name in reduced:
        most = getattr(quality, PRESSURES[name])
        if name in obs and most is not None and "altitude" in obs.coords:
            obs = with_flag(obs, name, np.asarray(obs["altitude"].values, float) > most, Flag.HIGH_STATION)
    return obs


def find_height_dependent(obs: xr.Dataset, name: str) -> xr.DataArray:
    """Where a quantity is wrong if the station's height is: measured at 2 m, the station's pressure, or from it."""
    known = QUANTITIES.get(name)
    if name == "surface_pressure" or (known is not None and known.height == 2.0):
        return xr.DataArray(np.ones(obs.sizes["obs"], bool), dims="obs")
    derived = "surface_pressure" in obs[name].attrs.get("derived_from", "").split()
    used = flags_of(obs, "surface_pressure") == Flag.UNUSED if derived and "surface_pressure" in obs else False
    return (xr.DataArray(np.zeros(obs.sizes["obs"], bool), dims="obs") | used).reset_coords(drop=True)


def find_leaps(obs: xr.Dataset, speed: float, station: Array | None = None) -> Array:
    """Reports that a named platform cannot have made, as it is elsewhere just before and just after: bool (obs,).

    Parameters
    ----------
    obs : Dataset
        Observations in the schema.
    speed : float
        m/s that no platform near the ground exceeds.
    station : array of int, (obs,), optional
        Of `encode_names`, where they are there already.

    Notes
    -----
    A position is a leap if reaching it from the one before, and the one after from it, both need more than `speed`,
    while the way from the one before to the one after does not. Names that are shared (SHIP, PLAT) leap all the time
    and are let pass.
    """
    wrong = np.zeros(obs.sizes["obs"], bool)
    if "station" not in obs.coords:
        return wrong
    time, code = np.asarray(obs["time"].values), encode_names(obs, "station") if station is None else station
    rows = np.flatnonzero(_find_moving(obs, code) & ~np.isnat(time))
    keys = [np.asarray(obs[name].values)[rows] for name in ("longitude", "latitude", "time")]
    rows = rows[np.lexsort([*keys, code[rows]])]
    time, place, code = time[rows], _compute_unit_vectors(obs.isel(obs=rows)), code[rows]
    sound = np.isfinite(place).all(axis=1)
    rows, time, place, code = rows[sound], time[sound], place[sound], code[sound]
    if len(rows) < 3:
        return wrong
    # Reports of one time and place (levels of one sounding) are one position.
    moved = (np.diff(code) != 0) | (np.diff(time) != np.timedelta64(0, "s"))
    moved |= np.abs(np.diff(place, axis=0)).max(axis=1) > 0
    position = np.concatenate([[0], np.cumsum(moved)])
    head = np.flatnonzero(np.concatenate([[True], moved]))
    if len(head) < 3:
        return wrong
    seconds = (time[head] - time[head[0]]) / np.timedelta64(1, "s")
    level = np.asarray(obs["level"].values, float)[rows[head]] if "level" in obs.coords else np.full(len(head), np.nan)
    limit = np.where(np.isfinite(level), _ALOFT, 1.0)[1:-1] * speed / 1000
    a, b, c = head[:-2], head[1:-1], head[2:]
    t0, t1, t2 = seconds[:-2], seconds[1:-1], seconds[2:]
    leap = (code[a] == code[b]) & (code[b] == code[c])
    leap &= _are_too_fast(place[a], place[b], t1 - t0, limit) & _are_too_fast(place[b], place[c], t2 - t1, limit)
    leap &= ~_are_too_fast(place[a], place[c], t2 - t0, limit)
    out = np.zeros(len(head), bool)
    out[1:-1] = leap
    number = np.bincount(code[head], out)
    share = number / np.maximum(np.bincount(code[head]), 1)
    out &= ((share <= _SHARED) | (number <= 1))[code[head]]
    wrong[rows] = out[position]
    return wrong


def _find_moving(obs: xr.Dataset, code: Array) -> Array:
    """Reports of named platforms that are not always in one place: bool (obs,)."""
    first = np.zeros(int(code.max(initial=0)) + 1, np.int64)
    first[code[::-1]] = np.arange(len(code) - 1, -1, -1)
    elsewhere = np.zeros(len(code), bool)
    for name in ("latitude", "longitude"):
        values = np.asarray(obs[name].values)
        elsewhere |= values != values[first[code]]
    return (code >= 0) & (np.bincount(code[code >= 0], elsewhere[code >= 0], minlength=len(first)) > 0)[code]


def _are_too_fast(a: Array, b: Array, seconds: Array, limit: Array) -> Array:
    return _compute_distance_km(a, b) - _BLUR > limit * np.abs(seconds)


def _compute_distance_km(a: Array, b: Array) -> Array:
    return chord_to_arc(np.linalg.norm(a - b, axis=-1))


def _compute_unit_vectors(obs: xr.Dataset) -> Array:
    latitude = np.asarray(obs["latitude"].values, float)
    latitude = np.where(np.abs(latitude) <= 90, latitude, np.nan)
    longitude = np.asarray(obs["longitude"].values, float)
    return to_unit_vectors(latitude, np.where(np.isfinite(longitude), longitude, np.nan))


def _find_impossible_heights(obs: xr.Dataset) -> Array:
    altitude = np.asarray(obs["altitude"].values, float)
    return (altitude < ALTITUDES[0]) | (altitude > ALTITUDES[1])


def _find_height_differences(obs: xr.Dataset, height: Array, most: float) -> Array:
    if "altitude" not in obs.coords:
        return np.zeros(obs.sizes["obs"], bool)
    return np.abs(np.asarray(obs["altitude"].values, float) - height) > most


def _look_up_stations(quality: Quality, obs: xr.Dataset) -> pd.DataFrame:
    """The station table, a row for every report."""
    given = {} if quality.stations is None else quality.stations
    if isinstance(given, pd.DataFrame):
        table = given
    else:
        table = pd.DataFrame({"station": list(given), "altitude": list(given.values())})
    table = table.assign(station=table["station"].astype(str)).drop_duplicates("station").set_index("station")
    return table.reindex(np.asarray(obs["station"].values).astype(str))


def _find_far_from_station(table: pd.DataFrame, obs: xr.Dataset) -> Array:
    if not {"latitude", "longitude"} <= set(table.columns):
        return np.zeros(obs.sizes["obs"], bool)
    expected = to_unit_vectors(table["latitude"].to_numpy(float), table["longitude"].to_numpy(float))
    return _compute_distance_km(_compute_unit_vectors(obs), expected) > _MISPLACED
