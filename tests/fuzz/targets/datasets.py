"""Datasets of reports in memory, as NetCDF (3 and 4, IODA) and as Zarr stores."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import xarray as xr

from tests.fuzz.labelled import mutate_dataset
from tests.fuzz.mutators import mutate_bytes, mutate_tree
from tests.fuzz.oracle import absurd_reports, remarked_reports
from tests.fuzz.target import Target
from tests.fuzz.targets.delimited import read
from tests.fuzz.targets.tables import seeds as tables
from tests.test_observations_ioda import LEVELS, SONDE, write
from xappa.observations import read_observations

WORDS = (
    "time", "latitude", "longitude", "lat", "lon", "level", "pressure", "altitude", "height", "depth", "station",
    "period", "t2m", "msl", "2m_temperature", "temperature", "2m_temperature_error", "2m_temperature_flag", "t2m_qc",
    "u10", "v10", "wind_speed", "wind_direction", "total_precipitation", "sst", "obs", "source", "channel",
    "time_bounds", "rowSize", "x", "t2m_error",
)  # fmt: skip

_TEMPERATURE = {"units": "K", "standard_name": "air_temperature", "long_name": "2 metre temperature"}
_PRESSURE = {"units": "Pa", "standard_name": "air_pressure_at_mean_sea_level"}


def _coordinate(dims: str | tuple[str, ...], values: object, name: str, units: str = "") -> xr.Variable:
    return xr.Variable(dims, np.asarray(values), {"standard_name": name} | ({"units": units} if units else {}))


def points() -> xr.Dataset:
    """Reports along one dimension, with errors and quality codes."""
    size = 6
    ds = xr.Dataset(
        {
            "t2m": ("x", 280.0 + np.arange(size), _TEMPERATURE | {"ancillary_variables": "t2m_error t2m_qc"}),
            "t2m_error": ("x", np.ones(size), {"units": "K", "standard_name": "air_temperature standard_error"}),
            "t2m_qc": (
                "x",
                np.array([0, 0, 1, 0, 0, 0], "i1"),
                {"flag_values": np.array([0, 1], "i1"), "flag_meanings": "good bad"},
            ),
            "msl": ("x", 101000.0 + 100 * np.arange(size), _PRESSURE),
        },
        {
            "time": (
                "x",
                np.datetime64("2018-11-02T12", "ns") + np.arange(size) * np.timedelta64(1, "h"),
                {"standard_name": "time"},
            ),
            "lat": _coordinate("x", 50.0 + np.arange(size), "latitude", "degrees_north"),
            "lon": _coordinate("x", 8.0 + np.arange(size), "longitude", "degrees_east"),
            "altitude": _coordinate("x", 100.0 * np.arange(size), "altitude", "m"),
            "station": ("x", [f"S{k}" for k in range(size)], {"cf_role": "timeseries_id"}),
        },
        {"Conventions": "CF-1.11", "featureType": "point"},
    )
    return ds


def series() -> xr.Dataset:
    """Stations by times, with bounds and a daily mean."""
    days = np.datetime64("2018-11-02", "ns") + np.arange(3) * np.timedelta64(1, "D")
    return xr.Dataset(
        {
            "t2m": (
                ("station", "time"),
                280.0 + np.arange(6).reshape(2, 3),
                _TEMPERATURE | {"cell_methods": "time: mean"},
            ),
            "rain": (
                ("station", "time"),
                np.arange(6.0).reshape(2, 3),
                {"units": "mm", "standard_name": "precipitation_amount", "cell_methods": "time: sum"},
            ),
            "time_bounds": (("time", "nv"), np.stack([days, days + np.timedelta64(1, "D")], 1)),
        },
        {
            "time": ("time", days, {"standard_name": "time", "bounds": "time_bounds"}),
            "lat": _coordinate("station", [50.0, 51.0], "latitude", "degrees_north"),
            "lon": _coordinate("station", [8.0, 9.0], "longitude", "degrees_east"),
            "alt": _coordinate("station", [100.0, 200.0], "height", "m"),
        },
        {"featureType": "timeSeries"},
    )


def profiles() -> xr.Dataset:
    """Soundings on pressures, as a ragged array."""
    return xr.Dataset(
        {
            "temp": ("obs", [280.0, 270.0, 250.0, 281.0, 252.0], {"units": "K", "standard_name": "air_temperature"}),
            "wind": ("obs", [3.0, 8.0, 20.0, 4.0, 18.0], {"units": "m s-1", "standard_name": "wind_speed"}),
            "dir": (
                "obs",
                [30.0, 80.0, 200.0, 40.0, 180.0],
                {"units": "degree", "standard_name": "wind_from_direction"},
            ),
            "rowSize": ("profile", [3, 2], {"sample_dimension": "obs"}),
        },
        {
            "pres": _coordinate("obs", [1000.0, 850.0, 500.0, 1000.0, 500.0], "air_pressure", "hPa"),
            "time": (
                "profile",
                np.array(["2018-11-02T00", "2018-11-02T12"], "datetime64[ns]"),
                {"standard_name": "time"},
            ),
            "lat": _coordinate("profile", [50.0, 51.0], "latitude", "degrees_north"),
            "lon": _coordinate("profile", [8.0, 9.0], "longitude", "degrees_east"),
        },
        {"featureType": "profile"},
    )


def swath() -> xr.Dataset:
    """Winds of a scatterometer on two-dimensional places."""
    lat, lon = np.meshgrid([50.0, 51.0], [8.0, 9.0, 10.0], indexing="ij")
    return xr.Dataset(
        {
            "wind_speed": (("row", "cell"), 5.0 + lat * 0, {"units": "m s-1", "standard_name": "wind_speed"}),
            "wind_dir": (("row", "cell"), lon * 10, {"units": "degree", "standard_name": "wind_to_direction"}),
        },
        {
            "time": ("row", np.array(["2018-11-02T00", "2018-11-02T01"], "datetime64[ns]"), {"standard_name": "time"}),
            "lat": _coordinate(("row", "cell"), lat, "latitude", "degrees_north"),
            "lon": _coordinate(("row", "cell"), lon, "longitude", "degrees_east"),
        },
    )


def product() -> xr.Dataset:
    """A gridded product, packed."""
    values = (280.0 + np.arange(12).reshape(1, 3, 4)).astype("f4")
    ds = xr.Dataset(
        {"sst": (("time", "lat", "lon"), values, {"units": "K", "standard_name": "sea_surface_temperature"})},
        {
            "time": ("time", np.array(["2018-11-02"], "datetime64[ns]"), {"standard_name": "time"}),
            "lat": _coordinate("lat", [-1.0, 0.0, 1.0], "latitude", "degrees_north"),
            "lon": _coordinate("lon", [0.0, 1.0, 2.0, 3.0], "longitude", "degrees_east"),
        },
    )
    ds["sst"].encoding = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 273.15, "_FillValue": -32768}
    return ds


def seeds(folder: Path) -> Sequence[xr.Dataset]:
    frames = tables(folder)
    return [
        points(),
        series(),
        profiles(),
        swath(),
        product(),
        read_observations(frames[1]),
        read_observations(frames[3], units={"total_precipitation": "mm"}),
    ]


def mutate(seed: xr.Dataset, rng: random.Random, folder: Path) -> xr.Dataset:
    return mutate_dataset(seed, rng, WORDS)


def read_dataset(ds: xr.Dataset) -> xr.Dataset:
    return read_observations(ds).load()


def undecoded(folder: Path) -> Sequence[xr.Dataset]:
    """The Datasets as they are in files: packed, with units of time."""
    found = []
    for k, ds in enumerate(seeds(folder)):
        ds.to_netcdf(folder / f"{k}.nc")
        found.append(xr.load_dataset(folder / f"{k}.nc", decode_cf=False))
    return found


def mutate_contents(seed: xr.Dataset, rng: random.Random, folder: Path) -> Path:
    """A sound NetCDF file with damaged contents."""
    path, kind = folder / "reports.nc", rng.choice(("NETCDF4", "NETCDF4", "NETCDF3_64BIT"))
    for _ in range(20):
        with suppress(Exception):
            mutate_dataset(seed, rng, WORDS).to_netcdf(path, format=kind)
            return path
    seed.to_netcdf(path)
    return path


def files(folder: Path) -> Sequence[bytes]:
    """NetCDF files of all forms, and IODA."""
    paths = []
    for k, ds in enumerate(seeds(folder)):
        for kind in ("NETCDF4", "NETCDF3_64BIT"):
            paths.append(folder / f"{k}_{kind}.nc")
            ds.to_netcdf(paths[-1], format=kind)
    paths.append(write(folder / "sondes.nc", SONDE, LEVELS, ObsError={"airTemperature": [0.8, 0.9, np.nan]}))
    return [path.read_bytes() for path in paths]


def mutate_file(seed: bytes, rng: random.Random, folder: Path) -> Path:
    path = folder / "reports.nc"
    path.write_bytes(mutate_bytes(seed, rng))
    return path


def stores(folder: Path) -> Sequence[Path]:
    paths = []
    for k, ds in enumerate(seeds(folder)):
        for version in (2, 3):
            paths.append(folder / f"{k}_{version}.zarr")
            ds.to_zarr(paths[-1], zarr_format=version, consolidated=version == 2)
    return paths


def mutate_store(seed: Path, rng: random.Random, folder: Path) -> Path:
    """A copy of a store, with damaged metadata, chunks or files."""
    path = folder / "reports.zarr"
    shutil.copytree(seed, path)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        every = sorted(file for file in path.rglob("*") if file.is_file())
        metadata = [file for file in every if file.name in ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")]
        file = rng.choice(metadata if metadata and rng.random() < 0.7 else every or [path / "zarr.json"])
        if not file.exists() or rng.random() < 0.08:
            file.unlink(missing_ok=True)
        elif file in metadata and rng.random() < 0.8:
            with suppress(ValueError):
                tree = json.loads(file.read_text())
                file.write_text(json.dumps(mutate_tree(tree, rng)))
        else:
            file.write_bytes(mutate_bytes(file.read_bytes(), rng))
    return path


TARGETS = [
    Target("dataset", seeds, mutate, read_dataset, absurd_reports, remarked_reports),
    Target("netcdf", undecoded, mutate_contents, read, absurd_reports, remarked_reports),
    Target("netcdf-bytes", files, mutate_file, read, absurd_reports, remarked_reports),
    Target("zarr-reports", stores, mutate_store, read, absurd_reports, remarked_reports),
]
