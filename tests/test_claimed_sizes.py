"""Sizes that a header claims beyond what its file can hold are refused before memory is taken for them."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import xappa
from xappa.errors import DatasetError, ModelError, ObservationError, OptionError
from xappa.grids.regrid.files import read_weights
from xappa.model.appa.statistics import read_levels
from xappa.model.directory import _read_statistics
from xappa.observations import read_observations
from xappa.sizes import MOST_COMPRESSED, get_machine_memory, get_reader_memory, require_size, require_zarr_sizes

MANY = 10**12
REMEDY = r"claims .* bytes in memory.*set_options\(reader_memory=\.\.\.\)"


def netcdf(path, name: str, size: int = MANY, dim: str = "obs", **options):
    """A small file with a variable of which nothing is written."""
    import netCDF4

    with netCDF4.Dataset(path, "w") as file:
        place = file
        *groups, name = name.split("/")
        for group in groups:
            place = place.createGroup(group)
        file.createDimension(dim, size)
        place.createVariable(name, "f8", (dim,), chunksizes=(1000,), **options)
    assert path.stat().st_size < 100_000
    return path


@pytest.mark.parametrize("name", ["t2m", "latitude", "obs", "time", "ObsValue/airTemperature"])
def test_dimensions_of_netcdf(tmp_path, name):
    with pytest.raises(ObservationError, match=REMEDY) as caught:
        read_observations(netcdf(tmp_path / "a.nc", name, zlib=True))
    assert all(
        text in str(caught.value) for text in (str(tmp_path / "a.nc"), name, "8e+12", f"{MOST_COMPRESSED} times")
    )


def test_dimensions_of_netcdf_that_is_read_apart(tmp_path):
    with xappa.set_options(isolate_readers=True), pytest.raises(MemoryError, match=r"claim 8e\+12 bytes.*"):
        read_observations(netcdf(tmp_path / "a.nc", "t2m"))


def test_what_the_file_can_hold_is_read_beyond_the_limit_too(tmp_path):
    ds = xr.Dataset(
        {"t2m": ("obs", np.full(10_000, 280.0), {"units": "K"})},
        {"time": ("obs", np.full(10_000, np.datetime64("2024-01-01", "ns"))), "lat": ("obs", np.zeros(10_000))},
    ).assign_coords(lon=("obs", np.linspace(0, 90, 10_000)))
    ds.to_netcdf(tmp_path / "a.nc")
    ds.to_zarr(tmp_path / "a.zarr")
    with xappa.set_options(reader_memory=1000):
        assert read_observations(tmp_path / "a.nc").sizes["obs"] == 10_000
        assert read_observations(tmp_path / "a.zarr").sizes["obs"] == 10_000


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    ("shape", "chunks", "dtype"),
    [
        ((MANY,), (1000,), "f8"),
        ((10,), (MANY,), "f4"),
        ((10**6, 10**6), (10, 10), "i1"),
        ((10,), (10,), "<U500000000"),
    ],
    ids=["shape", "chunk", "product", "element"],
)
def test_shapes_of_zarr(tmp_path, zarr_format, shape, chunks, dtype):
    array = {"shape": [1], "chunks": [1], "dtype": "<f8"}
    zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=zarr_format).create_array("t2m", **array)
    file = tmp_path / "a.zarr" / "t2m" / ("zarr.json" if zarr_format == 3 else ".zarray")
    metadata = json.loads(file.read_text()) | {"shape": shape}
    if zarr_format == 2:
        metadata |= {"chunks": chunks, "dtype": dtype}
    else:
        kind = {"f8": "float64", "f4": "float32", "i1": "int8"}
        text = {"name": "fixed_length_utf32", "configuration": {"length_bytes": 2 * 10**9}}
        metadata["chunk_grid"]["configuration"]["chunk_shape"] = chunks
        metadata["data_type"] = kind.get(dtype, text)
    file.write_text(json.dumps(metadata))
    with xappa.set_options(reader_memory=1e9), pytest.raises(ObservationError, match=REMEDY):
        read_observations(tmp_path / "a.zarr")


@pytest.mark.parametrize("metadata", ["[1, 2]", "{", '{"shape": "x", "dtype": 3}', '{"shape": [1], "dtype": "<q7"}'])
def test_metadata_of_zarr_that_claim_nothing(tmp_path, metadata):
    (tmp_path / ".zarray").write_text(metadata)
    require_zarr_sizes(tmp_path, ObservationError)


def test_statistics_of_official_runs(tmp_path):
    group = zarr.open_group(tmp_path / "stats.zarr", mode="w")
    group.create_array("level", shape=(MANY,), chunks=(1000,), dtype="i4")
    with pytest.raises(ModelError, match=REMEDY):
        read_levels(tmp_path / "stats.zarr")


def test_entries_of_weights(tmp_path):
    with pytest.raises(DatasetError, match=REMEDY):
        read_weights(netcdf(tmp_path / "a.nc", "S", dim="n_s"))


@pytest.mark.parametrize("which", ["src", "dst"])
def test_grids_of_weights(tmp_path, which):
    ds = xr.Dataset({"row": ("n_s", [1]), "col": ("n_s", [1]), "S": ("n_s", [1.0])})
    for name in ("src", "dst"):
        ds[f"{name}_grid_dims"] = (f"{name}_rank", [2**31, 2**31] if name == which else [2])
    ds.to_netcdf(tmp_path / "a.nc")
    with pytest.raises(DatasetError, match=REMEDY):
        read_weights(tmp_path / "a.nc")


def test_rows_of_parquet(tmp_path):
    table = pd.DataFrame({"time": "2024-01-01", "lat": 1.0, "lon": 1.0, "t2m": np.full(100_000, 280.0)})
    table.to_parquet(tmp_path / "a.parquet")
    with xappa.set_options(reader_memory=1e5), pytest.raises(ObservationError, match=REMEDY):
        read_observations(tmp_path / "a.parquet")


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
@pytest.mark.parametrize("kind", ["csv", "nc", "bufr"])
def test_packed_files_that_grow_beyond_the_limit(tmp_path, suffix, pack, kind):
    head = {"csv": b"time,lat,lon,t2m\n", "nc": b"CDF\x01", "bufr": b"BUFR\x00\x00\x00\x04"}[kind]
    (tmp_path / f"a.{kind}.{suffix}").write_bytes(pack(head + b"1" * 3_000_000))
    with (
        xappa.set_options(reader_memory=1e6),
        pytest.raises(ObservationError, match="1e.06 bytes when unpacked") as caught,
    ):
        read_observations(tmp_path / f"a.{kind}.{suffix}")
    assert "reader_memory=" in str(caught.value)


def test_tensors_beyond_the_end_of_their_file(tmp_path):
    header = json.dumps({"x": {"dtype": "F32", "shape": [MANY], "data_offsets": [0, 4 * MANY]}}).encode()
    (tmp_path / "statistics.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(100))
    with pytest.raises(ModelError, match=r"statistics\.safetensors cannot be read as safetensors"):
        _read_statistics(tmp_path / "statistics.safetensors")


@pytest.mark.parametrize("call", [xappa.superob, xappa.thin])
def test_cells_that_are_too_small(call):
    table = pd.DataFrame({"time": ["2024-01-01"], "lat": [50.0], "lon": [4.0], "t2m": [280.0]})
    with pytest.raises(OptionError, match="3.6e.11 cells round the globe; expected at most 1000000"):
        call(read_observations(table, units={"t2m": "K"}, error={"t2m": 1.0}), 1e-9)


@pytest.mark.parametrize("target", [1e-9, "F1000000000", "F4001", "F" + "9" * 5000])
def test_grids_that_are_too_fine(target):
    ds = xr.Dataset(
        {"t": (("latitude", "longitude"), np.zeros((3, 4)))}, {"latitude": [-60, 0, 60], "longitude": range(0, 360, 90)}
    )
    with pytest.raises(OptionError, match=r"expected at most"):
        ds.appa.regrid(target)


def test_the_limit_is_the_option_or_half_of_the_machine():
    with xappa.set_options(reader_memory=None):
        assert get_machine_memory() is None or get_reader_memory() == get_machine_memory() / 2
    with xappa.set_options(reader_memory=5):
        assert get_reader_memory() == 5.0
        require_size(5, "a.nc", DatasetError)
        with pytest.raises(DatasetError, match="a.nc claims 6 bytes in memory. Expected at most 5 bytes"):
            require_size(6, "a.nc", DatasetError)
    with xappa.set_options(reader_memory=float("inf")):
        require_size(1e30, "a.nc", DatasetError)
