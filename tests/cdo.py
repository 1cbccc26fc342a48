"""What CDO makes of a field: run where it is installed, else as recorded in ``tests/data/cdo.npz`` (CDO 2.1.1).

``python -m tests.cdo /path/to/shared`` records anew. The fields are real: ECMWF's temperature at 850 hPa of 2024-06-03
on 10 degrees (whole, with a part missing, and a part of the globe) and 10 m wind of 2017-10-18 on the Gaussian grid F8.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

RECORD = Path(__file__).parent / "data" / "cdo.npz"
METHODS = {"bilinear": "remapbil", "conservative": "remapcon", "nearest": "remapnn"}
ATTRS = {"lat": {"units": "degrees_north"}, "lon": {"units": "degrees_east"}}
SOURCES = ("regular", "gaussian", "masked", "regional")
TARGETS = ("regular", "gaussian", "curvilinear")


def available() -> bool:
    """Whether CDO can be run."""
    return shutil.which("cdo") is not None


def lonlat(latitude: np.ndarray, longitude: np.ndarray) -> xr.Dataset:
    """A grid of rows and columns, without fields."""
    return xr.Dataset(coords={"lat": ("lat", latitude, ATTRS["lat"]), "lon": ("lon", longitude, ATTRS["lon"])})


def gaussian_rows(half: int) -> np.ndarray:
    """Latitudes of the Gaussian grid, north to south."""
    return -np.degrees(np.arcsin(np.polynomial.legendre.leggauss(2 * half)[0]))


def rotated(rows: np.ndarray, columns: np.ndarray, pole: float = 39.25, meridian: float = 18.0) -> xr.Dataset:
    """A rotated grid as a curvilinear one, with the corners of its cells."""
    turn = np.radians(90 - pole)

    def turned(phi: np.ndarray, lam: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        phi, lam = np.radians(phi), np.radians(lam)
        x, y, z = np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)
        x, z = x * np.cos(turn) - z * np.sin(turn), x * np.sin(turn) + z * np.cos(turn)
        return np.degrees(np.arcsin(z)), np.degrees(np.arctan2(y, x)) + meridian

    def steps(values: np.ndarray) -> np.ndarray:
        half = np.diff(values[:2]) / 2
        return np.concatenate([values - half, values[-1:] + half])

    latitude, longitude = turned(*np.meshgrid(rows, columns, indexing="ij"))
    corner = turned(*np.meshgrid(steps(rows), steps(columns), indexing="ij"))
    bounds = [np.stack([c[:-1, :-1], c[:-1, 1:], c[1:, 1:], c[1:, :-1]], axis=-1) for c in corner]
    ds = xr.Dataset(
        {"lat_bnds": (("y", "x", "nv"), bounds[0]), "lon_bnds": (("y", "x", "nv"), bounds[1])},
        coords={
            "lat": (("y", "x"), latitude, ATTRS["lat"] | {"bounds": "lat_bnds"}),
            "lon": (("y", "x"), longitude, ATTRS["lon"] | {"bounds": "lon_bnds"}),
        },
    )
    return ds


def target(name: str) -> xr.Dataset:
    """The grids that CDO brought the fields to."""
    return {
        "regular": lambda: lonlat(np.arange(-82.5, 90, 15), np.arange(-175.0, 180, 18)),
        "gaussian": lambda: lonlat(gaussian_rows(6), np.arange(24) * 15.0),
        "curvilinear": lambda: rotated(np.arange(-18.0, 19, 6), np.arange(-20.0, 23, 6)),
    }[name]()


def source(name: str) -> xr.Dataset:
    """The real fields, float64, as variable ``f``."""
    record = np.load(RECORD)
    if name == "gaussian":
        return lonlat(gaussian_rows(8), np.arange(32) * 11.25).assign(f=(("lat", "lon"), record[name].astype(float)))
    field = record["regular"].astype(float)
    ds = lonlat(np.arange(90.0, -91, -10), np.arange(36) * 10.0).assign(f=(("lat", "lon"), field))
    if name == "masked":
        return ds.assign(f=ds.f.where((ds.f < 255) | (ds.f > 270)))
    if name == "regional":
        ds = ds.assign_coords(lon=("lon", (ds.lon.values + 180) % 360 - 180, ATTRS["lon"])).sortby("lon")
        return ds.sel(lat=slice(70, 10), lon=slice(-40, 80))
    return ds


def run(ds: xr.Dataset, grid: xr.Dataset, operator: str) -> np.ndarray:
    """What CDO makes of ``ds.f`` on `grid`."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / name) for name in ("in.nc", "grid.nc", "out.nc")]
        encoding = {"f": {"_FillValue": -9e33, "dtype": "float64"}}
        ds.to_netcdf(paths[0], engine="netcdf4", encoding=encoding)
        shape = grid.lat.shape if grid.lat.ndim == 2 else (grid.lat.size, grid.lon.size)
        dims = grid.lat.dims if grid.lat.ndim == 2 else ("lat", "lon")
        empty = grid.assign(g=(dims, np.zeros(shape), {"coordinates": "lon lat"} if grid.lat.ndim == 2 else {}))
        empty.to_netcdf(paths[1], engine="netcdf4")
        command = ["cdo", "-s", "-b", "F64", f"{operator},{paths[1]}", paths[0], paths[2]]
        subprocess.run(command, check=True, capture_output=True)
        with xr.open_dataset(paths[2], engine="netcdf4", decode_times=False) as out:
            return out["f"].squeeze().values.astype(float)


def recorded(name: str, onto: str, method: str) -> np.ndarray:
    """What CDO made once, in single precision."""
    return np.load(RECORD)[f"{name}_{onto}_{method}"].astype(float)


def main(shared: str) -> None:
    """Record anew."""
    grib = Path(shared) / "real"
    with tempfile.TemporaryDirectory() as folder:
        ten, wind = f"{folder}/ten.nc", f"{folder}/wind.nc"
        pressure = grib / "ecmwf-pl-10deg-202406" / "pl_regular_ll.grib"
        chain = ["seltimestep,1", "-sellevel,85000", "-selname,t"]
        subprocess.run(["cdo", "-s", "-f", "nc4", "-b", "F32", *chain, str(pressure), ten], check=True)
        regular = grib / "ecmwf-small-grids" / "regular_gg_pl.grib"
        subprocess.run(["cdo", "-s", "-f", "nc4", "-b", "F32", "remapcon,n8", str(regular), wind], check=True)
        fields = {}
        for key, path in (("regular", ten), ("gaussian", wind)):
            with xr.open_dataset(path, engine="netcdf4") as ds:
                fields[key] = next(v for v in ds.data_vars.values() if v.ndim >= 3).squeeze().values.astype("f4")
    RECORD.parent.mkdir(exist_ok=True)
    np.savez_compressed(RECORD, **fields)
    made = {
        f"{name}_{onto}_{method}": run(source(name), target(onto), operator).astype("f4")
        for name in SOURCES
        for onto in TARGETS
        for method, operator in METHODS.items()
    }
    np.savez_compressed(RECORD, **fields, **made)


if __name__ == "__main__":
    main(sys.argv[1])
