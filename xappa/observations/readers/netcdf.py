"""NetCDF files and Zarr stores of reports: opened, with what is wrong with them in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import xarray as xr

from xappa.errors import MissingDependency, ObservationError, translate_read_errors
from xappa.observations.assumptions import with_assumption
from xappa.observations.names import NameMap, format_names
from xappa.observations.readers.cf.datasets import from_dataset
from xappa.observations.readers.ioda import from_ioda, is_ioda
from xappa.observations.readers.isolated import read_groups_isolated
from xappa.observations.readers.lazy_files import REMEDY, open_lazily
from xappa.observations.readers.netcdf_decode import has_netcdf4, list_other_group_names
from xappa.observations.readers.netcdf_handles import open_shared_groups
from xappa.options import get_options
from xappa.sizes import require_zarr_sizes


def read_netcdf(path: Path, naming: NameMap) -> xr.Dataset:
    """Observations from a NetCDF file or a Zarr store: CF, or the groups of IODA.

    Raises
    ------
    ObservationError
        If the file cannot be read, or if its variables are in groups other than IODA's.
    MissingDependency
        If netCDF4 is not installed.

    Notes
    -----
    Lazy; with the option ``isolate_readers`` it is read by a process of its own, and in memory.
    """
    if get_options().isolate_readers:
        groups = read_groups_isolated(path)
    else:
        groups = _open_groups(path, "zarr" if path.is_dir() else None)
    return _read(path, groups, naming)


def _read(path: Path, groups: Mapping[str, xr.Dataset], naming: NameMap) -> xr.Dataset:
    if is_ioda(groups):
        return from_ioda(groups, naming)
    others = {name: group for name, group in groups.items() if name != "/" and group.data_vars}
    root = groups.get("/", xr.Dataset())
    if others and not root.data_vars:
        raise ObservationError(f"{path}: the variables are in groups. {_describe_groups(others)}")
    try:
        obs = from_dataset(root, naming)
    except ObservationError as error:
        if not others:
            raise
        raise ObservationError(
            f"{error}. The file has groups, which are not read. {_describe_groups(others)}"
        ) from error
    return with_assumption(obs, f"Groups are not read. {_describe_groups(others)}") if others else obs


def _describe_groups(groups: Mapping[str, xr.Dataset]) -> str:
    contents = "; ".join(f"{name} ({format_names(group.variables, 6)})" for name, group in groups.items())
    return (
        f"Found {contents}. Expected variables outside groups, or the groups MetaData and ObsValue of IODA. Read the "
        f"group that is meant: xarray.open_dataset(path, group={next(iter(groups))!r}); join several with xarray.merge"
    )


def _open_groups(path: Path, engine: str | None) -> dict[str, xr.Dataset]:
    """All groups of a file, lazily; the root is ``"/"``."""
    kind = "NetCDF" if engine is None else "Zarr"
    try:
        with translate_read_errors(f"{path}:", kind, ObservationError, REMEDY, passes=ImportError):
            if engine is None and has_netcdf4():
                return open_shared_groups(path)
            if engine is not None:
                require_zarr_sizes(path, ObservationError)
            # One by one: xarray 2026.9 gives variables of one name in several groups the same Dask name.
            names = ["/", *list_other_group_names(path, engine)]
        return {name: open_lazily(path, kind, engine=engine, group=name) for name in names}
    except (ImportError, ObservationError) as error:
        if isinstance(error, ImportError) or "not be installed" in str(error):
            raise MissingDependency(
                f"{path}: reading {kind} needs netCDF4 (or h5netcdf and h5py), which are not installed: "
                "pip install netCDF4"
            ) from error
        raise
