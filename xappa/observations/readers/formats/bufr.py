"""BUFR: messages of WMO's tables."""

from __future__ import annotations

import re
from pathlib import Path

import xarray as xr

from xappa.observations.readers.bufr.reader import read_bufr
from xappa.observations.readers.registry import READERS, Evidence, FormatReader

_BEGINNING = re.compile(rb"BUFR.{3}[\x00-\x05]", re.DOTALL)


@READERS.register("bufr")
class Bufr(FormatReader):
    """BUFR, which may stand behind a heading."""

    evidence = Evidence.EMBEDDED
    suffixes = (".bufr", ".bfr", ".bufr4")

    def matches(self, path: Path, head: bytes) -> bool:
        """Whether a message begins in the first 512 bytes."""
        return _BEGINNING.search(head[:512]) is not None

    def read(self, path: Path) -> xr.Dataset:
        """See `read_bufr`."""
        return self.options.naming.record_quantities(read_bufr(path))
