"""Results for the region, and in the orientation, of the Dataset that asks for them; and xarray's own settings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import xappa
from xappa.errors import DatasetError, OptionError
from xappa.grids import recognise
from xappa.model.state import StateSpec
from xappa.state.area import GridSubset

NAME = "2m_temperature"
OPTIONS = {"members": 2, "effort": "preview", "seed": 0, "steps": 4}
SPEC = StateSpec(((NAME, None),), tuple(np.arange(-87.5, 90, 5)), tuple(np.arange(0.0, 360, 5)), 6, 8)


@pytest.fixture(scope="module")
def globe() -> xr.Dataset:
    return xappa.template("2018-11-01", "2018-11-01T18")[[NAME]]


@pytest.fixture(scope="module")
def obs() -> pd.DataFrame:
    return pd.DataFrame(
        {"time": "2018-11-01T06", "lat": [45.0, 50], "lon": [8.0, 20], "variable": NAME, "observation": [280.0, 282]}
    )


@pytest.fixture(scope="module")
def whole(globe, obs) -> xr.DataArray:
    return globe.appa.assimilate(obs, error=1.0, **OPTIONS)[NAME].compute()


def turned(ds: xr.Dataset) -> xr.Dataset:
    """The same with longitudes from -180 and latitudes from the north."""
    west = ds.assign_coords(longitude=(ds.longitude + 180) % 360 - 180).sortby("longitude")
    return west.sortby("latitude", ascending=False)


class TestAnalyses:
    """A result is cut to the region of the Dataset, and its values are those of the whole."""

    @pytest.mark.parametrize(
        "region",
        [
            lambda ds: ds.sel(latitude=slice(30, 60), longitude=slice(10, 60)),
            lambda ds: turned(ds).sel(latitude=slice(60, 30), longitude=slice(-20, 30)),
            lambda ds: ds.sel(latitude=slice(30, 60)),
            lambda ds: ds.sel(latitude=[45], longitude=[8], method="nearest"),
            lambda ds: ds.sel(latitude=45, longitude=8, method="nearest"),
        ],
    )
    def test_on_the_models_own_points(self, globe, obs, whole, region) -> None:
        ds = region(globe)
        found = ds.appa.assimilate(obs, error=1.0, **OPTIONS)[NAME]
        for axis in ("latitude", "longitude"):
            np.testing.assert_array_equal(found[axis], np.atleast_1d(ds[axis]))
        right = whole.sel(latitude=found.latitude, longitude=found.longitude % 360)
        np.testing.assert_array_equal(found.compute(), right)

    def test_only_the_region_is_kept(self, globe, obs) -> None:
        ds = globe.sel(latitude=slice(30, 60), longitude=slice(10, 60))
        block = ds.appa.assimilate(obs, error=1.0, **OPTIONS)[NAME].isel(member=0, time=0).data.compute()
        assert block.base is None or block.base.size == block.size

    def test_a_finer_region_gets_the_points_round_it(self, globe, obs, whole) -> None:
        fine = xr.Dataset(coords={"time": globe.time, "lat": np.arange(48.0, 45, -0.25), "lon": np.arange(-2, 11, 0.5)})
        fine[NAME] = (("time", "lat", "lon"), np.zeros(tuple(fine.sizes.values())))
        coarse = fine.appa.assimilate(obs, error=1.0, **OPTIONS)[NAME]
        assert coarse.lat.values.tolist() == [50.625, 46.875, 43.125]
        assert coarse.lon.values.tolist() == [-3.75, 0, 3.75, 7.5, 11.25]
        right = whole.sel(latitude=coarse.lat.values, longitude=coarse.lon.values % 360)
        np.testing.assert_array_equal(coarse.compute(), right)
        own = fine.appa.assimilate(obs, error=1.0, grid="ds", **OPTIONS)[NAME]
        assert own.shape[-2:] == (12, 26) and own.notnull().all()
        np.testing.assert_allclose(own, whole.appa.regrid(fine), rtol=1e-6)
        np.testing.assert_allclose(own, coarse.appa.regrid(fine), rtol=1e-6)

    @pytest.mark.parametrize("empty", [{"latitude": slice(60, 30)}, {"longitude": slice(60, 10)}])
    def test_an_empty_selection_is_refused(self, globe, obs, empty) -> None:
        (axis,) = empty
        with pytest.raises(DatasetError, match=f"'{axis}' is empty.*order of the axis"):
            globe.sel(empty).appa.assimilate(obs, **OPTIONS)
        assert not globe.sel(empty).appa.check()

    def test_forecasts_and_samples_are_cut_too(self, globe, obs) -> None:
        ds = globe.sel(latitude=slice(30, 60), longitude=slice(10, 60))
        assert ds.appa.sample(**OPTIONS)[NAME].shape[-2:] == ds[NAME].shape[-2:]
        found = ds.appa.forecast("6h", obs=obs, error=1.0, **OPTIONS)
        assert found[NAME].shape[-2:] == ds[NAME].shape[-2:]

    def test_check_says_so(self, globe) -> None:
        notes = "\n".join(turned(globe).sel(latitude=slice(60, 30), longitude=slice(-20, 30)).appa.check().notes)
        assert "region: results are cut to the 8 x 14 points" in notes
        assert "orientation: rows from north to south and longitudes -180..180" in notes
        assert not globe.appa.check().notes


class TestCovering:
    """The smallest part of a grid that covers another."""

    @staticmethod
    def of(latitude: np.ndarray, longitude: np.ndarray) -> GridSubset:
        coords = {"time": pd.date_range("2020-01-01", periods=1), "lat": latitude, "lon": longitude}
        return GridSubset.covering(recognise(xr.Dataset(coords=coords)), SPEC)

    @pytest.mark.parametrize(
        ("latitude", "longitude"),
        [
            (np.arange(90.0, -91, -1), np.arange(0.0, 360)),
            (np.arange(-88.0, 89, 4), np.arange(-180.0, 180, 4)),
            (np.array(SPEC.latitude), np.append(SPEC.longitude, 360.0)),
            (np.arange(-75.0, 90, 30), np.arange(10.0, 370, 20)),
        ],
    )
    def test_of_a_globe_it_is_the_whole(self, latitude, longitude) -> None:
        area = self.of(latitude, longitude)
        assert (len(area.rows), len(area.columns)) == SPEC.shape[1:]

    @settings(deadline=None)
    @given(
        st.floats(-80, 70), st.floats(0.1, 20), st.floats(-180, 359), st.floats(0.1, 100), st.integers(1, 9),
        st.booleans(),
    )  # fmt: skip
    def test_every_point_of_the_region_lies_between_points_of_it(self, south, height, west, width, count, down) -> None:
        latitude = np.unique(np.linspace(south, min(south + height, 89), count))
        longitude = np.linspace(west, west + width, count + 1)
        area = self.of(latitude[::-1] if down else latitude, longitude)
        rows, columns = np.array(area.latitudes), np.array(area.longitudes)
        # Points within a hundredth of the model's spacing are its own, under the user's numbers.
        np.testing.assert_allclose(np.array(SPEC.latitude)[area.rows], rows, atol=0.051)
        np.testing.assert_allclose((np.array(SPEC.longitude)[area.columns] - columns + 180) % 360, 180, atol=0.051)
        assert rows.min() <= latitude.min() + 1e-5 or latitude.min() < -87.5
        assert rows.max() >= latitude.max() - 1e-5 or latitude.max() > 87.5
        assert columns.min() <= longitude.min() + 1e-5 and columns.max() >= longitude.max() - 1e-5
        assert (np.diff(columns) > 0).all()
        # No row or column more than is needed.
        inner = (rows > latitude.min() - 5 - 1e-5) & (rows < latitude.max() + 5 + 1e-5)
        assert inner.all() or latitude.size > 1
        assert columns.min() > longitude.min() - 5 - 1e-5 and columns.max() < longitude.max() + 5 + 1e-5


class TestTemplates:
    """A template has the orientation that is wanted, and results keep it."""

    def test_orientations(self, obs) -> None:
        own = xappa.template("2018-11-01", "2018-11-01T06")
        ds = xappa.template("2018-11-01", "2018-11-01T06", latitude="descending", longitude="-180..180")[[NAME]]
        assert ds.latitude.values.tolist() == sorted(own.latitude.values, reverse=True)
        assert ds.longitude.values[0] == -180 and (np.diff(ds.longitude) > 0).all()
        europe = ds.sel(latitude=slice(60, 40), longitude=slice(-15, 30))
        found = europe.appa.assimilate(obs, error=1.0, **OPTIONS)
        np.testing.assert_array_equal(found.latitude, europe.latitude)
        np.testing.assert_array_equal(found.longitude, europe.longitude)
        assert xappa.template("2018-11-01", "2018-11-01", longitude="0..360").longitude.values[0] == 0
        assert xappa.template("2018-11-01", "2018-11-01", latitude="ascending").latitude.values[0] < 0

    @pytest.mark.parametrize("wrong", [{"latitude": "down"}, {"longitude": "0-360"}])
    def test_others_are_refused(self, wrong) -> None:
        with pytest.raises(OptionError, match="expected one of 'model'"):
            xappa.template("2018-11-01", "2018-11-01", **wrong)


class TestRepeatedMeridian:
    """0 and 360 are one meridian, which counts once."""

    @pytest.mark.parametrize("first", [0.0, -180.0])
    @pytest.mark.parametrize("which", ["both", "forecast", "reference"])
    def test_in_scores(self, first, which) -> None:
        lat, lon = np.arange(90.0, -91, -5), np.arange(first, first + 360, 5)
        coords = {"time": pd.date_range("2020-01-01", periods=1), "latitude": lat, "longitude": lon}
        values = np.full((1, lat.size, lon.size), 280.0)
        truth = xr.Dataset({"t2m": (("time", "latitude", "longitude"), values, {"units": "K"})}, coords)
        forecast = truth.copy(deep=True)
        forecast["t2m"][{"longitude": 0}] += 10

        def closed(ds: xr.Dataset, sides: str) -> xr.Dataset:
            if which not in ("both", sides):
                return ds
            return xr.concat([ds, ds.isel(longitude=[0]).assign_coords(longitude=[first + 360])], "longitude")

        scores = closed(forecast, "forecast").appa.verify(closed(truth, "reference"))
        assert float(scores["t2m"].sel(metric="rmse")) == pytest.approx(10 / 72**0.5)


class TestSettingsOfXarray:
    """What a session sets for xarray's arithmetic changes nothing here, and stays as it was."""

    @pytest.mark.parametrize(
        "session",
        [
            *({"arithmetic_join": join} for join in ("exact", "outer", "left", "right")),
            {"keep_attrs": False},
            {"use_new_combine_kwarg_defaults": True},
        ],
    )
    def test_the_same_results(self, session) -> None:
        truth = xappa.tutorial.nature_run()[[NAME]].load()
        network = xappa.tutorial.network(xappa.tutorial.nature_run().load(), stations=10, soundings=1)
        forecast, baseline = truth + 1, truth.isel(time=slice(0, 4)) + 2

        def results() -> list[xr.Dataset]:
            reports = truth.appa.observe(network)[[NAME, f"{NAME}_flag"]]
            return [
                forecast.appa.verify(truth, baselines={"older": baseline}),
                forecast.appa.verify(reports),
                reports,
                forecast.appa.regrid(10),
                xappa.quality_control(reports),
                xappa.superob(reports, 10.0),
            ]

        right = results()
        with xr.set_options(**session):
            found = results()
            assert xr.get_options()[next(iter(session))] == next(iter(session.values()))
        for one, other in zip(found, right, strict=True):
            xr.testing.assert_identical(one, other)
