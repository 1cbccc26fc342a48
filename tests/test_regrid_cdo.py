"""Regridding of Datasets, against CDO."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
import xarray as xr

from tests import cdo
from tests.even_grids import METHODS, on, untied
from xappa.grids.regrid import Grid

CASES = [(s, t, m) for s in cdo.SOURCES for t in cdo.TARGETS for m in METHODS]


def agree(name: str, onto_grid: str, method: str, theirs: np.ndarray, tolerance: float) -> None:
    ds, grid = cdo.source(name), cdo.target(onto_grid)
    ours = ds.appa.regrid(grid, method, min_valid=0)["f"].values
    compared = np.isfinite(ours) & np.isfinite(theirs)
    if method == "nearest":
        compared &= untied(ds, grid)  # a tie may be broken either way; CDO has the nearest however far away it is
    elif method == "bilinear" and name == "gaussian":
        # Beyond the last row CDO takes the mean of the four nearest points, we go on to the pole.
        latitude = Grid.from_dataset(grid).points[0].reshape(ours.shape)
        compared &= np.abs(latitude) <= ds.lat.values.max()
    elif method == "conservative" and "gaussian" in (name, onto_grid):
        # On Gaussian grids as coarse as these, cells of the last row end before the pole in CDO.
        compared &= np.abs(Grid.from_dataset(grid).points[0].reshape(ours.shape)) < 65
    assert compared.sum() > (15 if name == "regional" else 0.4 * compared.size * (onto_grid != "curvilinear"))
    np.testing.assert_allclose(ours[compared], theirs[compared], rtol=0, atol=tolerance * np.nanmax(np.abs(theirs)))
    if method != "nearest":
        # Where one of four points is missing CDO has none; else the same targets have a value.
        extra = np.isfinite(ours) & ~np.isfinite(theirs)
        assert not (np.isfinite(theirs) & ~np.isfinite(ours)).any()
        assert not extra.any() or (name, method) == ("masked", "bilinear")


@pytest.mark.parametrize(("name", "onto_grid", "method"), CASES)
def test_as_cdo_recorded(name, onto_grid, method):
    agree(name, onto_grid, method, cdo.recorded(name, onto_grid, method), 1e-6)


@pytest.mark.skipif(not cdo.available(), reason="CDO is not on the PATH (apt install cdo)")
@pytest.mark.parametrize(("name", "onto_grid", "method"), CASES)
def test_as_cdo_run_now(name, onto_grid, method):
    exact = onto_grid != "curvilinear" or method == "nearest"
    theirs = cdo.run(cdo.source(name), cdo.target(onto_grid), cdo.METHODS[method])
    # Great circles stand in for parallels where cells of the other grid have no edges along them.
    agree(name, onto_grid, method, theirs, 1e-9 if exact else 1e-6)


@pytest.mark.skipif(not cdo.available(), reason="CDO is not on the PATH (apt install cdo)")
@pytest.mark.parametrize(
    ("method", "target"),
    [("bilinear", "quarter"), ("bilinear", "model"), ("nearest", "quarter"), ("conservative", "model")],
)
def test_real_quarter_degree_field_as_cdo(shared, method, target):
    path = shared("real/era5-gust-0p25-20110801/wgust_era5.nc")
    with xr.open_dataset(path, engine="netcdf4") as opened:
        gust = opened["i10fg"].squeeze(drop=True).astype(float).load()
    ds = on(gust.latitude, gust.longitude, gust.values)
    grid = {
        "quarter": lambda: cdo.lonlat(gust.latitude.values[::4], np.arange(120) * 3.0 - 180),
        "model": lambda: cdo.lonlat(cdo.gaussian_rows(16)[::-1], np.arange(96) * 3.75),
    }[target]()
    ours = ds.appa.regrid(grid, method)["f"].values
    theirs = cdo.run(ds, grid, cdo.METHODS[method])
    if method == "nearest" and target == "quarter":
        ours, theirs = ours[1:-1], theirs[1:-1]  # on the poles all meridians are equally near
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 * np.abs(theirs).max())


@pytest.mark.skipif(not cdo.available(), reason="CDO is not on the PATH (apt install cdo)")
def test_real_reduced_gaussian_as_cdo_fills_rows(shared, tmp_path):
    grib = shared("real/ecmwf-small-grids/reduced_gg.grib")
    whole, rows = tmp_path / "regular.nc", tmp_path / "reduced.txt"
    base = ["cdo", "-s", "-b", "F64"]
    subprocess.run([*base, "-f", "nc4", "setgridtype,regular", str(grib), str(whole)], check=True)
    rows.write_text(
        subprocess.run([*base, "outputtab,lat,lon,value", str(grib)], check=True, text=True, capture_output=True).stdout
    )
    table = np.loadtxt(rows, comments="#")
    with xr.open_dataset(whole, engine="netcdf4") as opened:
        regular = next(v for v in opened.data_vars.values() if v.ndim >= 3).squeeze().load()
    ds = xr.Dataset(
        {"f": ("values", table[:, 2])}, coords={"lat": ("values", table[:, 0]), "lon": ("values", table[:, 1])}
    )
    ds = ds.assign_coords(lat=("values", regular.lat.values[np.abs(table[:, :1] - regular.lat.values).argmin(1)]))
    assert Grid.from_dataset(ds).kind == "reduced"
    ours = ds.appa.regrid(cdo.lonlat(regular.lat.values, regular.lon.values))["f"].values
    assert np.abs(ours - regular.values).max() < 1e-2  # the table has five digits
