"""ASOS reports as the Iowa Environmental Mesonet gives them: one column an element, in the units of US reports.

References
----------
Iowa Environmental Mesonet, ASOS-AWOS-METAR data download: description of the columns; "METAR Report Types"
(precipitation accumulates until it is reset at the hour of the station's routine reports).
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
import xarray as xr

from xappa.observations.assumptions import with_assumption
from xappa.observations.flags import Flag, with_flag
from xappa.observations.names import NameMap
from xappa.observations.periods import HOUR
from xappa.observations.readers.archives.registry import TABLES, Tables
from xappa.observations.readers.archives.tables import merge_parts, read_documented_columns, set_period
from xappa.observations.readers.station_tables import fill_places

_INSTANT = {
    "tmpf": ("2m_temperature", "degF"),
    "tmpc": ("2m_temperature", "degC"),
    "dwpf": ("2m_dewpoint_temperature", "degF"),
    "dwpc": ("2m_dewpoint_temperature", "degC"),
    "relh": ("2m_relative_humidity", "percent"),
    "drct": ("10m_wind_from_direction", "degree"),
    "sknt": ("10m_wind_speed", "knot"),
    "sped": ("10m_wind_speed", "mph"),
    "alti": ("altimeter_setting", "inHg"),
    "mslp": ("mean_sea_level_pressure", "hPa"),
}
_RAIN = {"p01i": ("total_precipitation", "inch"), "p01m": ("total_precipitation", "mm")}
_OWN = {"tmpf", "tmpc", "dwpf", "dwpc", "sknt", "sped", "p01i", "p01m"}
_TIMES = ("valid", "valid(UTC)", "valid (UTC)")
_MISSING, _TRACE = "M", "T"


def is_iem(columns: Collection[str]) -> bool:
    """Whether a table has columns that only the download of the Iowa Environmental Mesonet has."""
    names = set(columns)
    return "station" in names and bool(names & set(_TIMES)) and bool(names & _OWN)


def from_iem(frame: pd.DataFrame, naming: NameMap, stations: pd.DataFrame | None = None) -> xr.Dataset:
    """Read a table of the Iowa Environmental Mesonet.

    ``M`` is a missing value; ``T``, a trace of precipitation, is 0. Precipitation of reports between the hourly ones
    is over an unknown part of an hour, and flagged ``period_unknown``.

    Parameters
    ----------
    frame : DataFrame
        Columns such as ``tmpf`` (degF), ``sknt`` (knot), ``alti`` (inHg), ``mslp`` (hPa) and ``p01i`` (inch).
    naming : NameMap
        Units of columns that replace the documented ones.
    stations : DataFrame, optional
        Coordinates by station, used if the table has none.

    Returns
    -------
    Dataset
        Observations in the schema, in the units of `xappa.vocabulary`.

    Raises
    ------
    ObservationError
        If there is no value, or the coordinates of a station are not known.
    """
    frame = fill_places(_convert_numbers(frame), naming, _add_short_names(stations))
    time = next(name for name in _TIMES if name in frame)
    rain = read_documented_columns(frame, naming, _RAIN, _INSTANT | _RAIN, {time: "time"})
    obs = merge_parts(
        [
            read_documented_columns(frame, naming, _INSTANT, _INSTANT | _RAIN, {time: "time"}),
            None if rain is None else _select_hourly(set_period(rain, HOUR)),
        ]
    )
    if time != "valid":
        return obs
    return with_assumption(
        obs,
        "IEM: times of the column 'valid' are taken as UTC, the download's default (tz=Etc/UTC). Say otherwise by "
        "converting them",
    )


def _convert_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with numbers in the columns that are read, as far as they are some."""
    frame = frame.copy()
    for name in (_INSTANT | _RAIN).keys() & set(frame.columns):
        if frame[name].dtype.kind not in "biuf":
            text = frame[name].astype("string").str.strip()
            text = text.mask(text == _MISSING)
            frame[name] = (text.mask(text == _TRACE, "0") if name in _RAIN else text).astype(object)
    return frame


def _add_short_names(stations: pd.DataFrame | None) -> pd.DataFrame | None:
    """Stations by the three letters that the archive has for those of the United States (KDSM: DSM), too."""
    if stations is None:
        return None
    american = stations[stations.index.str.fullmatch("K[A-Z0-9]{3}")]
    both = pd.concat([stations, american.set_axis(american.index.str[1:])])
    return both[~both.index.duplicated()]


def _select_hourly(rain: xr.Dataset) -> xr.Dataset:
    """Precipitation, flagged where it is not of the routine report, which each station makes at a minute of its own."""
    minute = pd.Series(pd.DatetimeIndex(rain["time"].values).minute)
    station = rain["station"].values if "station" in rain.coords else np.zeros(rain.sizes["obs"])
    routine = minute.groupby(station).transform(lambda minutes: minutes.mode().iloc[0] if minutes.notna().any() else 0)
    return with_flag(rain, "total_precipitation", (minute != routine).to_numpy(), Flag.PERIOD_UNKNOWN)


TABLES["IEM ASOS"] = Tables(is_iem, from_iem)
