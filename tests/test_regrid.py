"""Regridding of Datasets: against CDO, and by what must hold on any grid."""

from __future__ import annotations

import subprocess

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

import xappa
from tests import cdo
from xappa.errors import DatasetError, ModelError, OptionError
from xappa.grids.regrid import Grid, weights_between
from xappa.grids.regrid.rows import latitude_cells, longitude_cells
from xappa.grids.regrid.sphere import unit
from xappa.tasks.regrid import onto

METHODS = ("bilinear", "conservative", "nearest")
CASES = [(s, t, m) for s in cdo.SOURCES for t in cdo.TARGETS for m in METHODS]


def on(latitude, longitude, values) -> xr.Dataset:
    return cdo.lonlat(np.asarray(latitude, float), np.asarray(longitude, float)).assign(f=(("lat", "lon"), values))


def even(rows: int, columns: int, pole: bool = False) -> tuple[np.ndarray, np.ndarray]:
    step = 180 / rows
    latitude = np.linspace(-90, 90, rows) if pole else -90 + step / 2 + step * np.arange(rows)
    return latitude, np.arange(columns) * 360 / columns


def area_mean(ds: xr.Dataset) -> float:
    grid = Grid.of(ds)
    south, north = (np.sin(np.radians(edge)) for edge in latitude_cells(grid.latitude))
    west, east, _ = longitude_cells(grid.longitude)
    area = (north - south)[:, None] * (east - west)
    return float((ds["f"].values * area).sum() / area.sum())


def untied(ds: xr.Dataset, grid: xr.Dataset) -> np.ndarray:
    """Targets that one source is nearer to than all others."""
    sources, targets = (unit(*Grid.of(g).points) for g in (ds, grid))
    distance = cKDTree(sources).query(targets, k=2)[0]
    return (np.diff(distance, axis=1)[:, 0] > 1e-9).reshape(Grid.of(grid).shape)


# --- another tool's output --------------------------------------------------------------------------------------------


def agree(name: str, onto_grid: str, method: str, theirs: np.ndarray, tolerance: float) -> None:
    ds, grid = cdo.source(name), cdo.target(onto_grid)
    ours = ds.appa.regrid(grid, method, min_valid=0)["f"].values
    compared = np.isfinite(ours) & np.isfinite(theirs)
    if method == "nearest":
        compared &= untied(ds, grid)  # a tie may be broken either way; CDO has the nearest however far away it is
    elif method == "bilinear" and name == "gaussian":
        # Beyond the last row CDO takes the mean of the four nearest points, we go on to the pole.
        latitude = Grid.of(grid).points[0].reshape(ours.shape)
        compared &= np.abs(latitude) <= ds.lat.values.max()
    elif method == "conservative" and "gaussian" in (name, onto_grid):
        # On Gaussian grids as coarse as these, cells of the last row end before the pole in CDO.
        compared &= np.abs(Grid.of(grid).points[0].reshape(ours.shape)) < 65
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
    assert Grid.of(ds).kind == "reduced"
    ours = ds.appa.regrid(cdo.lonlat(regular.lat.values, regular.lon.values))["f"].values
    assert np.abs(ours - regular.values).max() < 1e-2  # the table has five digits


# --- what must hold ---------------------------------------------------------------------------------------------------


@st.composite
def grids(draw, least: int = 2) -> xr.Dataset:
    rows, columns = draw(st.integers(least + 1, 12)), draw(st.integers(4, 15))
    latitude, longitude = even(rows, columns, pole=draw(st.booleans()))
    longitude = np.roll(longitude - draw(st.sampled_from([0, 180, 3.7])), draw(st.integers(0, 3)))
    return cdo.lonlat(latitude[:: draw(st.sampled_from([1, -1]))], longitude)


@given(source=grids(), target=grids(), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_conservative_keeps_the_area_mean(source, target, seed):
    values = np.random.default_rng(seed).normal(280, 20, (source.lat.size, source.lon.size))
    ds = source.assign(f=(("lat", "lon"), values))
    assert area_mean(ds.appa.regrid(target, "conservative")) == pytest.approx(area_mean(ds), rel=1e-12)


@given(source=grids(), target=grids(), method=st.sampled_from(METHODS))
@settings(max_examples=40)
def test_a_constant_stays_itself_from_pole_to_pole(source, target, method):
    ds = source.assign(f=(("lat", "lon"), np.full((source.lat.size, source.lon.size), 7.0)))
    np.testing.assert_allclose(ds.appa.regrid(target, method)["f"], 7, rtol=1e-13)


@given(source=grids(least=3), target=grids(), method=st.sampled_from(METHODS), shift=st.integers(0, 14))
@settings(max_examples=30)
def test_order_and_convention_of_the_source_do_not_matter(source, target, method, shift):
    values = np.random.default_rng(0).normal(size=(source.lat.size, source.lon.size))
    ds = source.assign(f=(("lat", "lon"), values))
    other = ds.isel(lat=slice(None, None, -1)).roll(lon=shift, roll_coords=True)
    other = other.assign_coords(lon=("lon", (other.lon.values + 180) % 360 - 180, cdo.ATTRS["lon"]))
    ours, theirs = (d.appa.regrid(target, method)["f"].values for d in (ds, other))
    if method == "nearest":
        kept = untied(ds, target)
        ours, theirs = ours[kept], theirs[kept]
    np.testing.assert_allclose(ours, theirs, atol=1e-8)  # longitudes are compared to nine decimals


def test_bilinear_is_exact_for_what_is_linear_in_latitude():
    latitude, longitude = even(18, 36)
    ds = on(latitude, longitude, np.repeat(latitude[:, None], 36, axis=1) * 2 + 1)
    places = np.array([-84.9, -10.1, 0, 33.3, 85])
    out = ds.appa.regrid(cdo.lonlat(places, np.arange(-179.5, 180, 7)))["f"]
    np.testing.assert_allclose(out, np.repeat(places[:, None] * 2 + 1, 52, axis=1), rtol=1e-12)


def test_the_pole_is_one_place():
    latitude, longitude = even(18, 36)
    values = np.random.default_rng(1).normal(size=(18, 36))
    out = on(latitude, longitude, values).appa.regrid(cdo.lonlat([-90.0, 87.5, 90.0], [0.0, 50.0, 200.0]))["f"].values
    np.testing.assert_allclose(out[0], values[0].mean())
    np.testing.assert_allclose(out[2], values[-1].mean())
    between = on(latitude, longitude, values).appa.regrid(cdo.lonlat([85.0], [0.0, 50.0, 200.0]))["f"].values
    np.testing.assert_allclose(out[1], (between[0] + values[-1].mean()) / 2)


def test_wind_over_the_pole_is_one_vector():
    latitude, longitude = even(18, 36)
    turn = np.radians(longitude)
    u, v = 3 * np.cos(turn) + np.sin(turn), np.cos(turn) - 3 * np.sin(turn)  # one vector, in components that turn
    full = {"u_component_of_wind": u, "northward": v, "temperature": u}
    ds = cdo.lonlat(latitude, longitude).assign(
        {name: (("lat", "lon"), np.repeat(values[None], 18, axis=0)) for name, values in full.items()}
    )
    ds["northward"].attrs["standard_name"] = "northward_wind"
    out = ds.appa.regrid(cdo.lonlat([88.0, 90.0], longitude))
    for name, values in (("u_component_of_wind", u), ("northward", v)):
        np.testing.assert_allclose(out[name], np.repeat(values[None], 2, axis=0), atol=1e-12)
    np.testing.assert_allclose(out["temperature"][1], 0, atol=1e-12)
    holed = ds.where(ds.lat < 80).appa.regrid(cdo.lonlat([90.0, 79.0], longitude))
    assert holed["u_component_of_wind"][0].isnull().all() and holed["u_component_of_wind"][1].notnull().all()


@pytest.mark.parametrize("method", METHODS)
def test_a_part_of_the_globe_gives_nothing_outside(method):
    ds = on(np.arange(30.0, 61, 2), np.arange(-20.0, 41, 2), np.ones((16, 31)))
    latitude, longitude = np.arange(-90.0, 91, 3), np.arange(0.0, 360, 3)
    out = ds.appa.regrid(cdo.lonlat(latitude, longitude), method, min_valid=0.01)["f"]
    east = (longitude + 180) % 360 - 180
    reach = {"bilinear": 0.0, "conservative": 2.4, "nearest": 1.0}[method]
    inside = np.outer((latitude >= 30 - reach) & (latitude <= 60 + reach), (east >= -20 - reach) & (east <= 40 + reach))
    assert (out.notnull().values == inside).all()
    np.testing.assert_allclose(out.values[inside], 1)


@given(seed=st.integers(0, 999), share=st.floats(0, 1), method=st.sampled_from(METHODS), single=st.booleans())
@settings(max_examples=40)
def test_missing_values_pass_their_weight_on(seed, share, method, single):
    rng = np.random.default_rng(seed)
    source, target = cdo.lonlat(*even(9, 12)), cdo.lonlat(*even(7, 10, pole=True))
    values = rng.normal(size=(2, 9, 12)) + 5
    values[rng.random(values.shape) < 0.3] = np.nan
    values = values.astype("f4" if single else "f8")
    ds = source.assign(f=(("time", "lat", "lon"), values))
    matrix = weights_between(Grid.of(source), Grid.of(target), method).matrix.toarray()
    flat = values.reshape(2, -1).astype(float)
    valid = np.isfinite(flat) @ matrix.T
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.where(valid >= np.maximum(share, 1e-9), np.nan_to_num(flat) @ matrix.T / valid, np.nan)
    kept = np.abs(valid - share) > 1e-6  # on the threshold itself rounding decides
    out = ds.appa.regrid(target, method, min_valid=share)["f"].values
    assert out.dtype == values.dtype
    np.testing.assert_allclose(out.reshape(2, -1)[kept], expected[kept], rtol=2e-6 if single else 1e-12)


# --- reduced and curvilinear grids ------------------------------------------------------------------------------------


def as_list(ds: xr.Dataset) -> xr.Dataset:
    return ds.stack(point=("lat", "lon")).reset_index("point")


def as_curvilinear(ds: xr.Dataset) -> Grid:
    grid = Grid.of(ds)
    latitude, longitude = (p.reshape(grid.shape) for p in grid.points)
    return Grid("curvilinear", latitude, longitude, grid.shape, ("y", "x"))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pole", [False, True])
def test_rows_as_a_list_are_the_same_grid(method, pole):
    ds = on(*even(18, 36, pole), np.random.default_rng(2).normal(size=(18, 36)))
    target = cdo.lonlat(np.linspace(-89, 89, 14), np.arange(20) * 18.0 + 1.3)
    listed = as_list(ds)
    assert Grid.of(listed).kind == "reduced"
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
    south, north = (np.sin(np.radians(edge)) for edge in latitude_cells(latitude))
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
    there = weights_between(Grid.of(fine), Grid.of(curved), "conservative")
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


# --- labels -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def labelled() -> xr.Dataset:
    latitude, longitude = even(18, 36)
    ds = cdo.lonlat(latitude[::-1], longitude).assign_coords(time=np.arange(3), level=("level", [500, 850]))
    values = np.random.default_rng(6).normal(size=(18, 3, 2, 36)).astype("f4")
    ds["t"] = (("lat", "time", "level", "lon"), values, {"units": "K", "grid_mapping": "crs"})
    ds["mask"] = (("lat", "lon"), values[:, 0, 0] > 0)
    ds["count"] = (("time",), [1, 2, 3])
    ds["lat_bnds"] = (("lat", "bnds"), np.stack(latitude_cells(ds.lat.values), axis=1))
    ds["lat"].attrs["bounds"] = "lat_bnds"
    return ds


def test_dimensions_names_attributes_and_types(labelled):
    out = labelled.appa.regrid(10)
    assert out["t"].dims == ("lat", "time", "level", "lon") and out["t"].dtype == "f4"
    assert out["t"].attrs == {"units": "K"} and out.attrs["regrid_method"] == "bilinear"
    assert (out["count"] == labelled["count"]).all() and set(out.data_vars) == {"t", "mask", "count"}
    assert out["lat"].values[0] == 90 and out["lat"].attrs["units"] == "degrees_north"
    assert out["mask"].dtype == float
    assert labelled.appa.regrid(10, "nearest")["mask"].dtype == bool
    assert "bounds" in labelled["lat"].attrs and "grid_mapping" in labelled["t"].attrs


def test_targets(labelled):
    assert labelled.appa.regrid(30)["lon"].values.tolist() == list(range(0, 360, 30))
    west = labelled.assign_coords(lon=("lon", (labelled.lon.values + 180) % 360 - 180)).sortby(["lat", "lon"])
    out = west.appa.regrid(30)
    assert out.lon.values[0] == -180 and out.lat.values[0] == -90
    assert (
        np.allclose(labelled.appa.regrid("F4").lat, cdo.gaussian_rows(4)) and labelled.appa.regrid("F4").lon.size == 16
    )
    model = xappa.template("2020-01-01", "2020-01-01")
    for name in ("model", "speedy"):
        out = labelled.appa.regrid(name)
        assert out.lat.size == model.latitude.size and out.lat.values[0] > out.lat.values[-1]
    assert np.array_equal(np.sort(out.lat), np.sort(model.latitude))
    region = labelled.sel(lat=slice(60, 20), lon=slice(20, 100))
    out = region.appa.regrid(5)
    assert out.lat.values.tolist() == list(np.arange(60, 19, -5.0)) and out.lon.values.tolist() == list(
        range(20, 101, 5)
    )


def test_the_same_grid_is_left_as_it_is(labelled):
    for method in METHODS:
        xr.testing.assert_equal(labelled.appa.regrid(labelled, method)["t"], labelled["t"])
    assert onto(labelled, labelled) is labelled


def test_a_meridian_that_is_there_twice_counts_once():
    latitude, longitude = even(9, 12)
    values = np.random.default_rng(7).normal(size=(9, 12))
    ds, target = on(latitude, longitude, values), cdo.lonlat(*even(7, 10))
    closed = on(latitude, np.append(longitude, 360.0), np.concatenate([values, values[:, :1]], axis=1))
    for method in METHODS:
        np.testing.assert_allclose(
            closed.appa.regrid(target, method)["f"], ds.appa.regrid(target, method)["f"], rtol=1e-12
        )
        out = ds.appa.regrid(closed, method)["f"]
        np.testing.assert_allclose(out[:, 0], out[:, -1])


def test_dask_stays_lazy_and_gives_the_same(labelled):
    import dask

    labelled["t"][0, 0] = np.nan
    lazy = labelled.chunk({"time": 2, "lat": 7, "lon": 20}).assign(lat_bnds=labelled["lat_bnds"])
    for target in (10, as_list(cdo.lonlat(*even(4, 5)).assign(f=(("lat", "lon"), np.zeros((4, 5)))))):
        with dask.config.set(scheduler=_refuse):
            out = lazy.appa.regrid(target)
            again = lazy.appa.regrid(target)
        assert out["t"].data.name == again["t"].data.name
        assert out["t"].data.name != lazy.appa.regrid(target, min_valid=1)["t"].data.name
        assert out["t"].chunksizes["time"] == (2, 1)
        xr.testing.assert_identical(out.compute(scheduler="sync"), labelled.appa.regrid(target))


def _refuse(*args, **kwargs):
    raise AssertionError("computed at the call")


# --- grid="ds" --------------------------------------------------------------------------------------------------------


def test_analysis_on_the_users_grid(tiny_model):
    template = xappa.template("2020-01-01", "2020-01-02", model=str(tiny_model))
    name = "2m_temperature"
    latitude, longitude = np.arange(80.0, -81, -20), np.arange(-180.0, 180, 30)
    shape = (template.time.size, len(latitude), len(longitude))
    ds = cdo.lonlat(latitude, longitude).assign_coords(time=template.time)
    ds[name] = (("time", "lat", "lon"), np.zeros(shape), template[name].attrs)
    rows = {"time": template.time.values[:2], "lat": [10.0, -33.0], "lon": [5.0, 359.0], "variable": name}
    obs = pd.DataFrame({**rows, "observation": [287.0, 283.0], "error": 0.5})
    options = {"model": str(tiny_model), "seed": 0, "steps": 2, "quality": "none", "progress": False}
    mine, models = (ds.appa.assimilate(obs, grid=grid, **options) for grid in ("ds", "model"))
    assert mine[name].chunks is not None
    assert np.array_equal(mine.lat, latitude) and np.array_equal(mine.lon, longitude)
    assert mine.attrs["regrid_method"] == "bilinear" and "regrid_method" not in models.attrs
    np.testing.assert_allclose(mine[name].values, models.appa.regrid(ds)[name].values, rtol=1e-5)
    assert int(xappa.diagnostics(mine)["reports"].sum()) == int(xappa.diagnostics(models)["reports"].sum())
    with pytest.raises(OptionError, match="expected one of 'model', 'ds'"):
        ds.appa.assimilate(obs, grid="mine", **options)


# --- wrong input ------------------------------------------------------------------------------------------------------


def test_what_cannot_be_regridded_is_said_at_once(labelled):
    labelled["zonal"] = ("lat", np.zeros(18))
    labelled["name"] = (("lat", "lon"), np.full((18, 36), "x"))
    other = xr.Dataset(coords={"lat": (("time", "x"), np.zeros((2, 2))), "lon": (("time", "x"), np.eye(2))})
    with pytest.raises(DatasetError) as caught:
        labelled.appa.regrid(other)
    text = str(caught.value)
    assert all(part in text for part in ("'zonal'", "'name' (<U1)", "dimensions 'time'")), text
    with pytest.raises(DatasetError, match="no variable has the dimensions"):
        cdo.lonlat(*even(4, 5)).appa.regrid(10)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"target": 7}, OptionError, "divides 180"),
        ({"target": -1}, OptionError, "divides 180"),
        ({"target": True}, OptionError, "expected a Dataset"),
        ({"target": None}, OptionError, "neither target= nor weights="),
        ({"target": "no-such-model"}, ModelError, "no-such-model"),
        ({"target": 10, "method": "cubic"}, OptionError, "'bilinear', 'conservative', 'nearest'"),
        ({"target": 10, "min_valid": 1.5}, OptionError, "from 0 to 1"),
        ({"target": 10, "backend": "esmf"}, OptionError, "'xesmf'"),
        ({"target": xr.Dataset({"a": 1})}, DatasetError, "no latitude axis"),
        ({"target": xr.Dataset(coords={"lat": 1.0, "lon": 2.0})}, DatasetError, "one dimension each"),
        ({"target": xr.Dataset(coords={"lat": [91.0, 92], "lon": [0.0, 1]})}, DatasetError, "beyond 90"),
    ],
)
def test_wrong_arguments(labelled, arguments, error, message):
    with pytest.raises(error, match=message):
        labelled.appa.regrid(**arguments)


def test_places_have_no_cells_and_no_neighbours():
    rng = np.random.default_rng(8)
    ds = xr.Dataset(
        {"f": ("station", rng.normal(size=30))},
        coords={"lat": ("station", rng.uniform(-60, 60, 30)), "lon": ("station", rng.uniform(0, 360, 30))},
    )
    for method, advice in (("bilinear", "method='nearest'"), ("conservative", "bounds")):
        with pytest.raises(DatasetError, match=advice):
            ds.appa.regrid(30, method)
    here = ds.appa.regrid(ds, "nearest")["f"]
    assert np.array_equal(here, ds["f"])
