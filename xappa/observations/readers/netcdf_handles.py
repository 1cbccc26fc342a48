"""NetCDF files opened lazily, each once: all of its groups, and all who read it, share one handle."""

from __future__ import annotations

from pathlib import Path

import xarray as xr
from xarray.backends import CachingFileManager

from xappa._compat.netcdf import NETCDF_LOCK, LockedNetCDF4Store, make_file_manager
from xappa.errors import ObservationError
from xappa.observations.readers.lazy_files import open_lazily
from xappa.observations.readers.netcdf_decode import estimate_sizes, list_group_names
from xappa.sizes import require_size

Identity = tuple[str, int, int, int]


class _Store(LockedNetCDF4Store):
    """A group of a file, with the same Dask keys wherever the same file is opened."""

    def __init__(self, manager: CachingFileManager, group: str, identity: Identity) -> None:
        super().__init__(manager, group)
        self.identity = identity

    def __dask_tokenize__(self) -> tuple[str, Identity, str]:
        return "xappa", self.identity, str(self._group)


def open_shared_groups(path: Path) -> dict[str, xr.Dataset]:
    """All groups of a file, lazily; the root is ``"/"``.

    Raises
    ------
    ObservationError
        If a variable claims more memory than it may take and the file can hold.
    """
    with NETCDF_LOCK:
        manager, identity = _get_file_manager(path)
        with manager.acquire_context() as root:
            for name, claimed in estimate_sizes(root):
                require_size(claimed, f"{path}: {name}", ObservationError, lambda: float(identity[-1]))
            names = ["/", *list_group_names(root)]
        # One by one: xarray 2026.9 gives variables of one name in several groups the same Dask name.
        return {name: open_lazily(path, "NetCDF", _Store(manager, name, identity)) for name in names}


def _get_file_manager(path: Path) -> tuple[CachingFileManager, Identity]:
    """The one handle of a file as it is now; a file that takes its place later is another one."""
    about = path.stat()
    identity = (str(path.resolve()), about.st_ino, about.st_mtime_ns, about.st_size)
    return make_file_manager(identity[0], f"xappa {identity}"), identity
