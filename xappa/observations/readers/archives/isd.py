"""ISD of NOAA: hourly reports as CSV, in its full format, or as ISD-Lite.

Values that the archive's own quality control rejects are kept, flagged ``rejected_by_source``, and
counted (``reports_refused``).

References
----------
.. [2] NOAA/NCEI, Federal Climate Complex Data Documentation for Integrated Surface Data (ISD), 2018: positions of the
   control and mandatory sections, additional data AA1, KA1, MA1.
.. [3] NOAA/NCEI, Integrated Surface Data - Lite, format documentation, 2006.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import numpy as np
import pandas as pd
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations.names import NameMap
from xappa.observations.periods import HOUR
from xappa.observations.readers.archives.registry import TABLES, LineReader, Tables
from xappa.observations.readers.archives.reports import DIRECTION, SPEED, TD, P, ReportColumns, T, require_columns
from xappa.observations.readers.compressed import strip_suffix
from xappa.observations.readers.registry import READERS
from xappa.observations.readers.station_tables import with_places
from xappa.observations.readers.text_files import TextFile

_ISD_LINE = re.compile(r"^\d{4}[0-9A-Z]\w{10}\d{12}.[+-]\d{5}[+-]\d{6}")
_LITE_LINE = re.compile(r"^\d{4} \d{2} \d{2} \d{2}(\s+-?\d+){8}\s*$")


def is_isd_csv(columns: Collection[str]) -> bool:
    """Whether a table has columns that only the global-hourly CSV of ISD has."""
    return {"DATE", "TMP", "WND", "SLP"} <= set(columns)


def from_isd_csv(
    frame: pd.DataFrame, naming: NameMap | None = None, stations: pd.DataFrame | None = None
) -> xr.Dataset:
    """Observations from a table of NOAA's global-hourly CSV files of ISD [2]_."""
    require_columns(frame, "ISD", "DATE", "STATION", "LATITUDE", "LONGITUDE", "ELEVATION")
    place = {
        "time": frame["DATE"],
        "station": frame["STATION"].astype(str),
        "latitude": frame["LATITUDE"],
        "longitude": frame["LONGITUDE"],
        "altitude": frame["ELEVATION"],
    }
    reports = ReportColumns(place)

    def parts(name: str, count: int) -> list[pd.Series]:
        if name not in frame:
            return [pd.Series("", frame.index) for _ in range(count)]
        split = frame[name].astype("string").fillna("").str.split(",", expand=True)
        return [split[i].fillna("") if i in split else pd.Series("", frame.index) for i in range(count)]

    wind, rain, extreme, pressure = parts("WND", 5), parts("AA1", 4), parts("KA1", 4), parts("MA1", 4)
    _parse_main_values(reports, parts("TMP", 2), parts("DEW", 2), parts("SLP", 2), wind)
    _parse_additional_values(reports, rain, extreme, pressure)
    return reports.to_dataset()


def from_isd_text(text: TextFile, stations: pd.DataFrame | None = None) -> xr.Dataset:
    """Observations from lines of ISD in its full format [2]_."""
    lines = text.read_lines()

    def cut(start: int, end: int) -> pd.Series:
        return lines.str.slice(start - 1, end)

    place = {
        "time": pd.to_datetime(cut(16, 27), format="%Y%m%d%H%M", errors="coerce"),
        "station": cut(5, 10) + "-" + cut(11, 15),
    }
    reports = ReportColumns(place)
    place["latitude"] = reports.parse_numbers("latitude", cut(29, 34), 1000, 99999)
    place["longitude"] = reports.parse_numbers("longitude", cut(35, 41), 1000, 999999)
    place["altitude"] = reports.parse_numbers("altitude", cut(47, 51), 1, 9999)
    wind = [cut(61, 63), cut(64, 64), cut(65, 65), cut(66, 69), cut(70, 70)]
    _parse_main_values(
        reports, [cut(88, 92), cut(93, 93)], [cut(94, 98), cut(99, 99)], [cut(100, 104), cut(105, 105)], wind
    )
    # Additional data are groups of a name and fields of fixed width, up to the remarks.
    more = lines.str.slice(105).str.replace(r"(REM|EQD).*$", "", regex=True)

    def group(pattern: str) -> list[pd.Series]:
        found = more.str.extract(pattern)
        return [found[i].fillna("") for i in found]

    _parse_additional_values(
        reports,
        group(r"AA1(\d{2})(\d{4})(.)(.)"),
        group(r"KA1(\d{3})([NMOP])([+-]\d{4})(.)"),
        group(r"MA1(\d{5})(.)(\d{5})(.)"),
    )
    return reports.to_dataset()


def _parse_main_values(
    reports: ReportColumns,
    temperature: list[pd.Series],
    dewpoint: list[pd.Series],
    pressure: list[pd.Series],
    wind: list,
) -> None:
    for name, (text, quality), missing in ((T, temperature, 9999), (TD, dewpoint, 9999), (P, pressure, 99999)):
        reports.values[name] = reports.add_values(name, reports.parse_numbers(name, text, 10, missing), quality, "isd")
    direction, direction_quality, kind, speed, speed_quality = wind
    reports.values[SPEED] = reports.add_values(
        SPEED, reports.parse_numbers(SPEED, speed, 10, 9999), speed_quality, "isd"
    )
    variable = kind == "V"
    angle = reports.parse_numbers(DIRECTION, direction, 1, 999).mask(variable)
    reports.values[DIRECTION] = reports.add_values(DIRECTION, angle, direction_quality, "isd")


def _parse_additional_values(
    reports: ReportColumns, rain: list[pd.Series], extreme: list[pd.Series], pressure: list[pd.Series]
) -> None:
    total, high_low = "total_precipitation", "extreme_temperature"
    amount = reports.add_values("rain", reports.parse_numbers(total, rain[1], 10, 9999), rain[3], "isd")
    reports.over.append((total, amount.rename("rain"), _parse_hours(reports.parse_numbers("period", rain[0], 1, 99))))
    value = reports.add_values(
        "extreme", reports.parse_numbers(high_low, extreme[2], 10, 9999), extreme[3], "isd"
    ).rename("extreme")
    length = _parse_hours(reports.parse_numbers("period", extreme[0], 10, 999))
    for code, name in (("M", "maximum_2m_temperature"), ("N", "minimum_2m_temperature")):
        reports.over.append((name, value.where(extreme[1] == code), length))
    for name, (text, quality) in (("altimeter_setting", pressure[:2]), ("surface_pressure", pressure[2:])):
        reports.values[name] = reports.add_values(name, reports.parse_numbers(name, text, 10, 99999), quality, "isd")


def _parse_hours(hours: pd.Series) -> np.ndarray:
    seconds = (hours.where(hours > 0) * 3600.0).to_numpy()
    good = np.isfinite(seconds)
    return np.where(good, np.where(good, seconds, 0).astype("timedelta64[s]"), np.timedelta64("NaT", "s"))


def from_isd_lite(text: TextFile, stations: pd.DataFrame | None) -> xr.Dataset:
    """Observations from lines of ISD-Lite [3]_, whose station is in the file's name and its place in a table."""
    path, lines = text.path, text.read_lines()
    name = "-".join(strip_suffix(path).split(".")[0].split("-")[:2])
    if stations is None or name not in stations.index:
        found = "no table of stations was given" if stations is None else f"the table of stations has no {name!r}"
        raise ObservationError(
            f"{path}: ISD-Lite files do not say where their station is, and {found}. Give one that has it, such as "
            "NOAA's: stations='isd-history.csv'"
        )
    fields = lines.str.split(expand=True)
    parts = {part: pd.to_numeric(fields[i], errors="coerce") for i, part in enumerate(("year", "month", "day", "hour"))}
    time = pd.to_datetime(pd.DataFrame(parts), errors="coerce")
    frame = with_places(pd.DataFrame({"time": time}), np.full(len(lines), name), stations)
    reports = ReportColumns(dict(frame.assign(station=name)))
    columns = {T: (4, 10), TD: (5, 10), P: (6, 10), DIRECTION: (7, 1), SPEED: (8, 10)}
    for meaning, (i, scale) in columns.items():
        reports.values[meaning] = reports.parse_numbers(meaning, fields[i], scale, 9999)
    for i, hours in ((10, 1), (11, 6)):
        # A trace is -1.
        amount = reports.parse_numbers("total_precipitation", fields[i], 10, 9999)
        amount = amount.mask(amount == -0.1, 0.0)
        reports.over.append(("total_precipitation", amount, np.full(len(lines), hours * HOUR)))
    return reports.to_dataset()


def is_isd(line: str) -> bool:
    """Whether a line is one of ISD in its full format."""
    return _ISD_LINE.match(line) is not None


def is_isd_lite(line: str) -> bool:
    """Whether a line is one of ISD-Lite."""
    return _LITE_LINE.match(line) is not None


TABLES["ISD"] = Tables(is_isd_csv, from_isd_csv)
READERS.register("isd")(LineReader(is_line=is_isd, read_text=from_isd_text))
READERS.register("isd-lite")(LineReader(is_line=is_isd_lite, read_text=from_isd_lite))
