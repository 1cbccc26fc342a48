"""Archives by name: each registers itself in its own file."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import xarray as xr

from xappa.observations.names import NameMap
from xappa.observations.readers.registry import Evidence, FormatReader
from xappa.observations.readers.text_files import TextFile, inspect_report_file, inspect_text_head

ReadTable = Callable[[pd.DataFrame, NameMap, pd.DataFrame | None], xr.Dataset]
ReadText = Callable[[TextFile, pd.DataFrame | None], xr.Dataset]


class Tables(NamedTuple):
    """An archive of tables: whether columns are its own, and its reader (table, naming, places of stations)."""

    matches: Callable[[Collection[str]], bool]
    read: ReadTable


TABLES: dict[str, Tables] = {}
"""Archives of tables, in files or not, whose columns no other archive has."""


@dataclass(frozen=True, kw_only=True)
class LineReader(FormatReader):
    """An archive of lines without names: a reader of files, to be registered in `READERS`.

    Parameters
    ----------
    is_line : callable
        Whether a line is one of the archive, and of no other.
    read_text : callable
        Observations from a text and the places of stations.
    """

    evidence = Evidence.FIRST_LINE
    reads_packed = True
    is_line: Callable[[str], bool]
    read_text: ReadText

    def matches(self, path: Path, head: bytes) -> bool:
        """Whether the first line is one of the archive."""
        text = inspect_text_head(path, head)
        return text is not None and self.is_line(text.head.lstrip("\ufeff").split("\n", 1)[0].rstrip("\r"))

    def read(self, path: Path) -> xr.Dataset:
        """Observations from the lines of a file, plain or packed."""
        text = inspect_report_file(path)
        return self.options.naming.record_quantities(self.read_text(text, self.options.stations))
