"""Zarr stores: CF, or the groups of IODA."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from xappa.errors import ObservationError
from xappa.observations.readers.netcdf import read_netcdf
from xappa.observations.readers.registry import READERS, Evidence, FormatReader
from xappa.zarr_codecs import require_safe_codecs


@READERS.register("zarr")
class Zarr(FormatReader):
    """Folders of Zarr, lazily."""

    evidence = Evidence.FOLDER
    suffixes = (".zarr",)
    reads_packed = True  # there is nothing to unpack in a folder

    def matches(self, path: Path, head: bytes) -> bool:
        """Whether a folder is a Zarr store, by its metadata or its name."""
        names = ("zarr.json", ".zgroup", ".zmetadata", ".zattrs")
        return path.suffix.casefold() == ".zarr" or any((path / name).is_file() for name in names)

    def read(self, path: Path) -> xr.Dataset:
        """See `read_netcdf`; codecs that may run code are refused."""
        if not path.is_dir():
            raise ObservationError(f"{path}: a file, although its name is that of a Zarr store. Expected a folder")
        require_safe_codecs(path, ObservationError)
        return read_netcdf(path, self.options.naming)
