"""NetCDF files and Zarr stores of reports: opened, with what is wrong with them in words."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from xappa.errors import MissingDependency, ObservationError, reading
from xappa.observations.assumptions import with_assumption
from xappa.observations.cf import from_dataset
from xappa.observations.ioda import from_ioda, is_ioda
from xappa.observations.lazy_files import open_lazily
from xappa.observations.names import Naming, listing


def read_netcdf(path: Path, naming: Naming) -> xr.Dataset:
    """Observations from a NetCDF file or a Zarr store: CF, or the groups of IODA.

    Raises
    ------
    ObservationError
        If the file cannot be read, or if its variables are in groups other than IODA's.
    MissingDependency
        If netCDF4 is not installed.
    """
    options = {"engine": "zarr"} if path.is_dir() else {}
    return _read(path, _opened(path, options), naming)


def _read(path: Path, groups: Mapping[str, xr.Dataset], naming: Naming) -> xr.Dataset:
    if is_ioda(groups):
        return from_ioda(groups, naming)
    others = {name: group for name, group in groups.items() if name != "/" and group.data_vars}
    root = groups.get("/", xr.Dataset())
    if others and not root.data_vars:
        raise ObservationError(f"{path}: the variables are in groups. {_advice(others)}")
    try:
        obs = from_dataset(root, naming)
    except ObservationError as error:
        if not others:
            raise
        raise ObservationError(f"{error}. The file has groups, which are not read. {_advice(others)}") from error
    return with_assumption(obs, f"Groups are not read. {_advice(others)}") if others else obs


def _advice(groups: Mapping[str, xr.Dataset]) -> str:
    contents = "; ".join(f"{name} ({listing(group.variables, 6)})" for name, group in groups.items())
    return (
        f"Found {contents}. Expected variables outside groups, or the groups MetaData and ObsValue of IODA. Read the "
        f"group that is meant: xarray.open_dataset(path, group={next(iter(groups))!r}); join several with xarray.merge"
    )


def _group_names(path: Path, options: Mapping[str, Any]) -> list[str]:
    # Not by xarray if it can be helped: HDF5 2.2 crashes where it decodes texts of a file that is open several times.
    if not options and importlib.util.find_spec("netCDF4") is not None:
        import netCDF4

        with netCDF4.Dataset(path) as file:
            return [*_below(file)]
    try:
        return [str(name) for name in xr.open_groups(path, **options)]
    except (NotImplementedError, ValueError):  # NetCDF-3 has no groups
        return []


def _below(group: Any) -> Iterator[str]:
    """Paths of the groups in a group of netCDF4."""
    for inner in group.groups.values():
        yield inner.path
        yield from _below(inner)


def _opened(path: Path, options: Mapping[str, Any]) -> dict[str, xr.Dataset]:
    """All groups of a file, lazily; the root is ``"/"``."""
    kind = "Zarr" if options else "NetCDF"
    try:
        whole = open_lazily(path, kind, **options)
        with reading(
            path, kind, ObservationError, "Expected a whole file: fetch or write it again", passes=ImportError
        ):
            names = [name for name in _group_names(path, options) if name != "/"]
        # One by one: xarray 2026.9 gives variables of one name in several groups the same Dask name.
        return {"/": whole} | {name: open_lazily(path, kind, group=name, **options) for name in names}
    except (ImportError, ObservationError) as error:
        if isinstance(error, ImportError) or "not be installed" in str(error):
            raise MissingDependency(
                f"{path}: reading {kind} needs netCDF4 (or h5netcdf and h5py), which are not installed: "
                "pip install netCDF4"
            ) from error
        raise
