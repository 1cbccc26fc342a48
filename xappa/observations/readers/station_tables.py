"""Tables of stations: places and heights for reports that only name their station."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from xappa._files import is_file
from xappa.argument_types import format_value
from xappa.errors import ObservationError, OptionError
from xappa.observations.names import NameMap, find_coordinate, format_names
from xappa.observations.readers.compressed import strip_suffix
from xappa.observations.readers.tables.columns import parse_numbers, to_text
from xappa.observations.readers.tables.delimited import find_layout, read_table
from xappa.observations.readers.text_files import TextFile, inspect_text_file

Table = str | Path | pd.DataFrame

PLACE = ("latitude", "longitude", "altitude")

_NAMES = ("icao", "synop", "wmo", "usaf", "wban", "ghcn_id")
_NEEDED = ("station", "latitude", "longitude")
_GHCN = r"^(?P<station>[A-Z]{2}[A-Z0-9_-]{9}) (?P<lat>[ \d.-]{8}) (?P<lon>[ \d.-]{9}) (?P<elev>[ \d.-]{6})"
_MASTER = {"icao": (20, 24), "synop": (32, 37), "lat": (39, 45), "lon": (47, 54), "elev": (54, 59)}
_GEMPAK = (
    r"^(?P<icao>\S*)\s+(?P<synop>\d+)\s+.*?\s(?:\S{2}|-{2})\s+"
    r"(?P<lat>-?\d{1,5})\s+(?P<lon>-?\d{1,6})\s+(?P<elev>-?\d{1,5})(?:\s|$)"
)


def read_station_table(source: Table | Sequence[Table]) -> pd.DataFrame:
    """Places of stations by name.

    Parameters
    ----------
    source : DataFrame, path, or a list of these
        A table with columns for latitude, longitude, height (m) and at least one name (``station``, ``icao``, ``wmo``,
        …; any known spelling), a CSV file of one (among them NOAA's ``isd-history.csv``), the list of the Aviation
        Weather Center (``master.txt``), a GEMPAK table (``.tbl``), or that of GHCN-Daily (``ghcnd-stations.txt``). Of
        several, the first that has a station tells.

    Returns
    -------
    DataFrame
        ``latitude`` (degrees north), ``longitude`` (degrees east) and ``altitude`` (m, NaN where unknown), indexed by
        the station's names (ICAO, WMO number with five digits, …), each once.

    Raises
    ------
    ObservationError
        If a table cannot be read, or has no names or places.
    """
    tables = [source] if isinstance(source, str | Path | pd.DataFrame) else source
    if not isinstance(tables, list | tuple) or not all(isinstance(one, str | Path | pd.DataFrame) for one in tables):
        raise OptionError(f"stations={format_value(source)}, expected a table, the path of one, or a list of these")
    if not tables:
        raise OptionError("stations=[]: expected at least one table; leave it out where there is none")
    table = pd.concat([_index_by_name(*_read(one)) for one in tables])
    return table[~table.index.duplicated()]


def with_places(frame: pd.DataFrame, names: np.ndarray, stations: pd.DataFrame) -> pd.DataFrame:
    """A table of reports with latitude, longitude and altitude of the stations `names` (missing where unknown)."""
    return frame.assign(**{name: stations[name].reindex(names).to_numpy() for name in PLACE})


def fill_places(frame: pd.DataFrame, naming: NameMap, stations: pd.DataFrame | None) -> pd.DataFrame:
    """A table with places of the table of stations, if it has stations and no places of its own."""
    meanings = {naming.find_coordinate(str(column)): column for column in frame.columns}
    if stations is None or "latitude" in meanings or "station" not in meanings:
        return frame
    if "altitude" in meanings:
        frame = frame.drop(columns=meanings["altitude"])
    return with_places(frame, _normalise_names(frame[meanings["station"]]).to_numpy(), stations)


def _read(source: Table) -> tuple[pd.DataFrame, str]:
    if isinstance(source, pd.DataFrame):
        return source, "The table of stations"
    path = Path(source).expanduser()
    if not is_file(path):
        raise ObservationError(f"No table of stations {str(path)!r}. Expected a CSV file, master.txt or a GEMPAK .tbl")
    text = inspect_text_file(path)
    if _is_delimited(path, text):
        return _parse_table(text), str(path)
    lines = text.read_lines()
    ghcn = lines.str.extract(_GHCN).dropna(subset=["lat", "lon"])
    if len(ghcn) > 0.5 * len(lines):
        return ghcn, str(path)
    gempak = lines.str.extract(_GEMPAK).dropna(subset=["lat", "lon"])
    if len(gempak) > 0.5 * len(lines):
        gempak[["lat", "lon"]] = gempak[["lat", "lon"]].astype(float) / 100.0
        # WMO numbers are followed by a digit that is not theirs in the longer of these tables.
        number = gempak["synop"].astype(int)
        gempak["synop"] = np.where(number > 99999, number // 10, number)
        return gempak, str(path)
    return _parse_master_list(lines), str(path)


def _is_delimited(path: Path, text: TextFile) -> bool:
    """Whether a file is a table with names, by its name or by these."""
    if Path(strip_suffix(path)).suffix.casefold() == ".csv":
        return True
    first = text.head.split("\n", 1)[0]
    return any(sum(find_coordinate(part.strip(' "')) in _NEEDED for part in first.split(sep)) > 1 for sep in ",;\t|")


def _parse_table(text: TextFile) -> pd.DataFrame:
    layout = find_layout(text, NameMap())
    if layout is None:
        first = text.head.split("\n", 1)[0]
        raise ObservationError(
            f"{text.path}: no line of names with a station, latitude and longitude (it begins with {first[:100]!r})"
        )
    return read_table(text, layout, layout.names)


def _parse_master_list(lines: pd.Series) -> pd.DataFrame:
    """Fixed columns, with places in degrees and minutes (``24 26N``)."""
    table = pd.DataFrame({name: lines.str.slice(*span).str.strip() for name, span in _MASTER.items()})
    for name in ("lat", "lon"):
        part = table[name].str.extract(r"^(?P<d>\d{1,3}) (?P<m>\d{2})(?P<s>[NSEW])$")
        degrees = pd.to_numeric(part["d"]) + pd.to_numeric(part["m"]) / 60.0
        table[name] = degrees.where(~part["s"].isin(["S", "W"]), -degrees)
    return table.dropna(subset=["lat", "lon"])


def _index_by_name(table: pd.DataFrame, what: str) -> pd.DataFrame:
    """One row a name of each station."""
    by_meaning: dict[str, list[str]] = {}
    for column in table.columns:
        text = str(column).casefold().split("(")[0].strip()
        meaning = "station" if text in _NAMES else find_coordinate(text)
        by_meaning.setdefault(meaning or "", []).append(str(column))
    missing = [name for name in ("station", "latitude", "longitude") if name not in by_meaning]
    if missing or table.empty:
        raise ObservationError(
            f"{what} gives no {' and no '.join(missing) or 'station'} (found {format_names(table.columns)}). Expected "
            "columns for a name (station, icao, wmo), latitude, longitude and altitude"
        )
    place = pd.DataFrame({name: np.full(len(table), np.nan) for name in PLACE})
    for name in PLACE:
        if name in by_meaning:
            place[name] = parse_numbers(table[by_meaning[name][0]])[0]
    place["altitude"] = place["altitude"].where(place["altitude"].between(-500.0, 9000.0))
    named = [place.set_axis(_normalise_names(table[column]), axis=0) for column in by_meaning["station"]]
    if {"USAF", "WBAN"} <= set(table.columns):
        named.append(
            place.set_axis(pd.Index(_normalise_names(table["USAF"]) + "-" + _normalise_names(table["WBAN"])), axis=0)
        )
    everything = pd.concat(named)
    good = (everything.index != "") & everything["latitude"].notna() & everything["longitude"].notna()
    return everything[good]


def _normalise_names(column: pd.Series) -> pd.Index:
    names = pd.Series(to_text(column))
    short = names.str.fullmatch(r"\d{1,4}")
    return pd.Index(names.where(~short, names.str.zfill(5)))
