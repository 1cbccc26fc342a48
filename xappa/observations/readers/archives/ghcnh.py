"""GHCNh of NOAA: hourly reports by station or by year.

Values that the archive's own quality control rejects are kept, flagged ``rejected_by_source``, and
counted (``reports_refused``).

References
----------
.. [1] NOAA/NCEI, Global Historical Climatology Network hourly (GHCNh) documentation: tables 2 (variables, units), 3
   (quality codes) and section on precipitation.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
import xarray as xr

from xappa.observations.names import NameMap
from xappa.observations.periods import HOUR
from xappa.observations.readers.archives.registry import TABLES, Tables
from xappa.observations.readers.archives.reports import DIRECTION, SPEED, TD, P, ReportColumns, T, require_columns
from xappa.observations.readers.objects import to_numeric

_GHCNH = {
    "temperature": T,
    "dew_point_temperature": TD,
    "station_level_pressure": "surface_pressure",
    "sea_level_pressure": P,
    "altimeter": "altimeter_setting",
    "relative_humidity": "2m_relative_humidity",
    "wind_speed": SPEED,
    "wind_direction": DIRECTION,
}
_GHCNH_HOURS = {"precipitation": 1} | {f"precipitation_{h}_hour": h for h in (3, 6, 9, 12, 15, 18, 21, 24)}


def is_ghcnh(columns: Collection[str]) -> bool:
    """Whether a table has columns that only GHCNh has."""
    return {"temperature", "temperature_Quality_Code"} <= set(columns)


def from_ghcnh(frame: pd.DataFrame, naming: NameMap | None = None, stations: pd.DataFrame | None = None) -> xr.Dataset:
    """Observations from a table of GHCNh (by station or by year; PSV or Parquet) [1]_."""
    by_name = {str(column).casefold(): column for column in frame.columns}

    def column(*names: str) -> pd.Series:
        found = [by_name[name] for name in names if name in by_name]
        if not found:
            require_columns(frame, "GHCNh", names[0].capitalize())
        return frame[found[0]]

    if "date" in by_name:
        time = column("date")
    else:
        names = ("year", "month", "day", "hour", "minute")
        parts = {name: to_numeric(column(name)) for name in names}
        time = pd.to_datetime(pd.DataFrame(parts), errors="coerce")
    place = {"time": time, "station": column("station_id", "station")}
    reports = ReportColumns(place | {name: column(name) for name in ("latitude", "longitude", "elevation")})
    for name, meaning in _GHCNH.items():
        if name in frame:
            reports.values[meaning] = _find_accepted(frame, name, reports, meaning)
    calm = frame.get("wind_direction_Measurement_Code", pd.Series("", frame.index)).astype(str).str.startswith("V")
    if DIRECTION in reports.values:
        reports.values[DIRECTION] = reports.values[DIRECTION].mask(calm)
    for name, hours in _GHCNH_HOURS.items():
        if name in frame:
            period = np.full(len(frame), hours * HOUR)
            amount = _find_accepted(frame, name, reports, name).rename(name)
            reports.over.append(("total_precipitation", amount, period))
    return reports.to_dataset()


def _find_accepted(frame: pd.DataFrame, name: str, reports: ReportColumns, key: str) -> pd.Series:
    values = reports.parse_numbers(key, frame[name])
    codes = frame.get(f"{name}_Quality_Code")
    return values if codes is None else reports.add_values(key, values, codes, "ghcnh")


TABLES["GHCNh"] = Tables(is_ghcnh, from_ghcnh)
