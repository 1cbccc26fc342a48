"""Formats that are known and not read, and what to do with files of them."""

from __future__ import annotations

import re
from pathlib import Path

from xappa.errors import ObservationError

FORMATS = (
    ".csv, .tsv, .psv, .txt or .dat (tables), .parquet, .nc, .zarr, .bufr, METAR bulletins, ISD, ISD-Lite or GHCN-Daily"
)

_TABLE = "Give it as a DataFrame: "
_REFUSED: tuple[tuple[bytes, str, str], ...] = (
    (b"GRIB", "GRIB", "Open the fields with xarray.open_dataset(path, engine='cfgrib') and give the Dataset"),
    (b"\xcd\xf3\x00\x01", "CDF of NASA", "Expected NetCDF: convert it"),
    (b"\x0e\x03\x13\x01", "HDF4", "Expected NetCDF: convert it, as with h4toh5 or ncdump"),
    (b"\xff\xffODA", "ODB-2", _TABLE + "pyodc.read_odb(path, single=True)"),
    (b"ARROW1", "Feather (Arrow)", _TABLE + "pandas.read_feather(path)"),
    (b"ORC", "ORC", _TABLE + "pandas.read_orc(path)"),
    (b"SQLite format 3", "SQLite", _TABLE + "pandas.read_sql(query, connection)"),
    (b"\xd0\xcf\x11\xe0", "Excel", _TABLE + "pandas.read_excel(path)"),
    (b"\x28\xb5\x2f\xfd", "packed with Zstandard", "Unpack it first"),
    (b"\x1f\x9d", "packed with compress", "Unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "packed with 7-Zip", "Unpack it first"),
    (b"%PDF", "PDF", "Expected a file of reports"),
)
_WORDS: tuple[tuple[re.Pattern[bytes], str, str], ...] = (
    (re.compile(rb"\s*<(!doctype html|html)", re.I), "a web page", "The download probably failed: fetch the file anew"),
    (re.compile(rb"\s*<(\?xml|[a-z])", re.I), "XML", _TABLE + "pandas.read_xml(path)"),
    (re.compile(rb"\s*(\{|\[\s*[\{\[])"), "JSON", _TABLE + "pandas.read_json(path)"),
)
_TAR = 257


def refuse_unsupported(path: Path, head: bytes) -> None:
    """Complain about a file that is empty, or of a format that is known and not read.

    Parameters
    ----------
    path : Path
        For messages.
    head : bytes
        The beginning, unpacked.

    Raises
    ------
    ObservationError
        If it is one.
    """
    if not head:
        raise ObservationError(f"{path}: the file is empty. Expected a header and at least one report")
    for magic, name, advice in _REFUSED:
        if head.startswith(magic):
            raise ObservationError(f"{path}: a file of the format {name}, which is not read. {advice}")
    for pattern, name, advice in _WORDS:
        if pattern.match(head.removeprefix(b"\xef\xbb\xbf")):
            raise ObservationError(f"{path}: the file is {name}, which is not read. {advice}")
    if head[_TAR : _TAR + 5] == b"ustar":
        raise ObservationError(f"{path}: an archive of several files (tar). Unpack it, and give the files in a list")
