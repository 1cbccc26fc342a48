"""Archives by name: each registers itself in its own file."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

import pandas as pd
import xarray as xr

from xappa.observations.names import NameMap
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


TABLES: dict[str, Tables] = {}
"""Archives of tables, whose columns no other archive has."""

LINES: dict[str, Lines] = {}
"""Archives of lines, whose form no other archive has."""
