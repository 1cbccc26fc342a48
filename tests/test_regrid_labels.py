"""Regridding of Datasets: dimensions, names and attributes, targets, laziness, and what wrong input is told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xappa
from tests import cdo
from tests.even_grids import METHODS, as_list, even, on
from xappa.errors import DatasetError, ModelError, OptionError
from xappa.grids.regrid.rows import compute_latitude_edges
from xappa.tasks.regrid import regrid_to_dataset


@pytest.fixture
def labelled() -> xr.Dataset:
    latitude, longitude = even(18, 36)
    ds = cdo.lonlat(latitude[::-1], longitude).assign_coords(time=np.arange(3), level=("level", [500, 850]))
    values = np.random.default_rng(6).normal(size=(18, 3, 2, 36)).astype("f4")
    ds["t"] = (("lat", "time", "level", "lon"), values, {"units": "K", "grid_mapping": "crs"})
    ds["land"] = (("lat", "lon"), values[:, 0, 0] > 0)
    ds["count"] = (("time",), [1, 2, 3])
    ds["lat_bnds"] = (("lat", "bnds"), np.stack(compute_latitude_edges(ds.lat.values), axis=1))
    ds["lat"].attrs["bounds"] = "lat_bnds"
    return ds


def test_dimensions_names_attributes_and_types(labelled):
    out = labelled.appa.regrid(10)
    assert out["t"].dims == ("lat", "time", "level", "lon") and out["t"].dtype == "f4"
    assert out["t"].attrs == {"units": "K"} and out.attrs["regrid_method"] == "bilinear"
    assert (out["count"] == labelled["count"]).all() and set(out.data_vars) == {"t", "land", "count"}
    assert out["lat"].values[0] == 90 and out["lat"].attrs["units"] == "degrees_north"
    assert out["land"].dtype == float
    assert labelled.appa.regrid(10, "nearest")["land"].dtype == bool
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
    assert regrid_to_dataset(labelled, labelled) is labelled


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


@pytest.mark.parametrize("ending", ["_bnds", "_bounds", "_bnd", "_vertices"])
def test_bounds_that_no_attribute_names_are_bounds(ending):
    latitude, longitude = np.arange(-87.5, 90, 5), np.arange(2.5, 360, 5)
    edges = np.sort(np.append(np.random.default_rng(1).uniform(-85, 85, 35), [-90, 90]))
    field = cdo.lonlat(latitude, longitude).assign(pr=(("lat", "lon"), np.random.default_rng(0).random((36, 72))))
    bounds = {f"lat{ending}": (("lat", "bnds"), np.stack([edges[:-1], edges[1:]], -1))}
    bounds[f"lon{ending}"] = (("lon", "bnds"), np.stack([longitude - 2.5, longitude + 2.5], -1))
    named = field.assign(bounds)
    for axis in ("lat", "lon"):
        named[axis].attrs["bounds"] = f"{axis}{ending}"
    target = cdo.lonlat(np.arange(-85.0, 86, 10), np.arange(5.0, 360, 10))
    expected = named.appa.regrid(target, "conservative")
    lost = named.copy()
    for axis in ("lat", "lon"):
        lost[axis] = lost[axis].drop_attrs().assign_attrs(units=f"degrees_{'north' if axis == 'lat' else 'east'}")
    found = lost.appa.regrid(target, "conservative")
    assert list(found.data_vars) == ["pr"]
    np.testing.assert_allclose(found["pr"], expected["pr"])
    assert not np.allclose(found["pr"], field.appa.regrid(target, "conservative")["pr"])


def test_what_is_not_on_the_grid_is_left_out_and_said(labelled):
    labelled["zonal"] = ("lat", np.zeros(18))
    labelled["name"] = (("lat", "lon"), np.full((18, 36), "x"))
    with pytest.warns(UserWarning, match="'zonal' .along 'lat' only., 'name' .no numbers"):
        out = labelled.appa.regrid(10)
    assert set(out.data_vars) == {"t", "land", "count"}
    said = out.attrs["regrid_left_out"]
    assert all(part in said for part in ("zonal (along 'lat' only)", "name (no numbers", "lat_bnds (of the old grid)"))


def test_what_cannot_be_regridded_is_refused(labelled):
    other = xr.Dataset(coords={"lat": (("level", "x"), np.eye(2)), "lon": (("level", "x"), np.eye(2)[::-1])})
    with pytest.raises(DatasetError, match="dimensions 'level' of the target"):
        labelled.appa.regrid(other)
    with pytest.raises(DatasetError, match="no variable has the dimensions"):
        cdo.lonlat(*even(4, 5)).appa.regrid(10)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"target": 91}, OptionError, "up to 90"),
        ({"target": -1}, OptionError, "above 0"),
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
