"""Regridding of Datasets: what must hold on any grid."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import cdo
from tests.even_grids import METHODS, area_mean, even, on, untied
from xappa.grids.regrid import Grid, get_weights


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
    matrix = get_weights(Grid.from_dataset(source), Grid.from_dataset(target), method).matrix.toarray()
    flat = values.reshape(2, -1).astype(float)
    valid = np.isfinite(flat) @ matrix.T
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.where(valid >= np.maximum(share, 1e-9), np.nan_to_num(flat) @ matrix.T / valid, np.nan)
    kept = np.abs(valid - share) > 1e-6  # on the threshold itself rounding decides
    out = ds.appa.regrid(target, method, min_valid=share)["f"].values
    assert out.dtype == values.dtype
    np.testing.assert_allclose(out.reshape(2, -1)[kept], expected[kept], rtol=2e-6 if single else 1e-12)
