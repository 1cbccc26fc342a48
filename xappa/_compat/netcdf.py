"""NetCDF files, used by one thread at a time: the HDF5 library of netCDF4's wheels is not thread-safe.

xarray takes its lock for values only. Files are opened, described and closed without it, so that a file that is opened
or collected in one thread, while another reads, gives errors (``NetCDF: Not a valid ID``) or ends the process (xarray
2026.9, netCDF4 1.7).
"""

from __future__ import annotations

import threading

import xarray as xr
from xarray.backends import CachingFileManager, NetCDF4DataStore
from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK


class _ReentrantLock:
    """xarray's lock of NetCDF files, which the thread that holds it may take again; it is pickled by its name."""

    def __init__(self) -> None:
        self._owner, self._depth = 0, 0

    def __reduce__(self) -> str:
        return "NETCDF_LOCK"

    def acquire(self, blocking: bool = True) -> bool:
        this = threading.get_ident()
        if self._owner != this:
            if not NETCDF4_PYTHON_LOCK.acquire(blocking):
                return False
            self._owner = this
        self._depth += 1
        return True

    def release(self) -> None:
        self._depth -= 1
        if not self._depth:
            self._owner = 0
            NETCDF4_PYTHON_LOCK.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


NETCDF_LOCK = _ReentrantLock()
"""Held by whoever opens, describes, reads or closes a NetCDF file."""


class LockedNetCDF4Store(NetCDF4DataStore):
    """A group of a file, all of whose uses take `NETCDF_LOCK`; the whole of `manager` does."""

    def __init__(self, manager: CachingFileManager, group: str = "/") -> None:
        super().__init__(manager, group=group, lock=NETCDF_LOCK)


def make_file_manager(path: str, manager_id: str | None = None) -> CachingFileManager:
    """One handle of a file, opened when it is asked for; those of one `manager_id` share it."""
    import netCDF4

    return CachingFileManager(netCDF4.Dataset, path, mode="r", lock=NETCDF_LOCK, manager_id=manager_id)


def load_netcdf(path: str) -> xr.Dataset:
    """All of a file, not decoded."""
    with NETCDF_LOCK, xr.open_dataset(LockedNetCDF4Store(make_file_manager(path)), decode_cf=False) as opened:  # type: ignore[arg-type]
        return opened.load()
