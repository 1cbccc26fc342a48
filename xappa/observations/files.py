"""Files of reports: which format it is, by suffix or by content, and its reader."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import xarray as xr

from xappa.errors import MissingDependency, ObservationError
from xappa.observations.archives import archive_of, from_isd_lite, from_isd_text, is_isd, is_isd_lite
from xappa.observations.bufr import read_bufr
from xappa.observations.columns import to_text
from xappa.observations.frames import flat, from_frame
from xappa.observations.metar import is_metar, read_metar
from xappa.observations.names import COORDINATES, Naming
from xappa.observations.netcdf import NETCDF, read_netcdf
from xappa.observations.stations import with_places

FORMATS = ".csv, .psv, .parquet, .nc, .zarr, .bufr, METAR bulletins, ISD or ISD-Lite"

_HEAD = 1 << 16
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Aids:
    """What the caller says beside names and units.

    Parameters
    ----------
    naming : Naming
    stations : DataFrame or None
        Places of stations by name, from `stations.station_table`.
    date : str or None
        Date near which reports were made that do not give their month.
    """

    naming: Naming
    stations: pd.DataFrame | None = None
    date: str | None = None


def read_frame(frame: pd.DataFrame, aids: Aids) -> xr.Dataset:
    """Observations from a table: GHCNh or ISD by its columns, else tidy or wide."""
    frame = flat(frame)
    archive = None if aids.naming.rename else archive_of(frame)
    if archive is not None:
        return archive(frame)
    return from_frame(_placed(frame, aids), aids.naming)


def _placed(frame: pd.DataFrame, aids: Aids) -> pd.DataFrame:
    """The table with places of the table of stations, if it has stations and no places of its own."""
    meanings = {aids.naming.coordinate(str(column)): column for column in frame.columns}
    if aids.stations is None or "latitude" in meanings or "station" not in meanings:
        return frame
    if "altitude" in meanings:
        frame = frame.drop(columns=meanings["altitude"])
    return with_places(frame, to_text(frame[meanings["station"]]), aids.stations)


def read_file(path: Path, aids: Aids) -> xr.Dataset:
    """Observations from a file.

    Raises
    ------
    ObservationError
        If it is not there, its format is not known, or it cannot be read as what it seems to be.
    MissingDependency
        If the format needs a package that is not installed.
    """
    if not path.exists():
        raise ObservationError(f"No file or folder {str(path)!r}. Expected the path of {FORMATS}")
    name = path.name.casefold()
    if name.endswith((".csv", ".csv.gz")):
        return read_frame(_read_csv(path), aids)
    if name.endswith((".psv", ".psv.gz")):
        return read_frame(_read_csv(path, "|"), aids)
    if name.endswith((".parquet", ".pq")):
        return read_frame(_read_parquet(path), aids)
    if name.endswith((".zarr", *NETCDF)):
        return read_netcdf(path, aids.naming)
    head = _head(path)
    if name.endswith((".bufr", ".bfr")) or b"BUFR" in head[:512]:
        return read_bufr(path)
    return _read_text(path, head.decode(errors="replace"), aids)


def _read_text(path: Path, head: str, aids: Aids) -> xr.Dataset:
    line = head.split("\n", 1)[0].rstrip("\r")
    if is_isd(line):
        return from_isd_text(_lines(path))
    if is_isd_lite(line):
        return from_isd_lite(_lines(path), path, aids.stations)
    if is_metar(head):
        return read_metar(path, aids.stations, aids.date)
    raise ObservationError(
        f"{path}: the format of {path.suffix or 'a name without suffix'!r} is not known. Expected {FORMATS}"
    )


def _head(path: Path) -> bytes:
    """The beginning of a file, unpacked."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        if file.read(2) == _GZIP:
            with gzip.open(path) as packed:
                return packed.read(_HEAD)
        file.seek(0)
        return file.read(_HEAD)


def _lines(path: Path) -> pd.Series:
    data = path.read_bytes()
    text = (gzip.decompress(data) if data[:2] == _GZIP else data).decode(errors="replace")
    lines = pd.Series(text.splitlines(), dtype=object)
    return lines[lines.str.strip() != ""].reset_index(drop=True)


def _read_csv(path: Path, separator: str = ",") -> pd.DataFrame:
    try:
        header = pd.read_csv(path, nrows=0, sep=separator)
    except pd.errors.EmptyDataError:
        raise ObservationError(f"{path}: the file is empty. Expected a header and at least one report") from None
    # Station numbers are names: 01001 must keep its zero. Codes are texts too.
    names = {spelling.casefold() for spelling in COORDINATES["station"]}
    texts = [c for c in header.columns if c.casefold() in names or c.endswith(("_Code", "_Type", "_ID"))]
    return pd.read_csv(path, sep=separator, dtype=dict.fromkeys(texts, str))


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except ImportError as error:
        raise MissingDependency(
            f'{path}: reading Parquet needs pyarrow, which is not installed: pip install "xappa[obs]"'
        ) from error
