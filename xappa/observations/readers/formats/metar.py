"""METAR bulletins: text."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from xappa.errors import XappaError
from xappa.observations.readers.metar.reader import is_metar, read_metar
from xappa.observations.readers.registry import READERS, Evidence, FormatReader
from xappa.observations.readers.tables.reader import find_report_layout
from xappa.observations.readers.text_files import inspect_report_file, inspect_text_head


@READERS.register("metar")
class Metar(FormatReader):
    """METAR and SPECI in bulletins, with places from the table of stations."""

    evidence = Evidence.WORDS
    reads_packed = True

    def matches(self, path: Path, head: bytes) -> bool:
        """Whether a text looks like bulletins, which have no line of names."""
        text = inspect_text_head(path, head)
        if text is None or not is_metar(text.head):
            return False
        try:
            return find_report_layout(text, self.options.naming) is None
        except XappaError:  # a table, of which something is wrong
            return False

    def read(self, path: Path) -> xr.Dataset:
        """See `read_metar`."""
        inspect_report_file(path)
        return self.options.naming.record_quantities(read_metar(path, self.options.stations, self.options.date))
