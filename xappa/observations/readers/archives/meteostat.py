"""Meteostat: hourly and daily tables with its short names and metric units.

References
----------
Meteostat developers' documentation, "Formats & Units" (temperatures in degC, precipitation in mm, pressure reduced to
sea level in hPa, wind in km/h, times in UTC) and the tables of hourly and daily data.
"""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd
import xarray as xr

from xappa.observations.assumptions import with_assumption
from xappa.observations.names import NameMap
from xappa.observations.periods import HOUR
from xappa.observations.readers.archives.registry import TABLES, Tables
from xappa.observations.readers.archives.tables import DAY, merge_parts, read_documented_columns, set_period
from xappa.observations.readers.station_tables import fill_places

_INSTANT = {
    "temp": ("2m_temperature", "degC"),
    "dwpt": ("2m_dewpoint_temperature", "degC"),
    "rhum": ("2m_relative_humidity", "percent"),
    "wdir": ("10m_wind_from_direction", "degree"),
    "wspd": ("10m_wind_speed", "km/h"),
    "pres": ("mean_sea_level_pressure", "hPa"),
}
_RAIN = {"prcp": ("total_precipitation", "mm")}
_DAILY = (
    {
        "tavg": ("2m_temperature", "degC"),
        "tmin": ("minimum_2m_temperature", "degC"),
        "tmax": ("maximum_2m_temperature", "degC"),
    }
    | {name: meaning for name, meaning in _INSTANT.items() if name != "wdir"}
    | _RAIN
)
_ALL = _DAILY | _INSTANT


def is_meteostat(columns: Collection[str]) -> bool:
    """Whether a table has columns that only Meteostat has."""
    names = set(columns)
    if {"temp", "rhum", "wspd", "pres"} <= names:
        return True
    if "wspd" not in names or not names & {"wpgt", "tsun", "coco", "cldc", "dwpt"}:
        return False
    return {"temp", "rhum"} <= names or {"tmin", "tmax"} <= names or "tavg" in names


def from_meteostat(frame: pd.DataFrame, naming: NameMap, stations: pd.DataFrame | None = None) -> xr.Dataset:
    """Read an hourly or daily table of Meteostat.

    Parameters
    ----------
    frame : DataFrame
        Columns such as ``temp`` (degC), ``wspd`` (km h-1), ``pres`` (hPa) and ``prcp`` (mm).
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
    frame = fill_places(frame, naming, stations)
    if {"tmin", "tmax", "tavg"} & set(frame.columns):
        # A mean speed and a mean direction are not the mean wind: the direction is counted, not read.
        daily = read_documented_columns(frame.rename(columns={"wdir": "wdir (daily mean)"}), naming, _DAILY, _ALL, {})
        obs = merge_parts([None if daily is None else set_period(daily, DAY, DAY)])
        return with_assumption(obs, "Meteostat: days are taken as those of UTC, as its documentation says of times")
    rain = read_documented_columns(frame, naming, _RAIN, _ALL, {})
    obs = merge_parts(
        [read_documented_columns(frame, naming, _INSTANT, _ALL, {}), None if rain is None else set_period(rain, HOUR)]
    )
    ends = "Meteostat: an hour's precipitation is taken to end at its time"
    return obs if rain is None else with_assumption(obs, ends)


TABLES["Meteostat"] = Tables(is_meteostat, from_meteostat)
