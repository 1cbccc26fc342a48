"""Regridding from and onto reduced and curvilinear grids."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from tests import cdo
from tests.even_grids import METHODS, area_mean, as_list, even, on, untied
from xappa.grids.regrid import Grid, get_weights
from xappa.grids.regrid.rows import compute_latitude_edges


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pole", [False, True])
def test_rows_as_a_list_are_the_same_grid(method, pole):
    ds = on(*even(18, 36, pole), np.random.default_rng(2).normal(size=(18, 36)))
    target = cdo.lonlat(np.linspace(-89, 89, 14), np.arange(20) * 18.0 + 1.3)
    listed = as_list(ds)
    assert Grid.from_dataset(listed).kind == "reduced"
    kept = untied(ds, target) if method == "nearest" else np.ones((14, 20), bool)
    ours, theirs = (d.appa.regrid(target, method)["f"].values[kept] for d in (listed, ds))
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    back = target.assign(f=(("lat", "lon"), np.random.default_rng(3).normal(size=(14, 20))))
    np.testing.assert_allclose(
        back.appa.regrid(listed, method)["f"].values, back.appa.regrid(ds, method)["f"].values.ravel(), atol=1e-12
    )


def test_reduced_gaussian_grid():
    latitude = cdo.gaussian_rows(16)
    sizes = [20 + 4 * min(i, 31 - i) for i in range(32)]
    phi = np.repeat(latitude, sizes)
    lam = np.concatenate([np.arange(n) * 360 / n for n in sizes])
    field = np.cos(np.radians(phi)) * np.sin(np.radians(2 * lam)) + np.sin(np.radians(phi))
    ds = xr.Dataset({"f": ("values", field)}, coords={"lat": ("values", phi), "lon": ("values", lam)})
    target = cdo.lonlat(*even(20, 40))
    truth = np.cos(np.radians(target.lat)) * np.sin(np.radians(2 * target.lon)) + np.sin(np.radians(target.lat))
    for method, error in (("bilinear", 0.03), ("conservative", 0.05), ("nearest", 0.25)):
        assert np.abs(ds.appa.regrid(target, method)["f"] - truth).max() < error
    south, north = (np.sin(np.radians(edge)) for edge in compute_latitude_edges(latitude))
    area = np.repeat((north - south) / sizes, sizes)
    mean = area_mean(ds.appa.regrid(target, "conservative"))
    assert mean == pytest.approx((field * area).sum() / area.sum(), abs=1e-14)


@pytest.mark.parametrize("method", METHODS)
def test_curvilinear_there_and_back(method):
    truth = lambda g: np.sin(np.radians(g.lat)) + 0.5 * np.cos(np.radians(g.lat)) * np.cos(np.radians(g.lon))  # noqa: E731
    ds = cdo.lonlat(*even(90, 180, pole=True))
    ds["f"] = truth(ds).transpose("lat", "lon")
    curved = cdo.rotated(np.arange(-30.0, 31, 1.5), np.arange(-40.0, 41, 1.5), pole=20.0)
    there = ds.appa.regrid(curved, method)
    assert there["f"].dims == ("y", "x") and set(there.coords) == {"lat", "lon"}
    assert np.abs(there["f"] - truth(curved)).max() < {"bilinear": 2e-3, "conservative": 0.01, "nearest": 0.05}[method]
    bare = curved.drop_vars(["lat_bnds", "lon_bnds"]).assign(f=there["f"])
    back = bare.appa.regrid(ds, method)["f"]
    assert 0.05 < float(back.notnull().mean()) < 0.25
    assert np.abs(back - truth(ds)).max() < (0.1 if method == "nearest" else 0.015)


@pytest.mark.parametrize("method", ["bilinear", "conservative"])
def test_a_curvilinear_grid_over_the_pole_and_the_date_line(method):
    curved = cdo.rotated(np.arange(-20.0, 21, 2), np.arange(-20.0, 21, 2), pole=0.0, meridian=180.0)
    curved = curved.assign(f=(("y", "x"), np.full(curved.lat.shape, 3.0)))
    assert curved.lat.max() > 89.9
    out = curved.appa.regrid(cdo.lonlat(np.arange(74.0, 91, 2), np.arange(0.0, 360, 10)), method)["f"]
    assert out.notnull().all() and np.allclose(out, 3)


def test_cells_of_a_rotated_grid_keep_the_integral():
    # A rotated global grid: its cells cover the sphere, and so do those of rows and columns.
    curved = cdo.rotated(np.arange(-87.5, 90, 5), np.arange(-177.5, 180, 5))
    fine = cdo.lonlat(*even(24, 48))
    fine["f"] = (("lat", "lon"), np.random.default_rng(4).normal(280, 10, (24, 48)))
    there = get_weights(Grid.from_dataset(fine), Grid.from_dataset(curved), "conservative")
    np.testing.assert_allclose(there.total, 1, atol=1e-12)
    edges = np.sin(np.radians(np.arange(-90.0, 91, 5)))
    area = np.repeat(np.diff(edges), 72)
    mean = (there.apply(fine["f"].values).ravel() * area).sum() / area.sum()
    assert mean == pytest.approx(area_mean(fine), rel=1e-6)


def test_two_dimensional_coordinates_of_rows_and_columns_are_rows_and_columns():
    ds = on(*even(6, 8), np.random.default_rng(5).normal(size=(6, 8)))
    latitude, longitude = xr.broadcast(ds.lat, ds.lon)
    flat = xr.Dataset({"f": (("y", "x"), ds.f.values)}).assign_coords(
        lat=(("y", "x"), latitude.values), lon=(("y", "x"), longitude.values)
    )
    target = cdo.lonlat(*even(5, 9, pole=True))
    assert flat.appa.regrid(target)["f"].equals(ds.appa.regrid(target)["f"])
    turned = flat.transpose("x", "y")
    assert turned.appa.regrid(target)["f"].transpose("lat", "lon").equals(ds.appa.regrid(target)["f"])
    assert ds.appa.regrid(flat)["f"].dims == ("y", "x")


def test_points_without_coordinates_are_left_out():
    curved = cdo.rotated(np.arange(-10.0, 11, 2), np.arange(-10.0, 11, 2)).drop_vars(["lat_bnds", "lon_bnds"])
    curved = curved.assign(f=(("y", "x"), np.ones((11, 11))))
    hole = xr.DataArray(np.ones((11, 11), bool), dims=("y", "x"))
    hole[:3, :3] = False
    holed = curved.assign_coords(lat=curved.lat.where(hole), lon=curved.lon.where(hole))
    target = cdo.lonlat(np.arange(38.0, 63), np.arange(5.0, 31))
    for method in METHODS:
        some, all_of_it = (g.appa.regrid(target, method)["f"].notnull() for g in (holed, curved))
        assert 0 < int(some.sum()) < int(all_of_it.sum())
