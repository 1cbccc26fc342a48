"""METAR and SPECI reports in bulletins of text, decoded by MetPy in a process of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations import metar_decode
from xappa.observations.decoders import decode
from xappa.observations.frames import from_frame
from xappa.observations.names import Naming
from xappa.observations.stations import with_places

INSTALL = 'Reading METAR needs MetPy, which is not installed: pip install "xappa[obs]"'

_NAMES = {
    "temperature": ("2m_temperature", "degC"),
    "dewpoint": ("2m_dewpoint_temperature", "degC"),
    "wind_speed": ("10m_wind_speed", "knot"),
    "wind_direction": ("10m_wind_from_direction", "degree"),
    "altimeter": ("altimeter_setting", "inHg"),
    "sea_level": ("mean_sea_level_pressure", "hPa"),
}
_DATE = re.compile(r"(?<!\d)((?:19|20)\d{2})[-_]?(0[1-9]|1[0-2])[-_]?(0[1-9]|[12]\d|3[01])(?:[-_T]?([01]\d|2[0-3]))?")


def read_metar(path: str | Path, stations: pd.DataFrame | None, date: str | None = None) -> xr.Dataset:
    """Reports of a file of METAR bulletins.

    Parameters
    ----------
    path : path
        Text, with or without WMO headings.
    stations : DataFrame
        Places by ICAO name, from `stations.station_table`.
    date : str, optional
        Date (ISO 8601) near which the reports were made, as they only give the day of the month; default: that in the
        file's name.

    Returns
    -------
    Dataset
        In the one form, without flags: temperature and dew point (in tenths where the remarks give them), wind,
        altimeter setting, and pressure at mean sea level where the remarks give it. Reports of stations that the table
        lacks have no place, and are flagged so later. Attributes count reports read (``reports_read``) and those that
        could not be decoded (``messages_broken``).

    Raises
    ------
    MissingDependency
        If MetPy is not installed.
    ObservationError
        If there is no table of stations, no date, or no report.

    References
    ----------
    WMO-No. 306, volume I.1, FM 15 METAR; Federal Meteorological Handbook No. 1 (2019), chapter 12 (remarks ``SLPppp``
    and ``Tsnttt``).
    """
    path = Path(path)
    if stations is None:
        raise ObservationError(
            f"{path}: METAR reports name their stations only. Give a table of places and heights: "
            "stations='master.txt' (or any table with the columns station, latitude, longitude, altitude)"
        )
    near = date or _date_of(path)
    tables, _ = decode(metar_decode.__file__, "metpy", INSTALL, "METAR", path, [near])
    counts = {name: int(number) for name, number in tables["count"].items()}
    frame = pd.DataFrame(tables["reports"])
    if frame.empty:
        raise ObservationError(f"{path}: no METAR report that could be decoded, of {counts['reports']} found")
    frame = with_places(frame, frame["station"].to_numpy(), stations)
    frame = frame.rename(columns={old: new for old, (new, _) in _NAMES.items()})
    frame = frame.drop(columns=[new for new, _ in _NAMES.values() if frame[new].isna().all()])
    obs = from_frame(frame, Naming(units={new: units for new, units in _NAMES.values()}))
    return obs.assign_attrs(reports_read=counts["reports"], messages_broken=counts["broken"])


def is_metar(head: str) -> bool:
    """Whether text looks like METAR bulletins."""
    return re.search(r"\b[A-Z][A-Z0-9]{3}\s+\d{6}Z\s", head) is not None


def _date_of(path: Path) -> str:
    found = _DATE.search(path.name)
    if found is None:
        raise ObservationError(
            f"{path}: METAR reports give the day of the month only, and the file's name has no date. Say when they "
            "were made: date='2019-07-01'"
        )
    year, month, day, hour = found.groups()
    return f"{year}-{month}-{day}T{hour or '12'}:00"
