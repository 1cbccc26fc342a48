"""Archives of hourly reports: NOAA's GHCNh and ISD, recognised by their columns or lines, brought into known names.

Values that the archive's own quality control rejects are kept, flagged ``rejected_by_source``, and counted
(``reports_refused``).

References
----------
.. [1] NOAA/NCEI, Global Historical Climatology Network hourly (GHCNh) documentation: tables 2 (variables, units), 3
   (quality codes) and section on precipitation.
.. [2] NOAA/NCEI, Federal Climate Complex Data Documentation for Integrated Surface Data (ISD), 2018: positions of the
   control and mandatory sections, additional data AA1, KA1, MA1.
.. [3] NOAA/NCEI, Integrated Surface Data - Lite, format documentation, 2006.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations.flags import Flag
from xappa.observations.form import concat
from xappa.observations.frames import from_frame
from xappa.observations.names import Naming
from xappa.observations.periods import HOUR
from xappa.observations.source_quality import SCHEMES, verdicts
from xappa.observations.stations import with_places

_T, _TD, _P = "2m_temperature", "2m_dewpoint_temperature", "mean_sea_level_pressure"
_SPEED, _DIRECTION = "10m_wind_speed", "10m_wind_from_direction"
_UNITS = {
    _T: "degC",
    _TD: "degC",
    _P: "hPa",
    "surface_pressure": "hPa",
    "altimeter_setting": "hPa",
    "2m_relative_humidity": "percent",
    _SPEED: "m s-1",
    _DIRECTION: "degree",
    "total_precipitation": "mm",
    "maximum_2m_temperature": "degC",
    "minimum_2m_temperature": "degC",
}
_GHCNH = {
    "temperature": _T,
    "dew_point_temperature": _TD,
    "station_level_pressure": "surface_pressure",
    "sea_level_pressure": _P,
    "altimeter": "altimeter_setting",
    "relative_humidity": "2m_relative_humidity",
    "wind_speed": _SPEED,
    "wind_direction": _DIRECTION,
}
_GHCNH_HOURS = {"precipitation": 1} | {f"precipitation_{h}_hour": h for h in (3, 6, 9, 12, 15, 18, 21, 24)}
_ISD_LINE = re.compile(r"^\d{4}[0-9A-Z]\w{10}\d{12}.[+-]\d{5}[+-]\d{6}")
_LITE_LINE = re.compile(r"^\d{4} \d{2} \d{2} \d{2}(\s+-?\d+){8}\s*$")


@dataclass
class _Reports:
    """Columns of reports while they are collected."""

    place: Mapping[str, Any]
    values: dict[str, pd.Series] = field(default_factory=dict)
    over: list[tuple[str, pd.Series, np.ndarray]] = field(default_factory=list)
    bad: dict[str, np.ndarray] = field(default_factory=dict)

    def keep(self, name: str, values: pd.Series, codes: pd.Series, scheme: str) -> pd.Series:
        """The values of a quantity as they are; which of them the archive rejects is noted."""
        self.bad[name] = verdicts(codes, SCHEMES[scheme])[0]
        return values

    def to_obs(self) -> xr.Dataset:
        """Observations in the one form."""
        place, parts = pd.DataFrame(self.place).reset_index(drop=True), []
        instant = pd.DataFrame({name: column.to_numpy() for name, column in self.values.items()})
        instant = instant.loc[:, instant.notna().any()]
        if len(instant.columns):
            rows = instant.notna().any(axis=1)
            parts.append(_obs(place[rows], self._flagged(instant)[rows]))
        for name, column, period in self.over:
            rows = column.notna().to_numpy() & ~np.isnat(period)
            if rows.any():
                there = place[rows].assign(period=period[rows])
                table = self._flagged(pd.DataFrame({name: column.to_numpy()}), str(column.name))
                parts.append(_obs(there, table[rows]))
        if not parts:
            raise ObservationError("No report with a value: all are missing. Expected at least one")
        return concat(parts)

    def _flagged(self, table: pd.DataFrame, key: str | None = None) -> pd.DataFrame:
        """The table with flags beside quantities of which the archive rejects values."""
        bad = {name: self.bad.get(key or name) for name in map(str, table)}
        flags = {f"{name}_flag": mask * int(Flag.REJECTED_BY_SOURCE) for name, mask in bad.items() if mask is not None}
        return table.assign(**flags)


def _obs(place: pd.DataFrame, values: pd.DataFrame) -> xr.Dataset:
    table = pd.concat([place.reset_index(drop=True), values.reset_index(drop=True)], axis=1)
    return from_frame(table, Naming(units=_UNITS))


def archive_of(frame: pd.DataFrame) -> Callable[[pd.DataFrame], xr.Dataset] | None:
    """Reader for a table of GHCNh or of ISD (global-hourly CSV), or None if it is neither."""
    columns = set(map(str, frame.columns))
    if {"temperature", "temperature_Quality_Code"} <= columns:
        return from_ghcnh
    if {"DATE", "TMP", "WND", "SLP"} <= columns:
        return from_isd_csv
    return None


def from_ghcnh(frame: pd.DataFrame) -> xr.Dataset:
    """Observations from a table of GHCNh (by station or by year; PSV or Parquet) [1]_."""
    by_name = {str(column).casefold(): column for column in frame.columns}

    def column(*names: str) -> pd.Series:
        return frame[next(by_name[name] for name in names if name in by_name)]

    if "date" in by_name:
        time = column("date")
    else:
        parts = {name: pd.to_numeric(column(name)) for name in ("year", "month", "day", "hour", "minute")}
        time = pd.to_datetime(pd.DataFrame(parts), errors="coerce")
    place = {"time": time, "station": column("station_id", "station")}
    reports = _Reports(place | {name: column(name) for name in ("latitude", "longitude", "elevation")})
    for name, meaning in _GHCNH.items():
        if name in frame:
            reports.values[meaning] = _ghcnh_good(frame, name, reports, meaning)
    calm = frame.get("wind_direction_Measurement_Code", pd.Series("", frame.index)).astype(str).str.startswith("V")
    if _DIRECTION in reports.values:
        reports.values[_DIRECTION] = reports.values[_DIRECTION].mask(calm)
    for name, hours in _GHCNH_HOURS.items():
        if name in frame:
            period = np.full(len(frame), hours * HOUR)
            amount = _ghcnh_good(frame, name, reports, name).rename(name)
            reports.over.append(("total_precipitation", amount, period))
    return reports.to_obs()


def _ghcnh_good(frame: pd.DataFrame, name: str, reports: _Reports, key: str) -> pd.Series:
    values = pd.to_numeric(frame[name], errors="coerce")
    codes = frame.get(f"{name}_Quality_Code")
    return values if codes is None else reports.keep(key, values, codes, "ghcnh")


def from_isd_csv(frame: pd.DataFrame) -> xr.Dataset:
    """Observations from a table of NOAA's global-hourly CSV files of ISD [2]_."""
    place = {
        "time": frame["DATE"],
        "station": frame["STATION"].astype(str),
        "latitude": frame["LATITUDE"],
        "longitude": frame["LONGITUDE"],
        "altitude": frame["ELEVATION"],
    }
    reports = _Reports(place)

    def parts(name: str, count: int) -> list[pd.Series]:
        if name not in frame:
            return [pd.Series("", frame.index) for _ in range(count)]
        split = frame[name].astype("string").fillna("").str.split(",", expand=True)
        return [split[i].fillna("") if i in split else pd.Series("", frame.index) for i in range(count)]

    wind, rain, extreme, pressure = parts("WND", 5), parts("AA1", 4), parts("KA1", 4), parts("MA1", 4)
    _isd_values(reports, parts("TMP", 2), parts("DEW", 2), parts("SLP", 2), wind)
    _isd_more(reports, rain, extreme, pressure)
    return reports.to_obs()


def from_isd_text(lines: pd.Series) -> xr.Dataset:
    """Observations from lines of ISD in its full format [2]_."""

    def cut(start: int, end: int) -> pd.Series:
        return lines.str.slice(start - 1, end)

    place = {
        "time": pd.to_datetime(cut(16, 27), format="%Y%m%d%H%M", errors="coerce"),
        "station": cut(5, 10) + "-" + cut(11, 15),
        "latitude": _number(cut(29, 34), 1000, 99999),
        "longitude": _number(cut(35, 41), 1000, 999999),
        "altitude": _number(cut(47, 51), 1, 9999),
    }
    reports = _Reports(place)
    wind = [cut(61, 63), cut(64, 64), cut(65, 65), cut(66, 69), cut(70, 70)]
    _isd_values(reports, [cut(88, 92), cut(93, 93)], [cut(94, 98), cut(99, 99)], [cut(100, 104), cut(105, 105)], wind)
    # Additional data are groups of a name and fields of fixed width, up to the remarks.
    more = lines.str.slice(105).str.replace(r"(REM|EQD).*$", "", regex=True)

    def group(pattern: str) -> list[pd.Series]:
        found = more.str.extract(pattern)
        return [found[i].fillna("") for i in found]

    _isd_more(
        reports,
        group(r"AA1(\d{2})(\d{4})(.)(.)"),
        group(r"KA1(\d{3})([NMOP])([+-]\d{4})(.)"),
        group(r"MA1(\d{5})(.)(\d{5})(.)"),
    )
    return reports.to_obs()


def _isd_values(
    reports: _Reports, temperature: list[pd.Series], dewpoint: list[pd.Series], pressure: list[pd.Series], wind: list
) -> None:
    for name, (text, quality), missing in ((_T, temperature, 9999), (_TD, dewpoint, 9999), (_P, pressure, 99999)):
        reports.values[name] = reports.keep(name, _number(text, 10, missing), quality, "isd")
    direction, direction_quality, kind, speed, speed_quality = wind
    reports.values[_SPEED] = reports.keep(_SPEED, _number(speed, 10, 9999), speed_quality, "isd")
    variable = kind == "V"
    angle = _number(direction, 1, 999).mask(variable)
    reports.values[_DIRECTION] = reports.keep(_DIRECTION, angle, direction_quality, "isd")


def _isd_more(reports: _Reports, rain: list[pd.Series], extreme: list[pd.Series], pressure: list[pd.Series]) -> None:
    amount = reports.keep("rain", _number(rain[1], 10, 9999), rain[3], "isd")
    reports.over.append(("total_precipitation", amount.rename("rain"), _hours(_number(rain[0], 1, 99))))
    value = reports.keep("extreme", _number(extreme[2], 10, 9999), extreme[3], "isd").rename("extreme")
    for code, name in (("M", "maximum_2m_temperature"), ("N", "minimum_2m_temperature")):
        reports.over.append((name, value.where(extreme[1] == code), _hours(_number(extreme[0], 10, 999))))
    for name, (text, quality) in (("altimeter_setting", pressure[:2]), ("surface_pressure", pressure[2:])):
        reports.values[name] = reports.keep(name, _number(text, 10, 99999), quality, "isd")


def _number(text: pd.Series, scale: int, missing: int) -> pd.Series:
    """Scaled numbers; NaN for the code of a missing one."""
    values = pd.to_numeric(text, errors="coerce").astype(float)
    return values.mask(values.abs() == missing) / scale


def _hours(hours: pd.Series) -> np.ndarray:
    seconds = (hours.where(hours > 0) * 3600.0).to_numpy()
    good = np.isfinite(seconds)
    return np.where(good, np.where(good, seconds, 0).astype("timedelta64[s]"), np.timedelta64("NaT", "s"))


def from_isd_lite(lines: pd.Series, path: Path, stations: pd.DataFrame | None) -> xr.Dataset:
    """Observations from lines of ISD-Lite [3]_, whose station is in the file's name and its place in a table."""
    name = "-".join(path.name.split(".")[0].split("-")[:2])
    if stations is None or name not in stations.index:
        found = "no table of stations was given" if stations is None else f"the table of stations has no {name!r}"
        raise ObservationError(
            f"{path}: ISD-Lite files do not say where their station is, and {found}. Give one that has it, such as "
            "NOAA's: stations='isd-history.csv'"
        )
    table = lines.str.split(expand=True).astype(float).mask(lambda values: values == -9999)
    parts = dict(zip(("year", "month", "day", "hour"), (table[i].astype(int) for i in range(4)), strict=True))
    frame = with_places(
        pd.DataFrame({"time": pd.to_datetime(pd.DataFrame(parts))}), np.full(len(table), name), stations
    )
    reports = _Reports(dict(frame.assign(station=name)))
    columns = {_T: (4, 10), _TD: (5, 10), _P: (6, 10), _DIRECTION: (7, 1), _SPEED: (8, 10)}
    reports.values = {meaning: table[i] / scale for meaning, (i, scale) in columns.items()}
    for i, hours in ((10, 1), (11, 6)):
        # A trace is -1.
        amount = table[i].mask(table[i] == -1.0, 0.0) / 10.0
        reports.over.append(("total_precipitation", amount, np.full(len(table), hours * HOUR)))
    return reports.to_obs()


def is_isd(line: str) -> bool:
    """Whether a line is one of ISD in its full format."""
    return _ISD_LINE.match(line) is not None


def is_isd_lite(line: str) -> bool:
    """Whether a line is one of ISD-Lite."""
    return _LITE_LINE.match(line) is not None
