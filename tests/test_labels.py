"""Datasets into numbers and back, templates, and the report on what a model can use."""

from __future__ import annotations

import datetime
import warnings
from typing import Any

import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xappa.errors import DatasetError, UnitsError
from xappa.grids import recognise
from xappa.model.state import StateSpec
from xappa.state import (
    OutputSelection,
    check_units,
    derive_spec,
    find_model_times,
    get_surface_height,
    select_output,
    to_array,
    to_dataset,
)
from xappa.tasks.check import check
from xappa.tasks.template import template
from xappa.vocabulary import VARIABLES

SPEC = StateSpec(
    channels=(
        ("2m_temperature", None),
        ("sea_surface_temperature", None),
        ("temperature", 500),
        ("temperature", 850),
        ("specific_humidity", 850),
    ),
    latitude=tuple(np.arange(-75.0, 90, 30)),
    longitude=tuple(np.arange(0.0, 360, 45)),
    step_hours=6,
    window=5,
    masked=("sea_surface_temperature",),
)
TIMES = np.datetime64("2021-03-21", "s") + np.arange(3) * SPEC.step


@pytest.fixture
def fields(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(270, 10, (2, 3, *SPEC.shape)).astype("f4")


def rewritten(ds: xr.Dataset) -> xr.Dataset:
    """The same fields as another centre would write them."""
    ds = ds.rename(
        {"latitude": "lat", "longitude": "lon", "level": "plev", "2m_temperature": "t2m", "temperature": "ta"}
    )
    ds = ds.isel(lat=slice(None, None, -1), plev=slice(None, None, -1))
    ds = ds.assign_coords(lon=(ds.lon + 180) % 360 - 180, plev=ds.plev * 100.0).sortby("lon")
    ds["plev"].attrs = {"units": "Pa", "standard_name": "air_pressure"}
    return ds.transpose("lon", "plev", ..., "lat")


def times_of(*times: str) -> xr.Dataset:
    return xr.Dataset(coords={"time": np.array(times, "M8[us]")})


class TestTimes:
    def test_the_whole_range_is_covered(self) -> None:
        times, selection = find_model_times(times_of("2021-03-21", "2021-03-21T12", "2021-03-22"), SPEC)
        np.testing.assert_array_equal(times, np.datetime64("2021-03-21") + np.arange(5) * np.timedelta64(6, "h"))
        np.testing.assert_array_equal(selection, [0, 2, 4])

    def test_one_time_and_scalar_times(self) -> None:
        scalar = times_of("2021-03-21T18").isel(time=0)
        times, selection = find_model_times(scalar, SPEC)
        assert times.shape == (1,) and selection.tolist() == [0]

    @pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
    def test_any_resolution(self, unit: str) -> None:
        ds = xr.Dataset(coords={"time": TIMES.astype(f"M8[{unit}]")})
        times, selection = find_model_times(ds, SPEC)
        np.testing.assert_array_equal(times, TIMES)
        assert selection.tolist() == [0, 1, 2]

    def test_other_times_are_refused_with_the_nearest(self) -> None:
        with pytest.raises(DatasetError) as error:
            find_model_times(times_of("2021-03-21", "2021-03-21T07:30", "2021-03-21T13"), SPEC)
        for words in (
            "2 of 3 times",
            "first 2021-03-21T07:30",
            "6 h from 00 UTC",
            "2021-03-21T06:00 and 2021-03-21T12:00",
        ):
            assert words in str(error.value)

    def test_before_1970(self) -> None:
        times, _ = find_model_times(times_of("1950-01-01T06", "1950-01-01T18"), SPEC)
        assert len(times) == 3


class TestWanted:
    def ask(self, names: list[str], drop_unknown: bool = False, **coords: Any) -> OutputSelection:
        ds = times_of("2021-03-21").assign_coords(coords)
        for name in names:
            ds[name] = ("time", np.zeros(1))
        return select_output(ds, recognise(ds, need=("time",)), SPEC, drop_unknown)

    def test_nothing_named_is_everything(self) -> None:
        all_of_it = self.ask([])
        assert (all_of_it.variables, all_of_it.levels) == (SPEC.variables, (500, 850))

    def test_the_variables_and_levels_of_the_dataset(self) -> None:
        some = self.ask(["ta", "t2m"], plev=[85000.0])
        assert (some.variables, some.levels) == (("temperature", "2m_temperature"), (850,))
        assert self.ask(["t2m"], level=[500]).levels == ()

    def test_what_the_model_lacks_is_listed(self) -> None:
        with pytest.raises(DatasetError) as error:
            self.ask(["t2m", "msl", "2m_temprature", "ta"], level=[850, 10])
        for words in ("'msl'", "'2m_temprature'; did you mean '2m_temperature'", "drop_unknown=True"):
            assert words in str(error.value)
        rest = self.ask(["t2m", "msl", "ta"], drop_unknown=True, level=[850, 10])
        assert (rest.variables, rest.levels) == (("2m_temperature", "temperature"), (850,))

    def test_levels_that_the_model_lacks_are_left_out_with_a_warning(self) -> None:
        with pytest.warns(UserWarning, match="2 of 3 levels are left out.*: 1000, 10 hPa"):
            assert self.ask(["ta"], level=[1000, 850, 10]).levels == (850,)
        with warnings.catch_warnings(action="error"):
            assert self.ask(["ta"], level=[1000, 850, 10], drop_unknown=True).levels == (850,)
        with pytest.raises(DatasetError, match="none of the levels 8.5 hPa.*check the units of 'level'"):
            self.ask(["ta"], level=[8.5])

    def test_something_has_to_be_left(self) -> None:
        with pytest.raises(DatasetError, match="'msl'"):
            self.ask(["msl"], drop_unknown=True)

    def test_fields_without_time_are_not_asked_for(self) -> None:
        ds = xr.Dataset({"orography": (("lat", "lon"), np.zeros((2, 2)))}, times_of("2021-03-21").coords)
        assert select_output(ds, recognise(ds, need=("time",)), SPEC).variables == SPEC.variables


class TestToDataset:
    def test_plain(self, fields: np.ndarray) -> None:
        ds = to_dataset(fields, SPEC, TIMES, [3, 4], attrs={"source": "test"})
        assert ds["temperature"].dims == ("member", "time", "level", "latitude", "longitude")
        assert ds["2m_temperature"].dims == ("member", "time", "latitude", "longitude")
        assert ds["2m_temperature"].dtype == np.float32
        np.testing.assert_array_equal(ds["2m_temperature"], fields[:, :, 0])
        np.testing.assert_array_equal(ds["temperature"], fields[:, :, 2:4])
        np.testing.assert_array_equal(ds["temperature"].sel(level=850, member=4), fields[1, :, 3])
        np.testing.assert_array_equal(ds["specific_humidity"].sel(level=850), fields[:, :, 4])
        assert np.isnan(ds["specific_humidity"].sel(level=500)).all()
        assert ds.attrs == {"Conventions": "CF-1.11", "source": "test"}

    def test_attributes(self, fields: np.ndarray) -> None:
        ds = to_dataset(fields, SPEC, TIMES, [0, 1])
        for name in ds.data_vars:
            assert ds[name].attrs == VARIABLES[str(name)].attrs
            assert not ds[name].encoding
        standard = {name: ds[name].attrs["standard_name"] for name in ds.coords}
        assert standard == {
            "member": "realization",
            "time": "time",
            "level": "air_pressure",
            "latitude": "latitude",
            "longitude": "longitude",
        }
        assert ds.level.attrs["units"] == "hPa" and ds.latitude.attrs["units"] == "degrees_north"
        assert recognise(ds).member == "member"

    def test_the_user_s_conventions(self, fields: np.ndarray) -> None:
        plain = to_dataset(fields, SPEC, TIMES, [0, 1])
        users = rewritten(plain)
        layout = recognise(users)
        ds = to_dataset(fields, SPEC, TIMES, [0, 1], layout, select_output(users, layout, SPEC))
        assert list(ds.data_vars) == ["t2m", "sea_surface_temperature", "ta", "specific_humidity"]
        assert ds["ta"].dims == ("member", "time", "plev", "lat", "lon")
        assert ds.plev.attrs["units"] == "Pa"
        xr.testing.assert_equal(ds, users.transpose("member", "time", "plev", "lat", "lon"))

    def test_conventions_hold_on_another_grid(self, fields: np.ndarray) -> None:
        users = xr.Dataset(
            coords={
                "time": TIMES,
                "latitude": np.arange(90, -91, -1.0),
                "lon": np.arange(-180, 180, 1.0),
                "level": [850, 500],
            }
        )
        ds = to_dataset(fields, SPEC, TIMES, [0, 1], recognise(users))
        np.testing.assert_array_equal(ds.latitude, np.arange(75, -90, -30))
        np.testing.assert_array_equal(ds.lon, np.arange(-180, 180, 45))
        np.testing.assert_array_equal(ds.level, [850, 500])
        plain = to_dataset(fields, SPEC, TIMES, [0, 1])
        point = {"latitude": -75.0, "level": 500}
        np.testing.assert_array_equal(
            ds["temperature"].sel(point | {"lon": -45.0}), plain["temperature"].sel(point | {"longitude": 315.0})
        )

    def test_results_align_with_rounded_coordinates(self, fields: np.ndarray) -> None:
        gaussian = tuple(np.degrees(np.arcsin(np.polynomial.legendre.leggauss(6)[0])))
        spec = StateSpec(SPEC.channels, gaussian, SPEC.longitude, 6, 5)
        users = xr.Dataset(
            coords={
                "time": TIMES,
                "latitude": np.float32(np.round(gaussian[::-1], 3)),
                "longitude": np.array(spec.longitude, "f4"),
            }
        )
        ds = to_dataset(fields, spec, TIMES, [0, 1], recognise(users))
        xr.align(ds, users, join="exact")

    def test_lazy(self, fields: np.ndarray) -> None:
        def forbidden(block: np.ndarray) -> np.ndarray:
            raise AssertionError("computed")

        lazy = dask.array.from_array(fields, chunks=(1, 1, *SPEC.shape))
        users = recognise(rewritten(to_dataset(fields, SPEC, TIMES, [0, 1])))
        never = to_dataset(
            lazy.map_blocks(forbidden, dtype="f4", meta=np.zeros((0,) * 5, "f4")), SPEC, TIMES, [0, 1], users
        )
        assert never["ta"].chunks is not None
        ds, now = (to_dataset(source, SPEC, TIMES, [0, 1], users) for source in (lazy, fields))
        xr.testing.assert_identical(ds.compute(), now)
        assert ds["ta"].dtype == ds["specific_humidity"].dtype == np.float32

    def test_selecting_computes_only_what_it_needs(self, fields: np.ndarray) -> None:
        asked = []

        def noted(block: np.ndarray, block_info: dict | None = None) -> np.ndarray:
            if block_info:
                asked.append(block_info[0]["chunk-location"][:2])
            return block

        lazy = dask.array.from_array(fields, chunks=(1, 1, *SPEC.shape)).map_blocks(
            noted, dtype="f4", meta=np.zeros((0,) * 5, "f4")
        )
        to_dataset(lazy, SPEC, TIMES, [0, 1])["temperature"].isel(member=1, time=2).compute()
        assert asked == [(1, 2)]


class TestToArray:
    def test_there_and_back(self, fields: np.ndarray) -> None:
        spec = StateSpec(SPEC.channels[:4], SPEC.latitude, SPEC.longitude, 6, 5)
        ds = to_dataset(fields[:, :, :4], spec, TIMES, [0, 1]).isel(member=0)
        ds["sea_surface_temperature"] = ds["sea_surface_temperature"].where(ds.latitude > 0)
        expected = fields[0, :, :4].copy()
        expected[:, 1, :3] = np.nan
        for form in (ds, rewritten(ds), rewritten(ds).chunk(time=1)):
            np.testing.assert_array_equal(to_array(form, spec), expected)
        np.testing.assert_array_equal(to_array(ds.isel(time=1), spec), expected[1:2])
        assert to_array(ds, spec).dtype == np.float32

    @given(rows=st.permutations([0, 1]), shift=st.integers(0, 7), west=st.booleans(), pascal=st.booleans())
    def test_any_convention(self, rows: list[int], shift: int, west: bool, pascal: bool) -> None:
        fields = np.random.default_rng(0).normal(size=(1, 3, *SPEC.shape)).astype("f4")
        spec = StateSpec(SPEC.channels[:4], SPEC.latitude, SPEC.longitude, 6, 5)
        ds = to_dataset(fields[:, :, :4], spec, TIMES, [0]).isel(member=0).roll(longitude=shift, roll_coords=True)
        ds = ds.isel(level=rows, latitude=slice(None, None, 1 if rows[0] else -1))
        if west:
            ds = ds.assign_coords(longitude=(ds.longitude + 180) % 360 - 180)
        if pascal:
            ds = ds.assign_coords(level=("level", ds.level.values * 100.0, {"units": "Pa"}))
        np.testing.assert_array_equal(to_array(ds, spec), fields[0, :, :4])

    def state(self) -> xr.Dataset:
        spec = StateSpec(SPEC.channels[:4], SPEC.latitude, SPEC.longitude, 6, 5)
        return to_dataset(np.full((1, 3, *spec.shape), 280, "f4"), spec, TIMES, [0]).isel(member=0)

    def test_units_are_converted(self) -> None:
        ds, spec = self.state(), StateSpec(SPEC.channels[:4], SPEC.latitude, SPEC.longitude, 6, 5)
        ds["2m_temperature"] = (ds["2m_temperature"] * 0 + 6.85).assign_attrs(units="degC")
        np.testing.assert_allclose(to_array(ds, spec), 280, rtol=1e-6)

    def test_units_that_cannot_be(self) -> None:
        ds, spec = self.state(), StateSpec(SPEC.channels[:4], SPEC.latitude, SPEC.longitude, 6, 5)
        ds["2m_temperature"].attrs["units"] = "Pa"
        ds["temperature"].attrs["units"] = "nonsense"
        for use in (to_array, check_units):
            with pytest.raises(UnitsError, match="(?s)'2m_temperature'.*'Pa'.*expected K.*'temperature'.*nonsense"):
                use(ds, spec)

    def test_numbers_without_units_must_be_plausible(self) -> None:
        ds, spec = self.state(), StateSpec(SPEC.channels[:4], SPEC.latitude, SPEC.longitude, 6, 5)
        del ds["2m_temperature"].attrs["units"]
        np.testing.assert_allclose(to_array(ds, spec), 280)
        ds["2m_temperature"] = ds["2m_temperature"] - 273.15
        with pytest.raises(UnitsError, match=r"no units, and a median of 6.85; expected 2m_temperature in K"):
            to_array(ds, spec)

    def test_all_differences_at_once(self) -> None:
        ds = self.state().drop_vars("sea_surface_temperature").isel(level=[0])
        ds = ds.assign_coords(longitude=ds.longitude + 10).isel(latitude=slice(3))
        ds["2m_temperature"] = ds["2m_temperature"].isel(latitude=0, drop=True).assign_attrs(units="m")
        with pytest.raises(DatasetError) as error:
            to_array(ds, SPEC)
        for words in (
            "missing: sea_surface_temperature, specific_humidity",
            "latitudes 3 values from -75 to -15, longitudes 8 values from 10 to 325, outside of which lie 24 of 48",
            "'temperature' lacks the levels 850 hPa",
            "'2m_temperature' has no latitude axis",
            "'m' cannot be converted to 'K'",
        ):
            assert words in str(error.value)

    def test_members_have_to_be_selected(self) -> None:
        ds = self.state().expand_dims(member=[0, 1])
        with pytest.raises(DatasetError, match=r"dimensions \['member'\]"):
            to_array(ds, StateSpec(SPEC.channels[:4], SPEC.latitude, SPEC.longitude, 6, 5))


class TestDatasetAsState:
    def test_specification(self, fields: np.ndarray) -> None:
        ds = rewritten(to_dataset(fields, SPEC, TIMES, [0, 1]))
        spec = derive_spec(ds, recognise(ds), ["temperature", "2m_temperature"])
        assert spec.channels == (("2m_temperature", None), ("temperature", 850), ("temperature", 500))
        assert spec.step_hours == 6 and spec.latitude == SPEC.latitude[::-1]
        np.testing.assert_array_equal(
            to_array(ds.isel(member=0), spec), fields[0][:, [0, 3, 2]][..., ::-1, :][..., [4, 5, 6, 7, 0, 1, 2, 3]]
        )

    @pytest.mark.parametrize(("name", "factor"), [("orography", 1), ("geopotential_at_surface", 9.80665)])
    def test_surface_height(self, fields: np.ndarray, name: str, factor: float) -> None:
        height = fields[0, 0, 0]
        ds = to_dataset(fields, SPEC, TIMES, [0, 1])
        assert get_surface_height(ds, SPEC, recognise(ds)) is None
        ds = rewritten(ds.assign({name: (("latitude", "longitude"), height * factor)}))
        found = get_surface_height(ds, SPEC, recognise(ds))
        assert found is not None
        np.testing.assert_allclose(found, height, rtol=1e-6)
        other = ds.isel(lat=slice(1, None))
        assert get_surface_height(other, SPEC, recognise(other)) is None


class TestTemplate:
    def test_an_empty_dataset(self) -> None:
        ds = template("2021-03-21", "2021-03-22T18", SPEC)
        assert set(ds.data_vars) == set(SPEC.variables)
        np.testing.assert_array_equal(ds.time, np.datetime64("2021-03-21") + np.arange(8) * np.timedelta64(6, "h"))
        assert ds["temperature"].chunks is not None
        assert bool(ds["2m_temperature"].isnull().all())
        assert check(ds, SPEC).ok

    def test_it_takes_no_memory(self) -> None:
        big = StateSpec(
            (("2m_temperature", None),), tuple(np.linspace(90, -90, 721)), tuple(np.arange(0, 360, 0.25)), 1, 24
        )
        ds = template("1979-01-01", "2020-12-31T23", big)
        assert ds.nbytes > 1e12 and len(ds.time) == 368184

    def test_any_time(self) -> None:
        aware = datetime.datetime(2021, 3, 21, 2, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
        ds = template(aware, np.datetime64("2021-03-21T06"), SPEC)
        assert ds.time.values[0] == np.datetime64("2021-03-21") and len(ds.time) == 2

    @pytest.mark.parametrize(
        ("start", "end", "words"),
        [
            ("2021-03-21T01", "2021-03-21T07", "(?s)start: .*nearest are 2021-03-21T00:00 and.*end: "),
            ("2021-03-22", "2021-03-21", "end 2021-03-21T00:00 is before start"),
            ("soon", "2021-03-21", "start='soon' is no time"),
            ("2021-03-21", "NaT", "end='NaT' is no time"),
            (2021, np.int64(2021), "(?s)start=2021 is a number"),
        ],
    )
    def test_what_is_wrong_is_said(self, start: str, end: str, words: str) -> None:
        with pytest.raises(DatasetError, match=words):
            template(start, end, SPEC)


class TestCheck:
    def test_fine(self, fields: np.ndarray) -> None:
        report = check(to_dataset(fields, SPEC, TIMES, [0, 1]).isel(member=0), SPEC)
        assert not report.problems and report and str(report) == "The model can use its times and variables."
        # humidity is missing on 500 hPa, which is no difference of form
        assert report.of_values == ()

    def test_every_reason_at_once(self) -> None:
        ds = xr.Dataset(
            {"foo": ("time", np.zeros(2)), "t2m": (("time", "lat"), np.zeros((2, 2)), {"units": "m"})},
            coords={"time": np.array(["2021-03-21T01", "2021-03-21"], "M8[s]"), "lat": [0.0, 100.0]},
        )
        report = check(ds, SPEC)
        text = str(report)
        assert not report and not report.ok
        for words in ("not sorted", "not model times", "beyond 90", "'foo'", "no longitude", "cannot be converted"):
            assert words in text
        assert report._repr_html_().count("<li>") == len(report.problems) + len(report.of_values)

    def test_another_grid_is_no_obstacle_to_assimilation(self) -> None:
        ds = xr.Dataset(
            {"t2m": (("time", "lat", "lon"), np.zeros((1, 2, 2)))},
            coords={"time": TIMES[:1], "lat": [0.0, 1.0], "lon": [0.0, 1.0]},
        )
        report = check(ds, SPEC)
        assert report.ok and any("outside of which lie 48 of 48" in problem for problem in report.of_values)

    def test_levels_of_reports_are_listed_once_and_not_without_end(self) -> None:
        levels = np.array([np.nan, 850, *range(1, 31), *range(1, 31), np.nan])
        coords = {"time": ("obs", np.full(len(levels), TIMES[0])), "level": ("obs", levels, {"units": "hPa"})}
        reports = xr.Dataset({"temperature": ("obs", levels)}, coords)
        assert "30 of 31 levels are left out" in check(reports, SPEC).notes[0]
        assert check(reports, SPEC).notes[0].endswith("10, 11, 12 and 18 more hPa")
        none = check(reports.where(reports.level != 850, drop=True), SPEC).problems
        assert any("none of the levels nan, 1, 2" in p and "10, 11 and 19 more hPa; expected" in p for p in none)

    def test_what_is_done_is_said(self, fields: np.ndarray) -> None:
        ds = rewritten(to_dataset(fields, SPEC, TIMES, [0, 1]).isel(member=0))
        ds["t2m"] = (ds["t2m"] - 273.15).assign_attrs(units="degC")
        finer = ds.interp(lat=np.arange(-90, 91, 10.0), lon=np.arange(-180, 180, 10.0))
        report = check(finer.fillna(0), SPEC)
        assert report and not report.of_values
        assert "'t2m' is 2m_temperature: degC becomes K" in str(report)
        assert "36 values from -180 to 170 is regridded, conservative" in str(report)

    @pytest.mark.parametrize(
        "ds",
        [
            xr.Dataset(),
            xr.Dataset(coords={"time": ["a", "b"]}),
            xr.Dataset({"t2m": (("time",), [1.0])}),
            xr.Dataset({"t2m": ((), 1.0)}, coords={"time": 3, "lat": "north", "lon": np.nan}),
            xr.Dataset({"ta": (("y", "x", "level"), np.zeros((2, 2, 0)))}, {"lat": (("y", "x"), np.eye(2))}),
            xr.Dataset({"t2m": (("time", "lat"), np.zeros((0, 0)))}, {"time": np.array([], "M8[s]"), "lat": []}),
            xr.Dataset(coords={"time": np.array(["NaT"], "M8[s]")}),
        ],
    )  # fmt: skip
    def test_nothing_raises(self, ds: xr.Dataset) -> None:
        assert not check(ds, SPEC)


@pytest.mark.parametrize("start", ["1600-01-01", "2018-11-01", "2300-01-01"])
def test_a_template_of_any_year(start):
    np.testing.assert_array_equal(
        template(start, start).time.values.astype("datetime64[s]"), [np.datetime64(start, "s")]
    )
