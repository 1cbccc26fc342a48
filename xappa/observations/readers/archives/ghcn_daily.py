"""GHCN-Daily of NOAA: daily extremes, means and precipitation, in tenths, as CSV by station or by year, or as .dly.

References
----------
NOAA/NCEI, GHCN-Daily readme.txt, section III (elements, units, MFLAG and QFLAG), readme-by_year.txt and
readme-by_station.txt (order of the fields; OBS-TIME), and GHCND_documentation.pdf (columns ``<ELEMENT>_ATTRIBUTES``:
measurement flag, quality flag, source flag and time of observation).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations.assumptions import with_assumption
from xappa.observations.flags import Flag, with_flag
from xappa.observations.names import NameMap
from xappa.observations.readers.archives.days import compute_day_ends
from xappa.observations.readers.archives.registry import TABLES, LineReader, Tables
from xappa.observations.readers.archives.reports import require_columns, with_unreadable
from xappa.observations.readers.archives.tables import merge_parts
from xappa.observations.readers.registry import READERS
from xappa.observations.readers.station_tables import with_places
from xappa.observations.readers.tables.columns import parse_numbers, to_text
from xappa.observations.readers.tables.frames import from_frame
from xappa.observations.readers.text_files import TextFile
from xappa.observations.readers.times import to_times
from xappa.observations.schema import encode_counts

_ELEMENTS = {
    "TMAX": ("maximum_2m_temperature", "0.1 degC"),
    "TMIN": ("minimum_2m_temperature", "0.1 degC"),
    "TAVG": ("2m_temperature", "0.1 degC"),
    "PRCP": ("total_precipitation", "0.1 mm"),
    "AWND": ("10m_wind_speed", "0.1 m s-1"),
    "ADPT": ("2m_dewpoint_temperature", "0.1 degC"),
    "ASLP": ("mean_sea_level_pressure", "0.1 hPa"),
    "ASTP": ("surface_pressure", "0.1 hPa"),
    "RHAV": ("2m_relative_humidity", "percent"),
}
_ATTRIBUTES = "_ATTRIBUTES"
_MISSING = -9999
_PRESUMED, _LAGGED = "P", "L"
_FIELDS = ("ID", "DATE", "ELEMENT", "DATA_VALUE", "M_FLAG", "Q_FLAG", "S_FLAG", "OBS_TIME")
_NAMES = ({"ID"}, {"DATE"}, {"ELEMENT"}, {"DATA_VALUE", "DATA VALUE", "VALUE"})
_LINE = re.compile(r"[A-Z]{2}[A-Z0-9_-]{9},\d{8},[A-Z0-9]{4},-?\d+,[^,]?,[^,]?,[^,]?(,\d{0,4})?\s*")
_DLY = re.compile(r"[A-Z]{2}[A-Z0-9_-]{9}\d{4}(0[1-9]|1[0-2])[A-Z0-9]{4}(?=[ \d-]{5}).{248}")
_TENTHS = (
    "GHCN-Daily: values are taken in tenths (0.1 degC, 0.1 mm), as the archive has them; a download may have converted "
    "them. Say otherwise, for each element: units={'TMAX': 'degF'}"
)
_DAYS = (
    "GHCN-Daily: 24 hours end at the local time of observation where it is given, else at local midnight of the date; "
    "local is the nautical time zone of the longitude. Say otherwise by giving the elements as a table with times and "
    "periods of your own"
)


@dataclass(frozen=True)
class _ElementReports:
    """Reports of one element, shape (n,) each."""

    place: pd.DataFrame
    date: pd.Series
    value: pd.Series
    measurement: pd.Series
    quality: pd.Series
    clock: pd.Series

    def to_dataset(self, element: str, naming: NameMap) -> xr.Dataset | None:
        """In the schema; None if there is no value."""
        values, unreadable = parse_numbers(self.value.mask(self.value.astype("string").str.strip().fillna("") == ""))
        values = np.where(values == _MISSING, np.nan, values)
        rows = np.isfinite(values)
        if not rows.any():
            return None
        quantity, documented = _ELEMENTS[element]
        told = naming.find_units(element, quantity)
        if told is None and (values[rows] % 1 != 0).any():
            raise ObservationError(_describe_units(element, documented))
        place = self.place[rows]
        time = compute_day_ends(to_times(self.date[rows]), parse_numbers(place["longitude"])[0], self.clock[rows])
        table = place.assign(time=time, period=pd.Timedelta("24h"), **{quantity: values[rows]})
        obs = with_unreadable(from_frame(table, NameMap(units={quantity: told or documented})), {quantity: unreadable})
        measurement = self.measurement[rows].astype("string").fillna("").str.strip()
        refused = self.quality[rows].astype("string").fillna("").str.strip() != ""
        obs = with_flag(obs, quantity, (refused | (measurement == _PRESUMED)).to_numpy(bool), Flag.REJECTED_BY_SOURCE)
        return with_flag(obs, quantity, (measurement == _LAGGED).to_numpy(bool), Flag.PERIOD_UNKNOWN)


def is_ghcnd(columns: Collection[str]) -> bool:
    """Whether a table has columns that only GHCN-Daily by station has: elements with attributes."""
    names = set(columns)
    pairs = {element for element in names if f"{element}{_ATTRIBUTES}" in names}
    return {"STATION", "DATE"} <= names and bool(pairs & set(_ELEMENTS)) and "FRSHTT" not in names


def from_ghcnd(frame: pd.DataFrame, naming: NameMap, stations: pd.DataFrame | None = None) -> xr.Dataset:
    """Observations from GHCN-Daily by station, with a column for each element and one for its attributes.

    Raises
    ------
    ObservationError
        If values have decimals: then a download converted the units, and `naming` must tell them.
    """
    place = _add_places(frame, stations)
    parts = []
    for element in _ELEMENTS:
        if element in frame:
            attributes = frame.get(f"{element}{_ATTRIBUTES}", pd.Series("", frame.index))
            flags = attributes.astype("string").fillna("").str.split(",", expand=True).reindex(columns=range(4))
            daily = _ElementReports(place, frame["DATE"], frame[element], flags[0], flags[1], flags[3])
            parts.append(daily.to_dataset(element, naming))
    known = {"STATION", "DATE", "LATITUDE", "LONGITUDE", "ELEVATION", "NAME", *_ELEMENTS}
    others = [str(name) for name in frame if name not in known and not str(name).endswith(_ATTRIBUTES)]
    return _add_assumptions(merge_parts(parts), {name: int(frame[name].notna().sum()) for name in others})


def is_ghcnd_long(columns: Collection[str]) -> bool:
    """Whether a table has the columns of GHCN-Daily by year."""
    names = {str(name).upper().replace("-", "_") for name in columns}
    return all(names & spellings for spellings in _NAMES)


def from_ghcnd_long(frame: pd.DataFrame, naming: NameMap, stations: pd.DataFrame | None = None) -> xr.Dataset:
    """Observations from GHCN-Daily by year, or by station in the same layout: one line a day and element.

    Raises
    ------
    ObservationError
        If there is no table of stations, since the lines do not say where they are.
    """
    names = {str(name).upper().replace("-", "_").replace(" ", "_"): name for name in frame.columns}
    columns = {}
    for field in _FIELDS:
        spellings = (field, field.replace("_", ""), field.removeprefix("DATA_"))
        found = [frame[names[spelling]] for spelling in spellings if spelling in names]
        columns[field] = found[0] if found else pd.Series("", frame.index)
    return _convert_fields(pd.DataFrame(columns), naming, stations)


def is_ghcnd_line(line: str) -> bool:
    """Whether a line is one of GHCN-Daily by year, which has no names."""
    return _LINE.fullmatch(line) is not None


def from_ghcnd_lines(text: TextFile, stations: pd.DataFrame | None) -> xr.Dataset:
    """Observations from the lines of GHCN-Daily by year; as `from_ghcnd_long`."""
    with text.open() as stream:
        frame = pd.read_csv(stream, names=list(_FIELDS), dtype=str, index_col=False, keep_default_na=False)
    return _convert_fields(frame, NameMap(), stations)


def is_ghcnd_dly(line: str) -> bool:
    """Whether a line is one of a .dly file: a month of an element."""
    return _DLY.match(line.ljust(269)) is not None and "," not in line


def from_ghcnd_dly(text: TextFile, stations: pd.DataFrame | None) -> xr.Dataset:
    """Observations from a .dly file, whose lines have 31 days of eight characters each; as `from_ghcnd_long`."""
    lines = text.read_lines().str.ljust(269)
    days = [
        pd.DataFrame(
            {
                "ID": lines.str[:11],
                "DATE": lines.str[11:15] + lines.str[15:17] + f"{day + 1:02d}",
                "ELEMENT": lines.str[17:21],
                "DATA_VALUE": lines.str[21 + 8 * day : 26 + 8 * day],
                "M_FLAG": lines.str[26 + 8 * day],
                "Q_FLAG": lines.str[27 + 8 * day],
                "S_FLAG": lines.str[28 + 8 * day],
                "OBS_TIME": "",
            }
        )
        for day in range(31)
    ]
    frame = pd.concat(days, ignore_index=True)
    return _convert_fields(frame[frame["DATA_VALUE"].str.strip() != str(_MISSING)], NameMap(), stations)


def _convert_fields(frame: pd.DataFrame, naming: NameMap, stations: pd.DataFrame | None) -> xr.Dataset:
    frame = frame.reset_index(drop=True)
    station = pd.Series(to_text(frame["ID"].astype(str).str.strip()))
    if stations is None:
        raise ObservationError(
            "GHCN-Daily by year gives the names of stations only. Give a table of their places: "
            "stations='ghcnd-stations.txt'"
        )
    place = with_places(pd.DataFrame({"station": station}), station.to_numpy(), stations)
    element = frame["ELEMENT"].astype(str).str.strip()
    date = frame["DATE"].astype(str).str.replace(r"^(\d{4})(\d{2})(\d{2})$", r"\1-\2-\3", regex=True)
    parts = []
    for name in _ELEMENTS:
        rows = (element == name).to_numpy()
        if rows.any():
            flags = frame[rows]
            fields = (flags["DATA_VALUE"], flags["M_FLAG"], flags["Q_FLAG"], flags["OBS_TIME"])
            parts.append(_ElementReports(place[rows], date[rows], *fields).to_dataset(name, naming))
    others = element[~element.isin(list(_ELEMENTS))].value_counts()
    return _add_assumptions(merge_parts(parts), {str(name): int(count) for name, count in others.items()})


def _add_places(frame: pd.DataFrame, stations: pd.DataFrame | None) -> pd.DataFrame:
    names = {"STATION": "station", "LATITUDE": "latitude", "LONGITUDE": "longitude", "ELEVATION": "altitude"}
    place = frame[[name for name in names if name in frame]].rename(columns=names)
    if {"latitude", "longitude"} <= set(place):
        return place
    require_columns(frame, "GHCN-Daily", "STATION")
    if stations is None:
        raise ObservationError(
            "GHCN-Daily without the columns LATITUDE and LONGITUDE. Give a table of places of stations: "
            "stations='ghcnd-stations.txt'"
        )
    return with_places(place, to_text(place["station"]), stations)


def _add_assumptions(obs: xr.Dataset, unknown: Mapping[str, int]) -> xr.Dataset:
    obs = with_assumption(with_assumption(obs, _DAYS), _TENTHS)
    unknown = {name: count for name, count in unknown.items() if count}
    return obs.assign_attrs(unknown_variables=encode_counts(unknown)) if unknown else obs


def _describe_units(element: str, documented: str) -> str:
    return (
        f"{element} has decimals, but GHCN-Daily has whole numbers of {documented}: a download converted the units. "
        f"Say which they are now, for each element: units={{{element!r}: '{'mm' if element == 'PRCP' else 'degC'}'}}"
    )


TABLES["GHCN-Daily"] = Tables(is_ghcnd, from_ghcnd)
TABLES["GHCN-Daily by year"] = Tables(is_ghcnd_long, from_ghcnd_long)
READERS.register("ghcn-daily")(LineReader(is_line=is_ghcnd_line, read_text=from_ghcnd_lines))
READERS.register("ghcn-daily-dly")(LineReader(is_line=is_ghcnd_dly, read_text=from_ghcnd_dly))
