"""Tables of text: whatever text no other reader knows, if it has a line of names."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from xappa.observations.readers.registry import READERS, Evidence, FormatReader
from xappa.observations.readers.tables.reader import read_text_table


@READERS.register("table")
class Table(FormatReader):
    """CSV and the like: tidy, wide, or of an archive with columns of its own."""

    evidence = Evidence.TEXT
    reads_packed = True

    def matches(self, path: Path, head: bytes) -> bool:
        """Any file: one that is no table is refused when it is read, with what it lacks."""
        return True

    def read(self, path: Path) -> xr.Dataset:
        """See `read_text_table`."""
        return read_text_table(path, self.options)
