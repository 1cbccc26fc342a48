"""ERA5 as people have it: every way of writing it becomes the same numbers, and comes back as it was written."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from tests import archives
from tests.archives import ARCHIVES, FULL, SMALL, weatherbench
from xappa.errors import DatasetError, UnitsError
from xappa.grids import flatten_valid_time, recognise
from xappa.grids.axes import inspect
from xappa.model.state import StateSpec
from xappa.state import select_output, to_array, to_dataset
from xappa.tasks.check import check

TRUE = weatherbench(SMALL)
NUMBERS = to_array(TRUE, SMALL)


def only(*names: str, spec: StateSpec = SMALL) -> StateSpec:
    """A model of these variables alone."""
    kept = tuple((name, level) for name, level in spec.channels if name in names)
    return StateSpec(kept, spec.latitude, spec.longitude, spec.step_hours, spec.window, spec.masked)


def rain(ds: xr.Dataset, values: object = None, name: str = "tp", **attrs: str) -> xr.Dataset:
    """The precipitation of `ds` under another name, with other values and attributes."""
    field = ds["total_precipitation"]
    return ds.drop_vars("total_precipitation").assign(
        {name: (field.dims, field.values if values is None else values, attrs)}
    )


RAIN = only("total_precipitation")
RAIN_6 = StateSpec((("total_precipitation_6hr", None),), SMALL.latitude, SMALL.longitude, 6, 8)


class TestArchives:
    def test_the_numbers_are_those_of_the_fields(self) -> None:
        for name in SMALL.variables:
            field = TRUE[name].values
            np.testing.assert_array_equal(NUMBERS[:, SMALL.of(name)], field if field.ndim == 4 else field[:, None])

    @pytest.mark.parametrize("archive", ARCHIVES)
    def test_the_same_numbers(self, archive: str) -> None:
        ds = ARCHIVES[archive](SMALL)
        np.testing.assert_allclose(to_array(ds, SMALL), NUMBERS, rtol=2e-6, atol=1e-9)
        report = check(ds, SMALL)
        assert report and not report.of_values, str(report)

    @pytest.mark.parametrize("archive", ["WeatherBench2", "CDS", "cfgrib", "CF standard names"])
    def test_and_back_as_they_were_written(self, archive: str) -> None:
        ds = ARCHIVES[archive](SMALL)
        layout = recognise(ds)
        with warnings.catch_warnings(action="error"):
            out = to_dataset(
                NUMBERS[None], SMALL, ds[layout.time].values, [0], layout, select_output(ds, layout, SMALL)
            )
        out = out.isel(member=0)
        assert set(out.data_vars) == set(ds.data_vars)
        for name, field in ds.data_vars.items():
            shown = out[name]
            assert shown.dtype == field.dtype and shown.attrs["units"] == field.attrs["units"]
            expected = field.transpose(*shown.dims)
            assert bool((shown.isnull() == expected.isnull()).all())
            np.testing.assert_allclose(shown, expected, rtol=3e-6, atol=1e-6 if field.dtype == "f4" else 1e-4)
            for axis in shown.dims:
                np.testing.assert_array_equal(shown[axis], ds[axis])

    def test_sea_surface_temperature_is_missing_where_it_was(self) -> None:
        ds = ARCHIVES["CF standard names"](SMALL)
        layout = recognise(ds)
        name = layout.get_user_name("sea_surface_temperature")
        out = to_dataset(NUMBERS[None], SMALL, ds["when"].values, [0], layout)[name].isel(member=0)
        west = out.lam.values % 360 <= 100
        assert out.dtype == np.float64 and out.attrs["units"] == "degC"
        assert bool(out.isel(lam=west).isnull().all()) and not bool(out.isel(lam=~west).isnull().any())

    def test_standard_names_of_what_comes_out(self) -> None:
        ds = ARCHIVES["CF standard names"](SMALL)
        layout = recognise(ds)
        out = to_dataset(NUMBERS[None], SMALL, ds["when"].values, [0], layout)
        standard = {known: out[user].attrs["standard_name"] for user, known in layout.names.items()}
        assert standard["geopotential"] == "geopotential_height"
        assert standard["total_precipitation"] == "precipitation_flux"
        assert out[layout.get_user_name("total_precipitation")].attrs["cell_methods"] == "time: mean (interval: 1 hour)"

    @given(
        order=st.permutations(range(len(archives.LEVELS) + 3)),
        south_first=st.booleans(),
        west=st.booleans(),
        roll=st.integers(0, 7),
        pascal=st.booleans(),
        dims=st.permutations(["time", "level", "latitude", "longitude"]),
    )
    def test_any_order_and_extra_levels(self, order, south_first, west, roll, pascal, dims) -> None:
        extra = TRUE.isel(level=[0, 4, 8]).assign_coords(level=[1, 125, 775])
        ds = (
            xr.concat([TRUE, extra], "level", data_vars="minimal")
            .isel(level=order)
            .roll(longitude=roll, roll_coords=True)
        )
        if south_first:
            ds = ds.sortby("latitude")
        if west:
            ds = ds.assign_coords(longitude=(ds.longitude + 180) % 360 - 180)
        if pascal:
            ds = ds.assign_coords(level=("level", ds.level.values * 100, {"units": "Pa"}))
        np.testing.assert_array_equal(to_array(ds.transpose(*dims), SMALL), NUMBERS)

    @pytest.mark.parametrize(
        ("name", "attrs"),
        [
            ("t2m", {}),
            ("airtemp", {"GRIB_shortName": "2t"}),
            ("airtemp", {"short_name": "t2m"}),
            ("airtemp", {"long_name": "2 metre temperature", "standard_name": "unknown"}),
        ],
    )
    def test_a_variable_by_what_it_says_of_itself(self, name: str, attrs: dict[str, str]) -> None:
        ds = TRUE[["2m_temperature"]].rename({"2m_temperature": name})
        ds[name].attrs = attrs
        assert recognise(ds).names == {name: "2m_temperature"}

    def test_a_slip_is_asked_about(self) -> None:
        ds = TRUE[["2m_temperature"]].rename({"2m_temperature": "2m_temprature"})
        ds["2m_temprature"].attrs = {"long_name": "2 metre temperature"}
        assert "'2m_temprature'; did you mean '2m_temperature'" in str(check(ds, SMALL))

    def test_a_scalar_height_tells_the_surface_from_the_air_above(self) -> None:
        ds = TRUE[["2m_temperature", "mean_sea_level_pressure"]].rename({"2m_temperature": "t"})
        assert recognise(ds.assign_coords(heightAboveGround=2.0)).names["t"] == "2m_temperature"
        report = check(ds, SMALL)
        assert any("variable 't' has no level axis" in problem for problem in report.of_values)

    def test_the_geopotential_of_the_ground_is_no_state(self) -> None:
        ds = xr.Dataset({"z": (("time", "latitude", "longitude"), np.zeros((2, 7, 8)))}, TRUE.drop_dims("level").coords)
        marked = ds.assign(z=ds["z"].assign_attrs(GRIB_typeOfLevel="surface"))
        for form in (marked, ds.assign_coords(surface=0.0)):
            layout = recognise(form)
            assert layout.names == {} and layout.static == ("z",)

    def test_another_rate_does_not_stand_in_the_way_of_the_sum(self) -> None:
        ds = TRUE.assign(mean_total_precipitation_rate=TRUE["total_precipitation"] / 3.6)
        layout, problems = inspect(ds)
        assert not problems and layout.unknown == ("mean_total_precipitation_rate",)
        np.testing.assert_array_equal(to_array(ds, SMALL), NUMBERS)


class TestUnits:
    @pytest.mark.parametrize(
        ("name", "units", "factor", "offset"),
        [
            ("2m_temperature", "degC", 1.0, -273.15),
            ("mean_sea_level_pressure", "hPa", 0.01, 0.0),
            ("10m_u_component_of_wind", "knots", 3600 / 1852, 0.0),
            ("10m_v_component_of_wind", "km/h", 3.6, 0.0),
            ("geopotential", "gpm", 1 / 9.80665, 0.0),
            ("geopotential", "m", 1 / 9.80665, 0.0),
            ("specific_humidity", "g kg-1", 1000.0, 0.0),
            ("total_precipitation", "mm", 1000.0, 0.0),
            ("total_precipitation", "kg m-2", 1000.0, 0.0),
            ("total_precipitation", "mm/h", 1000.0, 0.0),
            ("total_precipitation", "m per hour", 1.0, 0.0),
            ("total_precipitation", "kg m**-2 s**-1", 1 / 3.6, 0.0),
            ("total_precipitation", "mm day-1", 24000.0, 0.0),
        ],
    )
    def test_conversion_there_and_back(self, name: str, units: str, factor: float, offset: float) -> None:
        spec = only(name)
        ds = TRUE[[name]].astype("f8")
        ds[name] = (ds[name] * factor + offset).assign_attrs(units=units)
        expected = NUMBERS[:, SMALL.of(name)]
        np.testing.assert_allclose(to_array(ds, spec), expected, rtol=1e-6)
        out = to_dataset(expected[None].astype("f8"), spec, TRUE.time.values, [0], recognise(ds))[name].isel(member=0)
        assert out.attrs["units"] == units
        np.testing.assert_allclose(out, ds[name], rtol=1e-5, atol=1e-12)

    @pytest.mark.parametrize("name", ["gh", "zg", "hgt", "geopotential_height"])
    def test_heights_by_their_name(self, name: str) -> None:
        ds = TRUE[["geopotential"]].rename(geopotential=name) / 9.80665
        np.testing.assert_allclose(
            to_array(ds.drop_attrs(), only("geopotential")), NUMBERS[:, SMALL.of("geopotential")]
        )

    @pytest.mark.parametrize(
        ("name", "factor", "words"),
        [
            ("geopotential", 1 / 9.80665, "about .* at 50 hPa, where it is .*such as 'm'"),
            ("total_precipitation", 1000.0, "no units, and a maximum of .*; expected total_precipitation in m"),
            ("mean_sea_level_pressure", 0.01, "no units, and a median of 101"),
        ],
    )
    def test_numbers_without_units_that_are_not_plausible(self, name: str, factor: float, words: str) -> None:
        ds = TRUE[[name]].drop_attrs()
        assert to_array(ds, only(name)).size
        with pytest.raises(UnitsError, match=words):
            to_array(ds * factor, only(name))

    def test_a_level_without_values_is_plausible(self) -> None:
        ds = TRUE[["geopotential"]].drop_attrs()
        assert np.isnan(to_array(ds.where(ds.level != 50), only("geopotential"))).any()


class TestPrecipitation:
    """The period over which it is summed is told by cell methods, bounds, names, GRIB's step type, the step of time."""

    def test_a_rate_without_a_period_is_a_mean_over_the_step(self) -> None:
        ds = rain(TRUE, name="pr", values=TRUE["total_precipitation"].values / 3.6, units="kg m-2 s-1")
        np.testing.assert_allclose(to_array(ds, RAIN), NUMBERS[:, SMALL.of("total_precipitation")], rtol=1e-6)
        six = ds.assign_coords(time=ds.time[0].values + np.arange(2) * np.timedelta64(6, "h"))
        assert recognise(six).names["pr"] == "total_precipitation_6hr"
        np.testing.assert_allclose(to_array(six, RAIN_6), 6 * NUMBERS[:, SMALL.of("total_precipitation")], rtol=1e-6)

    def test_the_step_does_not_make_era5_s_hour_six(self) -> None:
        six = rain(TRUE, units="m").assign_coords(time=TRUE.time[0].values + np.arange(2) * np.timedelta64(6, "h"))
        assert recognise(six).names["tp"] == "total_precipitation"
        with pytest.raises(DatasetError, match="missing: total_precipitation_6hr"):
            to_array(six, RAIN_6)
        problems = check(six, RAIN_6).problems
        assert any("'tp' (over 1 h, where the model's 'total_precipitation_6hr' is over 6 h" in p for p in problems)

    @pytest.mark.parametrize(
        ("attrs", "words"),
        [
            (
                {"cell_methods": "time: sum (interval: 3 hours)"},
                "a sum of 3 h; expected a sum of 1 h: use data every 1 h",
            ),
            ({"cell_methods": "time: sum (interval: 30 minutes)"}, r"of 0.5 h; .*ds\['tp'\].rolling\(time=2\).sum\(\)"),
            ({"cell_methods": "time: point", "units": "mm/h"}, "rate of an instant"),
            ({"units": "K"}, "expected m, mm, kg m-2, or a rate"),
        ],
    )
    def test_other_periods_are_refused_with_what_mends_it(self, attrs: dict[str, str], words: str) -> None:
        ds = rain(TRUE, **({"units": "m"} | attrs))
        with pytest.raises(UnitsError, match=f"variable 'tp' .total_precipitation.*{words}"):
            to_array(ds, RAIN)
        assert any("'tp'" in problem for problem in check(ds, RAIN).of_values)

    def test_bounds_tell_the_period(self) -> None:
        ds = rain(TRUE, name="rain", units="kg m-2", standard_name="precipitation_amount")
        hour = np.timedelta64(1, "h")
        ds["time_bnds"] = (("time", "bnds"), np.stack([ds.time.values - 6 * hour, ds.time.values], 1))
        ds["time"].attrs["bounds"] = "time_bnds"
        layout = recognise(ds)
        assert layout.names["rain"] == "total_precipitation_6hr" and layout.notation["rain"].hours == 6

    def forecasts(self, starts: list[str], steps: list[int]) -> xr.Dataset:
        start, step = np.array(starts, "M8[ns]"), np.array(steps) * np.timedelta64(3600, "s").astype("m8[ns]")
        shape = (len(start), len(step), 7, 8)
        values = np.arange(np.prod(shape)).reshape(shape) * 1e-6
        ds = xr.Dataset(
            {"tp": (("time", "step", "latitude", "longitude"), values, {"units": "m", "GRIB_stepType": "accum"})},
            {"time": start, "step": step, "latitude": TRUE.latitude, "longitude": TRUE.longitude},
        ).assign_coords(valid_time=(("time", "step"), start[:, None] + step))
        ds["time"].attrs, ds["valid_time"].attrs = (
            {"standard_name": "forecast_reference_time"},
            {"standard_name": "time"},
        )
        return ds

    def test_the_short_forecasts_of_era5_are_sums_of_an_hour(self) -> None:
        ds = self.forecasts(["2021-03-20T18", "2021-03-21T06"], list(range(1, 13)))
        flat = flatten_valid_time(ds)
        np.testing.assert_array_equal(np.diff(flat.valid_time) / np.timedelta64(1, "h"), 1)
        assert flat.valid_time[0] == np.datetime64("2021-03-20T19") and flat.sizes["valid_time"] == 24
        np.testing.assert_allclose(to_array(flat, RAIN)[:, 0], ds.tp.values.reshape(24, 7, 8), rtol=1e-6)
        assert check(ds, RAIN)

    def test_sums_since_the_start_of_a_forecast_are_refused(self) -> None:
        ds = flatten_valid_time(self.forecasts(["2021-03-21T00"], [1, 2, 3]))
        with pytest.raises(UnitsError, match="summed from the start of a forecast; .*diff"):
            to_array(ds, RAIN)
        one = self.forecasts(["2021-03-21T00"], [1]).isel(time=0, step=0)
        assert to_array(one, RAIN).shape == (1, 1, 7, 8)
        with pytest.raises(UnitsError, match="a sum of 3 h"):
            to_array(self.forecasts(["2021-03-21T00"], [3]).isel(time=0, step=0), RAIN)

    def test_forecasts_that_overlap_are_not_put_in_a_row(self) -> None:
        ds = self.forecasts(["2021-03-21T00", "2021-03-21T01"], [1, 2])
        assert flatten_valid_time(ds)["tp"].dims == ds["tp"].dims
        assert "select one step or one start with ds.isel" in str(check(ds, RAIN))
        assert recognise(ds.isel(step=0)).time == "valid_time"


class TestGrids:
    def test_another_grid_is_regridded(self) -> None:
        fine = archives.official(np.linspace(90, -90, 13), np.arange(0, 360, 22.5))
        smooth = weatherbench(fine)
        rows = np.radians(smooth.latitude)
        field = (280 + 10 * np.cos(2 * rows) + 0 * smooth["2m_temperature"]).transpose(*smooth["2m_temperature"].dims)
        ds = smooth.assign({"2m_temperature": field.assign_attrs(units="K")})
        spec = archives.official(np.linspace(75, -75, 11), np.arange(0, 360, 18.0))
        got = to_array(ds, spec)[:, 0]
        latitude = np.array(spec.latitude)
        expected = np.interp(-latitude, -smooth.latitude, 280 + 10 * np.cos(2 * rows))
        np.testing.assert_allclose(got, np.broadcast_to(expected[None, :, None], got.shape), rtol=1e-6)
        assert any("regridded, bilinear" in note for note in check(ds, spec).notes)

    def test_a_coarse_model_gets_means_of_cells(self) -> None:
        fine = archives.official(np.linspace(90, -90, 37), np.arange(0, 360, 5.0), levels=[500])
        ds = weatherbench(fine)
        spec = archives.official(np.linspace(80, -80, 9), np.arange(0, 360, 20.0), levels=[500])
        noise = to_array(ds, spec)[:, fine.index("10m_v_component_of_wind")]
        assert noise.std() < 0.5 * ds["10m_v_component_of_wind"].values.std()  # 16 points a cell
        assert any("regridded, conservative" in note for note in check(ds, spec).notes)

    def test_a_region_is_refused(self) -> None:
        ds = TRUE.sel(latitude=slice(60, 0))
        with pytest.raises(DatasetError, match="outside of which lie 24 of 56 points of the model's grid"):
            to_array(ds, SMALL)
        assert check(ds, SMALL) and "expected fields of the whole globe" in str(check(ds, SMALL))

    def test_a_repeated_meridian(self) -> None:
        again = TRUE.isel(longitude=[0]).assign_coords(longitude=[360.0])
        np.testing.assert_array_equal(to_array(xr.concat([TRUE, again], "longitude"), SMALL), NUMBERS)


class TestReport:
    def test_everything_at_once_in_the_user_s_names(self) -> None:
        ds = (
            archives.cds(TRUE)
            .drop_vars(["q", "sst"])
            .assign(r=archives.cds(TRUE)["t"] * 0, skt=archives.cds(TRUE)["t2m"])
        )
        ds["msl"].attrs["units"] = "degC"
        ds["tp"].attrs["cell_methods"] = "time: sum (interval: 6 hours)"
        ds = ds.isel(pressure_level=slice(1, None)).assign_coords(valid_time=ds.valid_time + np.timedelta64(30, "m"))
        report = str(check(ds, SMALL))
        for words in (
            "2 of 2 times are not model times",
            "'r'",
            "'skt'",
            "variable 'msl' (mean_sea_level_pressure): units 'degC' cannot be converted to 'Pa'; expected Pa: set ds['",
            "'tp' (over 6 h, where the model's 'total_precipitation' is over 1 h",
            "specific_humidity ('r' is the relative humidity",
            "sea_surface_temperature ('skt' is the skin temperature",
            "variable 't' lacks the levels 1000 hPa",
        ):
            assert words in report

    def test_extra_levels_are_noted(self) -> None:
        extra = xr.concat([TRUE, TRUE.isel(level=[0]).assign_coords(level=[1])], "level", data_vars="minimal")
        report = check(extra, SMALL)
        assert report and not report.of_values and "1 of 14 levels are left out" in report.notes[0]

    def test_levels_in_other_units_come_back_in_them(self) -> None:
        ds = TRUE[["temperature"]].isel(level=[0, 7])
        kilopascals = ds.assign_coords(level=("level", ds.level.values / 10, {"units": "kPa"}))
        assert check(kilopascals, SMALL)
        layout, spec = recognise(kilopascals), only("temperature")
        some = select_output(kilopascals, layout, spec)
        assert some.levels == tuple(ds.level.values)
        numbers = NUMBERS[None][:, :, list(SMALL.of("temperature"))]
        out = to_dataset(numbers, spec, TRUE.time.values, [0], layout, some).isel(member=0)
        np.testing.assert_array_equal(out.level, kilopascals.level)
        assert out.level.attrs["units"] == "kPa"
        np.testing.assert_allclose(out["temperature"], kilopascals["temperature"].transpose(*out["temperature"].dims))

    def test_levels_that_are_not_understood_are_no_request_for_all(self) -> None:
        ds = TRUE[["temperature"]].isel(level=[0, 7])
        for other in (
            ds.assign_coords(level=["500", "850"]),
            ds.assign_coords(level=("level", [1, 2], {"units": "1"})),
            ds.drop_vars("level"),
        ):
            report = check(other, SMALL)
            assert not report and "'level'" in report.problems[0]
            with pytest.raises(DatasetError, match="'level'.*hPa or Pa"):
                recognise(other, need=("time",))

    def test_speedy(self) -> None:
        from xappa.tutorial import nature_run

        ds = nature_run()
        assert check(ds, "speedy").ok and not check(ds, "speedy").of_values
        six = ds.rename({"total_precipitation_6hr": "tp"})
        assert check(six, "speedy").ok  # its cell methods say so
        report = check(six.drop_attrs(), "speedy")
        assert "where the model's 'total_precipitation_6hr' is over 6 h" in str(report)


class TestFullSize:
    def test_a_template_of_the_full_grid_is_understood(self) -> None:
        lazy = {name: ds for name, ds in _lazy_era5().data_vars.items()}
        assert len(FULL.channels) == 71 and check(xr.Dataset(lazy), FULL).of_values == ()

    def test_era5_at_its_own_resolution(self, shared: Callable) -> None:
        with xr.open_dataset(shared("real/era5-gust-0p25-20110801/wgust_era5.nc")) as ds:
            gust = ds.load()
        ds = gust.rename(i10fg="u10")
        layout = recognise(ds)
        spec = only("10m_u_component_of_wind", spec=FULL)
        numbers = to_array(ds, spec)
        np.testing.assert_array_equal(numbers[0, 0], gust.i10fg[0].astype("f4"))
        west = ds.assign_coords(longitude=(ds.longitude + 180) % 360 - 180).sortby("longitude").sortby("latitude")
        np.testing.assert_array_equal(to_array(west, spec), numbers)
        out = to_dataset(numbers[None], spec, ds.time.values, [0], recognise(west))["u10"]
        xr.testing.assert_allclose(out.isel(member=0, drop=True), west["u10"], rtol=1e-6)
        assert layout.notation["u10"].units == "m s**-1"

    def test_wind_gusts_are_no_wind(self, shared: Callable) -> None:
        with xr.open_dataset(shared("real/era5-gust-0p25-20110801/wgust_era5.nc")) as ds:
            assert recognise(ds).unknown == ("i10fg",)
            assert "'i10fg'" in str(check(ds, FULL))


def _lazy_era5() -> xr.Dataset:
    """37 levels of the whole grid, hourly, that nothing computes."""
    import dask.array

    levels = [1, 2, 3, *archives.LEVELS]
    times = np.datetime64("2021-03-21", "ns") + np.arange(24) * np.timedelta64(1, "h")
    coords = {"time": times, "level": levels, "latitude": list(FULL.latitude), "longitude": list(FULL.longitude)}
    ds = xr.Dataset(coords=coords)

    def never(block: np.ndarray) -> np.ndarray:
        raise AssertionError("computed")

    for name in FULL.variables:
        dims = ("time", "level", "latitude", "longitude") if FULL.levels_of(name) else ("time", "latitude", "longitude")
        shape = tuple(ds.sizes[d] for d in dims)
        zeros = dask.array.zeros(shape, dtype="f4", chunks=(1, *shape[1:]))
        ds[name] = (dims, zeros.map_blocks(never, dtype="f4", meta=np.zeros((0,) * len(shape), "f4")))
    return ds


class TestRealFields:
    def test_netcdf_of_the_climate_data_store(self, shared: Callable) -> None:
        with xr.open_dataset(shared("real/ecmwf-small-grids/test4.nc")) as ds:
            ds.load()
        spec = StateSpec(
            (("temperature", 850), ("geopotential", 500)), tuple(np.linspace(-90, 90, 181)), tuple(range(360)), 6, 8
        )
        numbers = to_array(ds, spec)
        np.testing.assert_allclose(numbers[0, 0], ds.t.sel(level=850)[0, ::-1], rtol=1e-6)
        np.testing.assert_allclose(numbers[0, 1], ds.z.sel(level=500)[0, ::-1], rtol=1e-6)
        assert check(ds, spec) and not check(ds, spec).of_values

    def test_global_analyses_of_the_wind(self, shared: Callable) -> None:
        image = pytest.importorskip("PIL.Image")
        import json

        folder = shared("real/gfs-wind10m-6h-201611")
        winds, times = [], []
        for file in sorted(folder.glob("*.png")):
            about = json.loads(file.with_suffix(".json").read_text().replace("T600:", "T06:"))
            pixels = np.asarray(image.open(file).convert("RGB"), float)
            winds.append(
                [
                    about[f"{c}Min"] + pixels[..., k] / 255 * (about[f"{c}Max"] - about[f"{c}Min"])
                    for k, c in ((0, "u"), (1, "v"))
                ]
            )
            times.append(np.datetime64(f"{file.stem[:4]}-{file.stem[4:6]}-{file.stem[6:8]}T{file.stem[8:]}", "ns"))
        values = np.array(winds)
        coords = {"time": times, "lat": 90.0 - np.arange(180), "lon": np.arange(-180.0, 180)}
        dims = ("time", "lat", "lon")
        ds = xr.Dataset(
            {"u10": (dims, values[:, 0], {"units": "m s-1"}), "v10": (dims, values[:, 1], {"units": "m s-1"})}, coords
        )
        spec = StateSpec(
            (("10m_u_component_of_wind", None), ("10m_v_component_of_wind", None)),
            tuple(np.arange(-88.125, 90, 3.75)), tuple(np.arange(0, 360, 3.75)), 6, 8,
        )  # fmt: skip
        report = check(ds, spec)
        assert report and not report.of_values and "regridded, conservative" in str(report)
        got = to_array(ds, spec)
        assert np.isfinite(got).all()
        weight = np.cos(np.radians(np.array(spec.latitude)))[:, None]
        fine = np.cos(np.radians(ds.lat.values))[:, None]
        mean = (got * weight).sum((-2, -1)) / (weight.sum() * 96)
        np.testing.assert_allclose(mean, (values * fine).sum((-2, -1)) / (fine.sum() * 360), atol=0.02)

    def test_grib_of_forecasts(self, shared: Callable, tmp_path: Path) -> None:
        if importlib.util.find_spec("cfgrib") is None:
            pytest.skip("cfgrib is not installed")
        path = shared("real/ecmwf-pl-10deg-202406/pl_regular_ll.grib")
        # In a process of its own, since eccodes shares none with some versions of PROJ.
        code = f"""
import xarray as xr
ds = xr.open_dataset({str(path)!r}, engine="cfgrib", backend_kwargs={{"indexpath": ""}})
ds.drop_encoding().to_netcdf({str(tmp_path / "forecasts.nc")!r})
"""
        subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
        with xr.open_dataset(tmp_path / "forecasts.nc", decode_timedelta=True) as ds:
            ds.load()
        flat = flatten_valid_time(ds)
        assert flat.sizes["valid_time"] == 8 and recognise(flat).level == "isobaricInhPa"
        spec = StateSpec(
            tuple((n, lev) for n in ("temperature", "geopotential") for lev in (500, 850)),
            tuple(np.linspace(-90, 90, 19)), tuple(np.arange(0, 360, 10.0)), 6, 8,
        )  # fmt: skip
        numbers = to_array(flat, spec)
        np.testing.assert_allclose(numbers[3, 1], ds.t.isel(time=1, step=1).sel(isobaricInhPa=850)[::-1], rtol=1e-6)
        report = check(ds[["t", "z"]], spec)
        assert report and not report.of_values
