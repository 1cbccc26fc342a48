"""Global Summary of the Day (GSOD) of NOAA: daily means and extremes in US units, as CSV by station and year.

References
----------
NOAA/NCEI, Global Surface Summary of the Day, readme.txt: columns, units, codes of missing values, flags; days
are of GMT.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
import xarray as xr

from xappa.observations.assumptions import with_assumption
from xappa.observations.names import NameMap
from xappa.observations.readers.archives.registry import TABLES, Tables
from xappa.observations.readers.archives.tables import DAY, merge_parts, read_documented_columns, set_period
from xappa.observations.readers.objects import to_numeric
from xappa.observations.readers.station_tables import fill_places

_DAILY = {
    "TEMP": ("2m_temperature", "degF"),
    "DEWP": ("2m_dewpoint_temperature", "degF"),
    "SLP": ("mean_sea_level_pressure", "hPa"),
    "WDSP": ("10m_wind_speed", "knot"),
    "MAX": ("maximum_2m_temperature", "degF"),
    "MIN": ("minimum_2m_temperature", "degF"),
    "PRCP": ("total_precipitation", "inch"),
}
_MISSING = {"WDSP": 999.9, "PRCP": 99.99}
_NO_REPORT = ("H", "I")


def is_gsod(columns: Collection[str]) -> bool:
    """Whether a table has columns that only GSOD has."""
    return {"STATION", "DATE", "TEMP", "DEWP", "FRSHTT"} <= set(columns)


def from_gsod(frame: pd.DataFrame, naming: NameMap, stations: pd.DataFrame | None = None) -> xr.Dataset:
    """Read a table of GSOD.

    Precipitation that is 0 by assumption (attribute ``H`` or ``I``) is missing. The station pressure is not read: its
    thousands are missing in many files.

    Parameters
    ----------
    frame : DataFrame
        Columns such as ``TEMP`` (degF), ``WDSP`` (knot), ``SLP`` (hPa) and ``PRCP`` (inch), one line per day.
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
    frame = frame.copy()
    for name in _DAILY.keys() & set(frame.columns):
        values = to_numeric(frame[name])
        frame[name] = frame[name].mask(np.isclose(values, _MISSING.get(name, 9999.9)))
    if "PRCP_ATTRIBUTES" in frame:
        frame["PRCP"] = frame["PRCP"].mask(frame["PRCP_ATTRIBUTES"].astype("string").str.strip().isin(_NO_REPORT))
    frame = frame[[name for name in frame.columns if not str(name).endswith("_ATTRIBUTES")]]
    part = read_documented_columns(fill_places(frame, naming, stations), naming, _DAILY, _DAILY, {})
    obs = merge_parts([None if part is None else set_period(part, DAY, DAY)])
    return with_assumption(obs, "GSOD: days are those of UTC; the extremes of some countries are over other 24 hours")


TABLES["GSOD"] = Tables(is_gsod, from_gsod)
