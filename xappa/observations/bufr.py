"""Reports in BUFR (SYNOP, SHIP, TEMP, AMDAR, radiances), decoded in a process of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations import bufr_decode
from xappa.observations.decoders import decode
from xappa.observations.form import build, concat
from xappa.observations.formulas import standard_pressure
from xappa.observations.frames import from_frame
from xappa.observations.names import QUANTITIES, Naming
from xappa.observations.periods import HOUR

INSTALL = 'Reading BUFR needs pdbufr and ecCodes, which are not installed: pip install "xappa[obs]"'

_SURFACE = (
    "2m_temperature",
    "2m_dewpoint_temperature",
    "10m_wind_speed",
    "10m_wind_from_direction",
    "mean_sea_level_pressure",
    "surface_pressure",
    "sea_surface_temperature",
)
_ALOFT = (
    "temperature",
    "dewpoint_temperature",
    "relative_humidity",
    "wind_speed",
    "wind_from_direction",
    "geopotential",
    "geopotential_height",
)
_OVER_PERIOD = {"precipitation": "total_precipitation", "maximum": "maximum_2m_temperature"} | {
    "minimum": "minimum_2m_temperature"
}
_UNITS = {"relative_humidity": "percent", "total_precipitation": "kg m-2", "level": "Pa"}


def read_bufr(path: str | Path) -> xr.Dataset:
    """Reports of a BUFR file.

    Parameters
    ----------
    path : path
        BUFR file. Data categories 0 and 1 (SYNOP, SHIP, buoys), 2 (TEMP, PILOT), 4 (AMDAR), 3 and 21 (radiances) are
        read; other messages are skipped and counted.

    Returns
    -------
    Dataset
        In the one form, without flags. Of surface reports: temperature, dew point, wind, pressures, sea surface
        temperature, precipitation and extreme temperatures over their periods; of soundings and aircraft: temperature,
        humidity, wind and geopotential by level (that of an aircraft without a pressure is its flight level's in the
        standard atmosphere; soundings are at the balloon's place and time where the file tells them); of radiances:
        brightness temperature, with the coordinate ``channel``. Attributes count the reports read (``reports_read``),
        those without any of these (``reports_empty``, dropped), the winds of variable direction (direction 0 with a
        speed, `reports_variable_wind`; their direction is missing), and, where there are any, the messages that were
        skipped (``messages_skipped``) or could not be decoded (``messages_broken``).

    Raises
    ------
    MissingDependency
        If pdbufr or ecCodes is not installed.
    ObservationError
        If the file cannot be decoded, or has no report.

    References
    ----------
    WMO-No. 306, Manual on Codes, volume I.2, FM 94 BUFR, sequences 307079-307092 (SYNOP), 308009 (SHIP), 309052 (TEMP),
    311001-311010 (AMDAR), 310008 (HIRS); B/C1 for the meaning of direction 0.
    """
    tables, complaints = decode(bufr_decode.__file__, "pdbufr", INSTALL, "BUFR", Path(path), [])
    counts = {name: int(number) for name, number in tables.pop("count", {}).items()}
    parts, read, variable = [], 0, 0
    for table, columns in tables.items():
        frame = pd.DataFrame(columns)
        read += len(frame) if table != "rain" else 0
        variable += _without_variable_winds(frame)
        parts += _READERS[table](frame)
    _require_reports(path, parts, counts, complaints)
    obs = concat(parts)
    obs.attrs["reports_read"] = read
    obs.attrs["reports_empty"] = obs.attrs.pop("reports_empty", 0)
    obs.attrs["reports_variable_wind"] = variable
    for name in ("messages_skipped", "messages_broken"):
        if counts[name]:
            obs.attrs[name] = counts[name]
    return obs


def _without_variable_winds(frame: pd.DataFrame) -> int:
    """Remove directions that only say that the wind is variable, in place; returns their number."""
    for prefix in ("10m_", ""):
        if (direction := f"{prefix}wind_from_direction") in frame:
            variable = (frame[direction] == 0.0) & (frame[f"{prefix}wind_speed"] > 0.0)
            frame[direction] = frame[direction].mask(variable)
            return int(variable.sum())
    return 0


def _surface(frame: pd.DataFrame) -> list[xr.Dataset]:
    parts = _of(frame, _SURFACE)
    for column in frame.columns:
        kind, _, hours = str(column).rpartition("_")
        if kind in _OVER_PERIOD and hours.isdigit():
            told = frame.assign(period=np.full(len(frame), int(hours) * HOUR)).drop(columns=list(_SURFACE))
            parts += _of(told.rename(columns={column: _OVER_PERIOD[kind]}), (_OVER_PERIOD[kind],), count=False)
    return parts


def _rain(frame: pd.DataFrame) -> list[xr.Dataset]:
    hours = frame["hours"].abs()
    frame = frame[hours > 0].assign(period=pd.to_timedelta(hours[hours > 0], unit="h").to_numpy())
    return _of(frame.rename(columns={"precipitation": "total_precipitation"}), ("total_precipitation",), count=False)


def _aloft(frame: pd.DataFrame) -> list[xr.Dataset]:
    flown = frame["level"].isna() & frame["flight_level"].notna()
    frame["level"] = frame["level"].mask(flown, standard_pressure(frame["flight_level"]))
    frame["latitude"] += frame["north"].fillna(0.0)
    frame["longitude"] += frame["east"].fillna(0.0)
    drift = frame["later"].where(frame["north"].notna(), 0.0).fillna(0.0)
    frame["time"] += pd.to_timedelta(drift, unit="s")
    # A pressure of an instrument that measured nothing else is no report.
    frame = frame[frame["level"].notna()]
    return _of(frame, _ALOFT)


def _radiance(frame: pd.DataFrame) -> list[xr.Dataset]:
    coordinates = {name: frame[name].to_numpy() for name in ("time", "latitude", "longitude", "channel")}
    return [build(coordinates, {"brightness_temperature": frame["value"].to_numpy()})]


_READERS = {"surface": _surface, "aloft": _aloft, "rain": _rain, "radiance": _radiance}


def _of(frame: pd.DataFrame, names: tuple[str, ...], count: bool = True) -> list[xr.Dataset]:
    """Reports of some quantities; those that have none of them are dropped, and counted if they are to be."""
    there = [name for name in names if frame[name].notna().any()]
    there = [n for n in there if not n.endswith("direction") or n.replace("from_direction", "speed") in there]
    full = frame[frame[there].notna().any(axis=1)] if there else frame.iloc[:0]
    if full.empty:
        return []
    places = ["time", "latitude", "longitude", "level", "altitude", "station", "period"]
    places = [name for name in places if name in full and full[name].notna().any()]
    # Places are coded in steps of 1e-5 degrees; the pole must not come out as 90.00000000000001.
    table = full[places + there].round({"latitude": 6, "longitude": 6})
    units = {name: _UNITS.get(name, QUANTITIES[name].units if name in QUANTITIES else "Pa") for name in there}
    obs = from_frame(table, Naming(units=units | {"level": "Pa"}))
    if count:
        obs.attrs["reports_empty"] = len(frame) - len(full)
    return [obs]


def _require_reports(path: str | Path, parts: list[xr.Dataset], counts: dict[str, int], complaints: str) -> None:
    if parts:
        return
    categories = [name.removeprefix("category_") for name in counts if name.startswith("category_")]
    others = f" (of data category {', '.join(categories)})" if categories else ""
    said = f" The decoder said:\n{complaints}" if complaints else ""
    raise ObservationError(
        f"{path}: no report with a quantity that is known in {counts['messages']} BUFR messages{others}, "
        f"{counts['messages_broken']} of which could not be decoded. Expected SYNOP or SHIP (category 0 or 1), "
        f"TEMP (2), AMDAR (4) or radiances (3 or 21).{said}"
    )
