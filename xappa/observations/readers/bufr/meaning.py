"""What values of a BUFR message are: which quantity, at which height, of which instant or period.

Descriptors alone do not tell. A temperature (0 12 101) is that of 2 m only if its sensor is there, and the mean of a
month if first-order statistics and a period are in effect.

References
----------
WMO-No. 306, Manual on Codes, volume I.2: FM 94 BUFR, tables B and D, code tables 0 08 021 (time significance) and
0 08 023 (first-order statistics), note on time displacements of class 04.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from xappa.observations.flags import Flag
from xappa.observations.formulas import standard_pressure
from xappa.observations.heights import DEEPEST_SURFACE, MAST, SCREEN
from xappa.observations.names import QUANTITIES
from xappa.observations.readers.bufr.context import Columns, MessageReports

SHORT = np.timedelta64(10, "m")
"""Means over no more than this are instants, as WMO-No. 8, volume I, 5.1.1 has it for wind."""

_AIRCRAFT = 4  # data category, BUFR table A
_SEA, _AIR = "sea", "air"
MEAN, _VECTOR_MEAN, _MAXIMUM, _MINIMUM = 4, 32, 2, 3
_AVERAGED, _ACCUMULATED = 2, 3
_NO_OBSERVATION = (*range(4, 17), 27)  # forecasts, ensemble means, analyses, first guesses
_SECONDS = {4023: 86400, 4024: 3600, 4025: 60, 4026: 1, 4073: 86400, 4074: 3600, 4075: 60, 4086: 1}
_MONTHS = {4021: 12, 4022: 1}


@dataclass(frozen=True)
class Element:
    """What a descriptor measures.

    Parameters
    ----------
    name : str
        Quantity.
    medium : {"air", "sea"} or None
        Where its instrument has a height, or a depth, that decides; None if that is part of its definition.
    hours : float or None
        Period that ends at the time of the report; None for an instant, NaN for one that the message gives.
    factor : float
        From its units to those of the quantity.
    """

    name: str
    medium: str | None = None
    hours: float | None = None
    factor: float = 1.0


def _list_elements(name: str, *codes: int, **options: object) -> dict[int, Element]:
    return dict.fromkeys(codes, Element(name, **options))  # type: ignore[arg-type]


_TOLD = float("nan")
_RAIN = {"factor": 1e-3}
_TRACE = -0.1  # kg m-2; BUFR table B, class 13: less than 0.05
SURFACE: dict[int, Element] = {
    **_list_elements("2m_temperature", 12001, 12101, medium=_AIR),
    **_list_elements("2m_temperature", 12004, 12104),
    **_list_elements("2m_dewpoint_temperature", 12003, 12103, medium=_AIR),
    **_list_elements("2m_dewpoint_temperature", 12006, 12106),
    **_list_elements("10m_wind_speed", 11002, medium=_AIR),
    **_list_elements("10m_wind_speed", 11012),
    **_list_elements("10m_wind_from_direction", 11001, medium=_AIR),
    **_list_elements("10m_wind_from_direction", 11011),
    **_list_elements("mean_sea_level_pressure", 10051),
    **_list_elements("altimeter_setting", 10052),
    **_list_elements("surface_pressure", 10004),
    **_list_elements("sea_surface_temperature", 22042, 22043, 22045, 22049, medium=_SEA),
    **_list_elements("total_precipitation", 13011, hours=_TOLD, **_RAIN),
    **_list_elements("total_precipitation", 13019, hours=1.0, **_RAIN),
    **_list_elements("total_precipitation", 13020, hours=3.0, **_RAIN),
    **_list_elements("total_precipitation", 13021, hours=6.0, **_RAIN),
    **_list_elements("total_precipitation", 13022, hours=12.0, **_RAIN),
    **_list_elements("total_precipitation", 13023, hours=24.0, **_RAIN),
    **_list_elements("maximum_2m_temperature", 12011, 12111, medium=_AIR, hours=_TOLD),
    **_list_elements("minimum_2m_temperature", 12012, 12112, medium=_AIR, hours=_TOLD),
    **_list_elements("maximum_2m_temperature", 12014, 12114, hours=12.0),
    **_list_elements("minimum_2m_temperature", 12015, 12115, hours=12.0),
    **_list_elements("maximum_2m_temperature", 12016, 12116, hours=24.0),
    **_list_elements("minimum_2m_temperature", 12017, 12117, hours=24.0),
    **_list_elements("maximum_2m_temperature", 12118, medium=_AIR, hours=24.0),
    **_list_elements("minimum_2m_temperature", 12119, medium=_AIR, hours=24.0),
}
"""What descriptors measure in reports of the surface."""

ALOFT: dict[int, Element] = {
    **_list_elements("temperature", 12001, 12101),
    **_list_elements("dewpoint_temperature", 12003, 12103),
    **_list_elements("wind_speed", 11002),
    **_list_elements("wind_from_direction", 11001),
    **_list_elements("relative_humidity", 13003, 13009, factor=0.01),
    **_list_elements("geopotential", 10003, 10008),
    **_list_elements("geopotential_height", 10009),
}
"""What descriptors measure in soundings and reports of aircraft."""


def interpret_values(
    reports: MessageReports, subsets: Columns, elements: dict[int, Element], aloft: bool
) -> pd.DataFrame:
    """Values as the quantities that they are.

    Parameters
    ----------
    reports : MessageReports
    subsets : dict of array
    elements : dict of int to Element
    aloft : bool
        Whether they are on levels; otherwise their heights decide what they are.

    Returns
    -------
    DataFrame
        One row a value: ``name``, ``value`` (units of the quantity), ``flag``, ``left_out`` (why it is no value of a
        quantity; empty if it is), ``subset``, and the coordinates of the schema.
    """
    codes, code = np.unique(reports.values["code"], return_inverse=True)
    measured = [elements[int(c)] for c in codes]
    frame = _compute_places(reports, subsets, aloft)
    frame["name"] = np.array([e.name for e in measured], dtype=object)[code]
    frame["value"] = reports.values["value"] * np.array([e.factor for e in measured])[code]
    trace = (frame["name"] == "total_precipitation") & np.isclose(reports.values["value"], _TRACE)
    frame.loc[trace, "value"] = 0.0
    frame["flag"] = np.int8(Flag.GOOD)
    hours = np.array([-1.0 if e.hours is None else e.hours for e in measured])[code]
    _set_periods(frame, reports, subsets, hours)
    if aloft:
        frame.loc[frame["level"].isna() & (frame["flag"] == Flag.GOOD), "flag"] = np.int8(Flag.MISSING_PLACE)
    else:
        medium = np.array([e.medium for e in measured], dtype=object)[code]
        _flag_ambiguous_series(frame, reports)
        _flag_heights(frame, reports, medium)
    return frame


def compute_times(contexts: Columns) -> np.ndarray:
    """Times (datetime64) of the year, month, day and hour in effect; a missing minute or second is 0."""
    parts = pd.DataFrame({name: contexts[name] for name in ("year", "month", "day", "hour")})
    parts["minute"], parts["second"] = (np.nan_to_num(contexts[name], nan=0.0) for name in ("minute", "second"))
    low, high = [1800, 1, 1, 0, 0, 0], [2200, 12, 31, 23, 59, 60]
    parts = parts.where(((parts >= low) & (parts <= high)).all(axis=1))
    seconds = parts.pop("second").fillna(0.0).to_numpy()
    times = pd.to_datetime(parts, errors="coerce").to_numpy().astype("datetime64[us]")
    return times + np.round(seconds * 1e6).astype("timedelta64[us]")


def _compute_places(reports: MessageReports, subsets: Columns, aloft: bool) -> pd.DataFrame:
    contexts, at = reports.contexts, reports.values["context"]
    latitude, longitude = contexts["latitude"], contexts["longitude"]
    time, level = compute_times(contexts), np.full(len(latitude), np.nan)
    if not aloft:
        # What is in steps from here, or from now, is not here and now.
        latitude, longitude = (
            np.where(np.nan_to_num(contexts[f"{way}_increment"]) == 0.0, degrees, np.nan)
            for way, degrees in (("north", latitude), ("east", longitude))
        )
        time = np.where(np.nan_to_num(contexts["time_increment"]) == 0.0, time, np.datetime64("NaT", "us"))
    else:
        drifted = np.isfinite(contexts["north"]) & np.isfinite(contexts["east"])
        latitude = latitude + np.where(drifted, contexts["north"], 0.0)
        longitude = longitude + np.where(drifted, contexts["east"], 0.0)
        later = np.isin(contexts["displacement_code"], (4086, 4026)) & np.isfinite(contexts["displacement"])
        time = time + np.where(later, contexts["displacement"], 0.0).astype("timedelta64[s]")
        level = _compute_level(contexts, subsets["category"][contexts["subset"]]) / 100.0
    # Places are coded in steps of 1e-5 degrees; the pole must not come out as 90.00000000000001.
    columns = {"latitude": np.round(latitude, 6), "longitude": np.round(longitude, 6), "altitude": contexts["altitude"]}
    columns |= {"time": time, "level": level, "subset": contexts["subset"]}
    frame = pd.DataFrame({name: column[at] for name, column in columns.items()})
    frame["step"] = contexts["level"][at] if aloft else 0
    frame["height"] = np.nan
    return frame


def _compute_level(contexts: Columns, category: np.ndarray) -> np.ndarray:
    """Pressure, Pa: as it is coded, or that of a flight level in the standard atmosphere; NaN for other heights."""
    vertical, code = contexts["vertical"], contexts["vertical_code"]
    flight = (code == 7010) | (np.isin(code, (7002, 7007)) & (category == _AIRCRAFT))
    flown = standard_pressure(np.where(flight & (vertical < 44000.0), vertical, np.nan))
    return np.where(code == 7004, vertical, flown)


def _compute_periods(contexts: Columns, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the period in effect begins and ends (datetime64, NaT where it is not told).

    Of two displacements in a row, those of one descriptor are the beginning and the end; a first one of another
    descriptor displaces the beginning. A single one is a period before the report if it is negative, else after it.
    """
    last, code = contexts["displacement"], contexts["displacement_code"]
    first, first_code = contexts["before"], contexts["before_code"]
    pair = first_code > 0
    moved = _shift_times(time, np.where(pair, first, 0.0), first_code)
    end = np.where(pair & (first_code == code), _shift_times(time, last, code), _shift_times(moved, last, code))
    return np.where(pair, moved, np.minimum(time, end)), np.where(pair, end, np.maximum(time, end))


def _shift_times(time: np.ndarray, number: np.ndarray, code: np.ndarray) -> np.ndarray:
    """Times moved by a number of the units of a displacement in time."""
    unit = np.array([_SECONDS.get(int(c), 0) for c in np.arange(4000, 4100)])[np.clip(code - 4000, 0, 99)]
    months = np.array([_MONTHS.get(int(c), 0) for c in np.arange(4000, 4100)])[np.clip(code - 4000, 0, 99)]
    known = np.isfinite(number)
    count = np.where(known, number, 0.0)
    month = time.astype("datetime64[M]")
    moved = (month + (count * months).astype("timedelta64[M]")).astype("datetime64[us]") + (time - month)
    moved = moved + np.round(count * unit).astype("timedelta64[s]")
    return np.where(known, moved, np.datetime64("NaT", "us"))


def _set_periods(frame: pd.DataFrame, reports: MessageReports, subsets: Columns, hours: np.ndarray) -> None:
    """Set which values are over a period, and which are of no quantity at all; `hours` are those of elements."""
    contexts, at = reports.contexts, reports.values["context"]
    start, end = (edge[at] for edge in _compute_periods(contexts, compute_times(contexts)))
    length, name = end - start, frame["name"].to_numpy()
    significance, statistic, difference, occurrence, year_before = (
        np.nan_to_num(contexts[column], nan=-1.0).astype(int)[at]
        for column in ("significance", "statistic", "difference", "occurrence", "year_before")
    )
    climatological = subsets["climatological"][frame["subset"]]
    statistic = np.where(climatological & (statistic < 0), MEAN, statistic)
    instant = hours == -1.0
    extreme = np.isin(statistic, (_MAXIMUM, _MINIMUM))
    other = (statistic >= 0) & ~(np.isin(statistic, (MEAN, _VECTOR_MEAN)) | (extreme & (name == "2m_temperature")))
    reasons = {
        "no_observation": np.isin(significance, _NO_OBSERVATION),
        "difference": difference >= 0,
        "climatological_normal": year_before >= 0,
        "statistic": other | ((statistic >= 0) & (~instant | (occurrence >= 0))),
        "accumulated": (significance == _ACCUMULATED) & instant,
    }
    frame["left_out"] = np.select([*reasons.values()], [*reasons], "")
    averaged = ((statistic >= 0) | (significance == _AVERAGED)) & instant
    # Where only the significance says that it is a mean, none without a period is the usual one of ten minutes.
    short = (length <= SHORT) & ((length > np.timedelta64(0, "us")) | (statistic < 0))
    mean = averaged & ~(short & ~extreme) & ~((statistic < 0) & np.isnat(length))
    told = (np.isnan(hours) | mean) & (frame["left_out"] == "").to_numpy()
    unknown = told & ~(length > np.timedelta64(0, "us"))
    period = np.where(hours > 0.0, np.nan_to_num(hours) * 3600.0, np.nan)
    length = np.where(told & ~unknown, length, np.timedelta64("NaT"))
    fixed = np.where(hours > 0.0, np.nan_to_num(period).astype("timedelta64[s]"), np.timedelta64("NaT", "s"))
    frame["period"] = np.where(told, length.astype("timedelta64[s]"), fixed)
    frame["time"] = np.where(told & ~unknown, end, frame["time"].to_numpy().astype("datetime64[us]"))
    frame.loc[unknown, "flag"] = np.int8(Flag.PERIOD_UNKNOWN)
    for which, prefix in ((_MAXIMUM, "maximum"), (_MINIMUM, "minimum")):
        frame.loc[told & (statistic == which), "name"] = f"{prefix}_2m_temperature"


def _flag_ambiguous_series(frame: pd.DataFrame, reports: MessageReports) -> None:
    """Flag instants that one sensor reports with several displacements in time: which are now, is not told."""
    contexts, at = reports.contexts, reports.values["context"]
    time = frame["time"].to_numpy()
    start, end = (edge[at] for edge in _compute_periods(contexts, compute_times(contexts)))
    instant = frame["period"].isna() & (frame["flag"] == Flag.GOOD) & (frame["left_out"] == "")
    sensor = {name: contexts[name][at] for name in ("sensor", "sensor_over_water", "vertical")}
    of = frame[["subset", "name", "time", "latitude", "longitude"]].assign(**sensor)
    of["begin"] = np.where(np.isnat(start), time, start)
    begins = of[instant].groupby([name for name in of if name != "begin"], dropna=False, sort=False)["begin"]
    several = begins.transform("nunique").reindex(frame.index, fill_value=0) > 1
    frame.loc[instant & several & (end - start > SHORT), "flag"] = np.int8(Flag.PERIOD_UNKNOWN)


def _flag_heights(frame: pd.DataFrame, reports: MessageReports, medium: np.ndarray) -> None:
    """Flag values whose instruments are not at the height of their quantity, nor nearest to it; tell these heights."""
    contexts, at = reports.contexts, reports.values["context"]
    sea = medium == _SEA
    height = np.where(
        sea, -_compute_depth(contexts)[at], np.where(medium == _AIR, _compute_height(contexts)[at], np.nan)
    )
    own = np.array([QUANTITIES[name].height or 0.0 for name in frame["name"]])
    low = np.select([sea, own == 10.0], [-DEEPEST_SURFACE, MAST[0]], SCREEN[0])
    high = np.select([sea, own == 10.0], [np.inf, MAST[1]], SCREEN[1])
    wrong = (height < low) | (height > high)
    # An instrument without a height is where its quantity is.
    away = np.nan_to_num(abs(height - np.where(sea, 0.0, own)), nan=0.0)
    ranked = pd.DataFrame({"away": np.where(wrong | (frame["left_out"] != ""), np.inf, away)})
    keys = [frame[name] for name in ("subset", "name", "time", "period", "latitude", "longitude")]
    wrong |= (away > ranked.groupby(keys, dropna=False, sort=False)["away"].transform("min") + 1e-6).to_numpy()
    wrong &= np.isfinite(height)
    frame.loc[wrong, "flag"] = np.int8(Flag.WRONG_HEIGHT)
    frame["height"] = np.where(wrong, height, np.nan)


def _compute_height(contexts: Columns) -> np.ndarray:
    """Height, m, above the water, else above the ground or deck, else (negative) below the ground."""
    vertical, code = contexts["vertical"], contexts["vertical_code"]
    over_sea = vertical - contexts["altitude"]
    over_sea = np.where(np.isin(code, (7002, 7007)) & (over_sea > 0.0), over_sea, np.nan)
    in_turn = (
        contexts["sensor_over_water"],
        contexts["sensor"],
        -contexts["depth_in_soil"],
        np.where(code == 7006, vertical, over_sea),
    )
    height = in_turn[0]
    for other in in_turn[1:]:
        height = np.where(np.isnan(height), other, height)
    return height


def _compute_depth(contexts: Columns) -> np.ndarray:
    """Depth, m, below the surface of the water; 1 dbar of its pressure is about 1 m."""
    return np.where(np.isnan(contexts["depth"]), contexts["water_pressure"] * 1e-4, contexts["depth"])
