"""NetCDF, HDF5, Zarr and Parquet of reports, read in a process of its own whose crash becomes an error."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from xappa.observations.readers import netcdf_decode, parquet_decode
from xappa.observations.readers.processes import Job, Program
from xappa.progress import show_reading
from xappa.sizes import get_reader_memory

NETCDF = Program(
    netcdf_decode.__file__,
    "xarray",
    "Reading NetCDF needs netCDF4 (or h5netcdf and h5py), which are not installed: pip install netCDF4",
    "NetCDF",
)
ZARR = Program(
    netcdf_decode.__file__, "zarr", "Reading Zarr needs zarr, which is not installed: pip install zarr", "Zarr"
)
PARQUET = Program(
    parquet_decode.__file__,
    "pyarrow",
    'Reading Parquet needs pyarrow, which is not installed: pip install "xappa[obs]"',
    "Parquet",
)


def read_groups_isolated(path: Path) -> dict[str, xr.Dataset]:
    """All groups of a NetCDF file or a Zarr folder, decoded as xarray does; the root is ``"/"``. In memory.

    Raises
    ------
    ObservationError, MissingDependency
        See `Program.run`.
    """
    program, engine = (ZARR, "zarr") if path.is_dir() else (NETCDF, "-")
    with _copy_isolated(program, path, engine, str(get_reader_memory())) as folder:
        header = json.loads((folder / "header.json").read_text(encoding="utf-8"))
        raw = {name: _build_dataset(folder, group) for name, group in header.items()}
    return {name: _decode_dataset(ds).chunk() for name, ds in raw.items()}


def _decode_dataset(raw: xr.Dataset) -> xr.Dataset:
    """As `xarray.open_dataset` decodes, which leaves texts of Zarr in NumPy's StringDType; `decode_cf` does not."""
    ds = xr.decode_cf(raw)
    texts = {name: v.astype(raw[name].dtype) for name, v in ds.variables.items() if raw[name].dtype.kind == "T"}
    return ds.assign(texts)


@contextlib.contextmanager
def copy_parquet_isolated(path: Path) -> Iterator[Path]:
    """A plain copy of a Parquet file.

    Raises
    ------
    ObservationError, MissingDependency
        See `Program.run`.
    """
    with _copy_isolated(PARQUET, path) as copy:
        yield copy


@contextlib.contextmanager
def _copy_isolated(program: Program, path: Path, *options: str) -> Iterator[Path]:
    program.require_package()
    size = path.stat().st_size if path.is_file() else sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "copy"
        with show_reading(size, f"Reading {path.name}") as advance:
            program.run(Job(path, target, options, size, advance))
        yield target


def _build_dataset(folder: Path, group: Mapping[str, Any]) -> xr.Dataset:
    variables = {name: _build_variable(folder, about) for name, about in group["variables"].items()}
    coordinates = [name for name, about in group["variables"].items() if about["coordinate"]]
    return xr.Dataset(variables, attrs=_decode_attrs(group["attrs"])).set_coords(coordinates)


def _build_variable(folder: Path, about: Mapping[str, Any]) -> xr.Variable:
    data: Any = _load_values(folder / about["file"], about)
    if about["kind"] == "string":
        # xarray makes objects of these texts in memory, but leaves what is lazy as it is.
        data = da.from_array(data.astype(np.dtypes.StringDType()), chunks=-1)  # type: ignore[no-untyped-call]
    return xr.Variable(about["dims"], data, _decode_attrs(about["attrs"]))


def _load_values(file: Path, about: Mapping[str, Any]) -> np.ndarray:
    values, kind = np.load(f"{file}.npy"), about["kind"]
    if kind == "plain":
        return values
    ends = np.cumsum(np.load(f"{file}.lengths.npy"))
    found = np.empty(len(ends), object)
    for i, part in enumerate(np.split(values, ends[:-1]) if len(ends) else []):
        found[i] = _decode_element(part, kind)
    return found.reshape(about["shape"])


def _decode_element(part: np.ndarray, kind: str) -> Any:
    if kind in ("str", "string"):
        return part.tobytes().decode("utf-8", "surrogatepass")
    return part.tobytes() if kind == "bytes" else part


def _decode_attrs(told: list[list[Any]]) -> dict[str, Any]:
    """What `netcdf_decode.told` makes of attributes, back."""
    return {name: _decode_value(kind, value) for name, kind, value in told}


def _decode_value(kind: str, value: Any) -> Any:
    if kind == "as it is":
        return value
    if kind == "dict":
        return _decode_attrs(value)
    if kind in ("array", "scalar"):
        dtype, shape, digits = value
        array = np.frombuffer(bytes.fromhex(digits), dtype).reshape(shape).copy()
        return array if kind == "array" else array[()]
    items = [_decode_value(*item) for item in value]
    if kind == "objects":
        return np.array(items, object)
    return tuple(items) if kind == "tuple" else items
