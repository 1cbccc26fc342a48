"""Archives with names and units of their own, recognised by their columns or lines: one file each.

A table is an archive's by columns that only it has, and never where ``rename=`` says what one of them means. What
``units=`` says of its columns counts for more than the archive's documentation, where that is offered.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

import pandas as pd
import xarray as xr

from xappa.observations.names import NameMap
from xappa.observations.readers.archives.ghcn_daily import (
    from_ghcnd,
    from_ghcnd_dly,
    from_ghcnd_lines,
    from_ghcnd_long,
    is_ghcnd,
    is_ghcnd_dly,
    is_ghcnd_line,
    is_ghcnd_long,
)
from xappa.observations.readers.archives.ghcnh import from_ghcnh, is_ghcnh
from xappa.observations.readers.archives.gsod import from_gsod, is_gsod
from xappa.observations.readers.archives.iem import from_iem, is_iem
from xappa.observations.readers.archives.isd import (
    from_isd_csv,
    from_isd_lite,
    from_isd_text,
    is_isd,
    is_isd_csv,
    is_isd_lite,
)
from xappa.observations.readers.archives.meteostat import from_meteostat, is_meteostat
from xappa.observations.readers.text_files import TextFile

ReadTable = Callable[[pd.DataFrame, NameMap, pd.DataFrame | None], xr.Dataset]
ReadText = Callable[[TextFile, pd.DataFrame | None], xr.Dataset]


class Tables(NamedTuple):
    """An archive of tables: whether columns are its own, and its reader (table, naming, places of stations)."""

    matches: Callable[[Collection[str]], bool]
    read: ReadTable


class Lines(NamedTuple):
    """An archive of lines without names: whether a line is its own, and its reader (text, places of stations)."""

    matches: Callable[[str], bool]
    read: ReadText


TABLES: dict[str, Tables] = {
    "GHCNh": Tables(is_ghcnh, from_ghcnh),
    "ISD": Tables(is_isd_csv, from_isd_csv),
    "GSOD": Tables(is_gsod, from_gsod),
    "GHCN-Daily": Tables(is_ghcnd, from_ghcnd),
    "GHCN-Daily by year": Tables(is_ghcnd_long, from_ghcnd_long),
    "Meteostat": Tables(is_meteostat, from_meteostat),
    "IEM ASOS": Tables(is_iem, from_iem),
}

LINES: dict[str, Lines] = {
    "ISD": Lines(is_isd, from_isd_text),
    "ISD-Lite": Lines(is_isd_lite, from_isd_lite),
    "GHCN-Daily by year": Lines(is_ghcnd_line, from_ghcnd_lines),
    "GHCN-Daily .dly": Lines(is_ghcnd_dly, from_ghcnd_dly),
}


def archive_of(columns: Collection[str]) -> ReadTable | None:
    """Reader of the archive that has these columns, or None."""
    return next((archive.read for archive in TABLES.values() if archive.matches(columns)), None)


def lines_of_archive(head: str) -> ReadText | None:
    """Reader of the archive that has the first line of a text, or None."""
    line = head.lstrip("\ufeff").split("\n", 1)[0].rstrip("\r")
    return next((archive.read for archive in LINES.values() if archive.matches(line)), None)
