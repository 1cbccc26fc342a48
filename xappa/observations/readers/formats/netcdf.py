"""NetCDF, which is HDF5 since its version 4: CF, or the groups of IODA."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from xappa.observations.readers.netcdf import read_netcdf
from xappa.observations.readers.registry import READERS, Evidence, FormatReader

_CLASSIC = (b"CDF\x01", b"CDF\x02", b"CDF\x05")
_HDF5 = b"\x89HDF\r\n\x1a\n"


@READERS.register("netcdf")
class NetCDF(FormatReader):
    """NetCDF and HDF5, lazily."""

    evidence = Evidence.SIGNATURE
    suffixes = (".nc", ".nc4", ".netcdf", ".cdf", ".h5", ".hdf5")

    def matches(self, path: Path, head: bytes) -> bool:
        """Whether a file begins as NetCDF does, or as HDF5, before which there may be a block of the user's."""
        return head.startswith(_CLASSIC) or _HDF5 in (head[start : start + 8] for start in (0, 512, 1024, 2048))

    def read(self, path: Path) -> xr.Dataset:
        """See `read_netcdf`."""
        return read_netcdf(path, self.options.naming)
