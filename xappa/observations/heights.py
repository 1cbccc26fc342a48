"""Heights of instruments: which values are those of a quantity that has one, and which platforms move up and down.

References
----------
WMO-No. 8, Guide to Instruments and Methods of Observation, volume I, chapter 2 (temperature at 1.2 to 2 m) and chapter
5 (wind at 10 m). CF standard name table: sea surface temperature is that near the surface; at a depth it is
``sea_water_temperature``.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from xappa._typing import Array
from xappa.observations.names import QUANTITIES, NameMap, find_quantity
from xappa.observations.variables import NEAR_GROUND

SCREEN = (1.2, 2.5)
"""Metres above the ground within which a temperature is that of 2 m (WMO-No. 8 asks for 1.2 to 2 m)."""

MAST = (8.0, 12.0)
"""Metres within which a wind is that of 10 m.

There, over short grass (roughness 0.03 m), the logarithmic profile differs by less than 4 % from its value at 10 m:
less than the uncertainty of 10 % that WMO-No. 8, volume I, annex 1.A allows.
"""

TOLERANCE = 0.5
"""Metres within which a height is that of any other quantity that has one."""

DEEPEST_SURFACE = 2.0
"""Metres below the surface down to which a temperature of the water is that of the surface, if none is shallower.

Drifting buoys measure at 0.2 m, most moored ones at 0.6 to 1.5 m; intakes of ships are at 3 m and more.
"""

HIGHEST_BAROMETER = 20.0
"""Metres above the ground up to which a pressure is that of the station."""

HIGHEST_GROUND = 9000.0
"""Metres above the sea that no ground exceeds."""

USUAL_GROUND = 5500.0
"""Metres above the sea that few stations exceed: what is mostly higher flies."""

HIGHEST_STATION = 450.0
"""hPa that no station on the ground reports less of (some 6300 m)."""

LOWEST_USUAL = 505.0
"""hPa that few stations on the ground report less of (`USUAL_GROUND` in the standard atmosphere)."""

CLIMB, CLIMB_OF_NAMED = 50.0, 300.0
"""Metres by which the altitude of a trajectory, or of whatever has one name, varies if it leaves the ground."""

WEATHER = 1.25
"""Ratio of pressures at one place that no weather reaches (1085 and 870 hPa are the records of the whole Earth)."""

_NAMES = {
    **dict.fromkeys(("height", "heightaboveground", "height_above_ground", "sensor_height", "z"), "height"),
    **dict.fromkeys(("measurement_height", "instrument_height", "anemometer_height"), "height"),
    **dict.fromkeys(("depth", "sensor_depth", "deph"), "depth"),
}
_LENGTHS = (
    "m",
    "meter",
    "metre",
    "km",
    "kilometer",
    "kilometre",
    "cm",
    "centimeter",
    "centimetre",
    "ft",
    "feet",
    "foot",
)
_FASTEST, _PAUSE = 400.0, 900.0  # m/s and s between successive reports of one flight or ascent


def find_vertical_kind_by_name(name: str) -> str | None:
    """Kind of vertical coordinate by its name: ``"height"`` above the ground, ``"depth"`` below water, or None."""
    return _NAMES.get(name.casefold())


def is_length(units: str) -> bool:
    """Whether units are a length: not an amount of water nor a geopotential, which convert to metres as well."""
    return units.strip().casefold().rstrip("s") in _LENGTHS


def name_states_height(name: str, meaning: str, naming: NameMap) -> bool:
    """Whether a name says already at which height a quantity is: the caller's, or one with it, such as ``t2m``."""
    height = QUANTITIES[meaning].height if find_quantity(name) == meaning else None
    spelt = height is not None and re.search(rf"(?<!\d){height:g}(?!\d)", name) is not None
    return name in naming.rename or spelt


def resolve_near_ground_name(name: str, meaning: str, naming: NameMap) -> str:
    """The quantity near the ground that an upper-air name without levels stands for; what the caller says stays."""
    return meaning if name in naming.rename else get_near_ground_name(meaning)


def get_definition_height(meaning: str) -> float | None:
    """Height, m, of a quantity, or of its namesake near the ground, which it is without levels; None if it has none."""
    if meaning == "sea_surface_temperature":
        return 0.0
    near = QUANTITIES.get(get_near_ground_name(meaning), QUANTITIES.get(meaning))
    return None if near is None else near.height


def get_near_ground_name(meaning: str) -> str:
    """Name near the ground of an upper-air quantity; unchanged if there is none."""
    names = (NEAR_GROUND.get(meaning, ""), f"2m_{meaning}", f"10m_{meaning}")
    return next((name for name in names if name in QUANTITIES), meaning)


def is_vertical(meaning: str) -> bool:
    """Whether a quantity depends on the height in the air at which it is measured."""
    known = QUANTITIES.get(meaning)
    return known is not None and (
        known.upper_air or QUANTITIES.get(get_near_ground_name(meaning), known).height is not None
    )


def get_height_range(meaning: str) -> tuple[float, float] | None:
    """Heights, m above the ground or the water, between which a value is one of the quantity; None if all are."""
    if meaning == "sea_surface_temperature":
        return -DEEPEST_SURFACE, np.inf
    if meaning == "surface_pressure":
        return -HIGHEST_BAROMETER, HIGHEST_BAROMETER
    own = get_definition_height(meaning)
    if own is None:
        return None
    return {2.0: SCREEN, 10.0: MAST}.get(own, (own - TOLERANCE, own + TOLERANCE))


def is_elsewhere(meaning: str, height: Any) -> Any:
    """Mask of heights (m, any array) at which a value is not one of the quantity; False without a height."""
    between = get_height_range(meaning)
    if between is None:
        return height != height
    return (height < between[0]) | (height > between[1])


def leaves_ground(
    altitude: Array, time: Array, latitude: Array, longitude: Array, station: Array | None, trajectory: bool
) -> bool:
    """Whether altitudes are those of platforms that fly, dive or ascend, and not of the ground below stations.

    Parameters
    ----------
    altitude : array of float, shape (n,)
        m above the sea.
    time, latitude, longitude : array, shape (n,)
    station : array of str, shape (n,), optional
        Names of platforms.
    trajectory : bool
        Whether reports without names are of one platform that moves.

    Notes
    -----
    Altitudes vary at a station that stands still by less than its survey is wrong. Reports without a name are of one
    platform where they follow each other closely in time and no faster than an aircraft flies.
    """
    known = np.isfinite(altitude)
    if not known.any():
        return False
    if (altitude[known] > HIGHEST_GROUND).any() or np.median(altitude[known]) > USUAL_GROUND:
        return True
    if np.ptp(altitude[known]) <= CLIMB:
        return False
    named = station is not None and (station.astype(str) != "").any()
    if trajectory:
        return _compute_spread(altitude, station if named and station is not None else np.zeros(len(altitude))) > CLIMB
    if named and station is not None:
        return _compute_spread(altitude, station) > CLIMB_OF_NAMED
    if _compute_spread(altitude, _number_places(latitude, longitude)) > CLIMB:
        return True
    one = _is_one_path(time, latitude, longitude)
    return one and _compute_spread(altitude, np.zeros(len(altitude))) > CLIMB_OF_NAMED


def spans_levels(pressure: Array, station: Array | None) -> bool:
    """Whether pressures (hPa) are levels: lower than at any station, or varying more than weather lets them."""
    known = np.isfinite(pressure) & (pressure > 0)
    if not known.any():
        return False
    if np.median(pressure[known]) < HIGHEST_STATION:
        return True
    named = station is not None and (station.astype(str) != "").any()
    group = station if named and station is not None else np.zeros(len(pressure))
    return bool(np.exp(_compute_spread(np.log(np.where(known, pressure, np.nan)), group)) > WEATHER)


def are_aloft(
    pressure: Array, time: Array, latitude: Array, longitude: Array, station: Array | None, altitude: Array | None
) -> bool:
    """Whether pressures (hPa) beside values of a table are their levels, and not those of stations on the ground.

    Parameters
    ----------
    pressure : array of float, shape (n,)
    time, latitude, longitude : array, shape (n,)
    station, altitude : array, shape (n,), optional
        Names of platforms, and their heights above the sea (m).
    """
    known = np.isfinite(pressure) & (pressure > 0)
    if not known.any():
        return False
    if altitude is not None and np.isfinite(altitude).any():
        return leaves_ground(altitude, time, latitude, longitude, station, False) and falls_with(pressure, altitude)
    if pressure[known].min() < LOWEST_USUAL:
        return True
    if station is not None and (station.astype(str) != "").any():
        return spans_levels(pressure, station)
    of_place = spans_levels(pressure, _number_places(latitude, longitude).astype(str))
    return of_place or (_is_one_path(time, latitude, longitude) and spans_levels(pressure, None))


def falls_with(pressure: Array, altitude: Array) -> bool:
    """Whether pressure falls with altitude as it does aloft: by rank, nearly everywhere."""
    both = np.isfinite(pressure) & np.isfinite(altitude)
    if both.sum() < 2:
        return False
    ranks = [pd.Series(values[both]).rank() for values in (pressure, altitude)]
    return bool(ranks[0].corr(ranks[1]) < -0.9)


def _number_places(latitude: Array, longitude: Array) -> Array:
    """One number a place, to a thousandth of a degree."""
    rows, columns = (np.round(np.nan_to_num(np.asarray(x, float)) * 1000.0) for x in (latitude, longitude))
    return (rows * 1e6 + columns).astype("int64")


def _compute_spread(values: Array, group: Array) -> float:
    """Largest difference of values within a group."""
    groups = pd.Series(values).groupby(group if group.dtype.kind == "i" else pd.factorize(group)[0])
    return float((groups.max() - groups.min()).max())


def _is_one_path(time: Array, latitude: Array, longitude: Array) -> bool:
    """Whether reports, in the order of their times, can be of one platform that reports all the time."""
    order = np.argsort(time, kind="stable")
    seconds = np.diff(time[order]) / np.timedelta64(1, "s")
    if len(seconds) < 2 or not (seconds > 0).all() or np.median(seconds) > _PAUSE:
        return False
    step = np.hypot(np.diff(latitude[order]), np.diff(longitude[order]) * np.cos(np.deg2rad(latitude[order][1:])))
    return bool((step * 111_200.0 <= _FASTEST * seconds + 20_000.0).all())
