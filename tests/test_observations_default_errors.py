"""Errors of last resort: the table's, what it implies, and reports that are left out for want of one."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xappa
from xappa.errors import MissingErrorWarning, NoReportsError
from xappa.model.registry import load
from xappa.observations import formulas, read_observations
from xappa.observations.convert import CONVERSIONS
from xappa.observations.errors.defaults import with_default_errors
from xappa.observations.flags import Flag
from xappa.operators import ColumnWater, Footprint, StateContext, choose_operator

T, RAIN = "2m_temperature", "total_precipitation_6hr"
UNITS = {
    "t2m": "K", "d2m": "K", "rh2m": "1", "q2m": "kg kg-1", "sp": "Pa", "qnh": "Pa", "tp06": "m", "t": "K", "td": "K",
    "theta": "K", "zg": "m", "rh": "1", "wind_speed": "m s-1", "wind_direction": "degree", "mx2t": "K",
}  # fmt: skip


def read(derive=True, time="2001-03-13T06", **columns):
    size = max(map(np.size, columns.values()))
    table = pd.DataFrame({"time": time, "lat": np.linspace(10, 50, size), "lon": 5.0, "elev": 100.0} | columns)
    return read_observations(table, units={k: v for k, v in UNITS.items() if k in columns}, derive=derive)


def error_of(obs, name):
    return float(with_default_errors(obs)[f"{name}_error"][0])


class TestImplied:
    @pytest.mark.parametrize(
        ("name", "column", "value", "target"),
        [
            ("altimeter_setting", "qnh", 101500.0, "surface_pressure"),
            ("potential_temperature", "theta", 300.0, "temperature"),
            ("dewpoint_temperature", "td", 275.0, "specific_humidity"),
            ("geopotential_height", "zg", 5500.0, "geopotential"),
        ],
    )
    def test_it_makes_the_error_that_the_table_has_of_the_other_form(self, name, column, value, target):
        level = {} if name == "altimeter_setting" else {"level": 700.0}
        obs = with_default_errors(read(derive=False, **{column: [value]}, **level))
        conversion = next(c for c in CONVERSIONS if c.target == target)
        made = obs.drop_vars(f"{target}_error", errors="ignore")
        expected = with_default_errors(made.assign({target: conversion(obs).assign_attrs(units="")}))
        assert float(conversion.compute_error(obs)[0]) == pytest.approx(float(expected[f"{target}_error"][0]), rel=1e-6)

    def test_of_a_height_it_is_that_of_the_geopotential(self):
        assert error_of(read(zg=[5500.0], level=500.0), "geopotential_height") == pytest.approx(82 / 9.80665)

    def test_of_a_dew_point_it_is_that_of_the_relative_humidity(self):
        obs = read(d2m=[280.0], t2m=[290.0])
        error, step = error_of(obs, "2m_dewpoint_temperature"), 1e-3
        e = formulas.saturation_vapour_pressure
        change = (e(280.0 + step) - e(280.0 - step)) / (2 * step) / e(290.0)
        assert error * change == pytest.approx(0.17, rel=1e-4)
        # Alone, it is taken as one of 70 %.
        assert error_of(read(d2m=[280.0]), "2m_dewpoint_temperature") == pytest.approx(
            error * e(280.0) / 0.7 / e(290.0), rel=1e-4
        )

    def test_humidities_of_one_station_agree(self):
        given = {"t2m": [290.0], "sp": [98000.0]}
        relative = formulas.saturation_vapour_pressure(280.0) / formulas.saturation_vapour_pressure(290.0)
        specific = float(formulas.specific_humidity(280.0, 98000.0))
        found = [
            error_of(read(**given, **one), "2m_specific_humidity")
            for one in ({"d2m": [280.0]}, {"rh2m": [relative]}, {"q2m": [specific]})
        ]
        np.testing.assert_allclose(found[0], found[2], rtol=0.01)
        # That of the temperature counts too, where the specific humidity was derived from it.
        assert found[1] > found[2]

    def test_of_documented_values(self):
        obs = read(derive=False, wind_speed=[20.0], rh=[0.5], level=250.0)
        assert (error_of(obs, "wind_speed"), error_of(obs, "relative_humidity")) == (3.5, 0.28)
        extreme = read_observations(
            pd.DataFrame({"time": ["2001-03-13"], "lat": 0.0, "lon": 0.0, "mx2t": 300.0, "period": 24}),
            units={"mx2t": "K"},
        )
        assert error_of(extreme, "maximum_2m_temperature") == 2.0

    def test_what_is_told_comes_first(self):
        obs = read(t2m=[280.0, 281.0], d2m=[270.0, np.nan], d2m_error=[0.5, np.nan], sp=[1e5, 1e5])
        found = with_default_errors(obs, {T: 0.3})
        assert found[f"{T}_error"].values.tolist() == [0.3, 0.3]
        np.testing.assert_array_equal(found["2m_dewpoint_temperature_error"], [0.5, np.nan])
        assert (found["surface_pressure_error"] == 100.0).all()

    def test_lazy_reports_stay_so(self):
        obs = read(t2m=[280.0, 281.0], d2m=[270.0, 271.0], tp06=[0.001, 0.0])
        lazy = with_default_errors(obs.chunk(obs=1))
        assert lazy["2m_dewpoint_temperature_error"].chunks
        expected = with_default_errors(obs)["2m_dewpoint_temperature_error"]
        np.testing.assert_array_equal(lazy["2m_dewpoint_temperature_error"], expected)
        assert f"{RAIN}_error" not in lazy


@pytest.fixture
def ds(tiny_model):
    return xappa.template("2001-03-13T00", "2001-03-13T18", model=tiny_model)


@pytest.fixture
def options(tiny_model):
    return {"model": tiny_model, "seed": 0, "steps": 2, "quality": "none"}


class TestAnalysis:
    def test_what_nothing_is_known_of_is_left_out_and_counted(self, ds, options):
        obs = read(t2m=[280.0, 281.0, 282.0], tp06=[0.001, 0.0, np.nan])
        with pytest.warns(MissingErrorWarning, match=rf"{RAIN} \(in m\).*error={{'{RAIN}'") as said:
            analysis = ds.appa.assimilate(obs, **options)
        assert [w.category for w in said].count(MissingErrorWarning) == 1 and said[0].filename == __file__
        assert analysis.appa.summary().loc[RAIN, "no_error"] == 2
        assert analysis.appa.summary().loc[T, "good"] == 3
        counts = xappa.diagnostics(analysis)["reports"]
        assert int(counts.sel(variable=RAIN, status="no_error")) == 2
        alone = ds.appa.assimilate(obs.drop_vars([name for name in obs.data_vars if RAIN in name]), **options)
        np.testing.assert_array_equal(analysis[T], alone[T])

    def test_single_reports_without_an_error_are_left_out(self, ds, options):
        obs = read(t2m=[280.0, 281.0], tp06=[0.001, 0.002], tp06_error=[0.001, np.nan])
        with pytest.warns(MissingErrorWarning, match=RAIN):
            analysis = ds.appa.assimilate(obs, **options)
        assert analysis.appa.summary().loc[RAIN].loc[["good", "no_error"]].tolist() == [1, 1]

    def test_nothing_is_said_of_what_the_model_cannot_use_or_of_what_is_told(self, ds, options):
        obs = read(t2m=[280.0], tp06=[0.001], time="2001-03-20")
        obs = xr.concat([obs, read(t2m=[280.0], tp06=[np.nan])], "obs")
        with warnings.catch_warnings():
            warnings.simplefilter("error", MissingErrorWarning)
            ds.appa.assimilate(obs, **options)
            ds.appa.assimilate(read(t2m=[280.0], tp06=[0.001]), error={RAIN: "1 mm"}, **options)

    @pytest.mark.parametrize("lazy", [False, True])
    def test_if_nothing_is_left_it_is_refused(self, ds, options, lazy):
        obs = read(tp06=[0.001, 0.0])
        with pytest.raises(NoReportsError, match=rf"{RAIN}: 2 no_error \(error={{'{RAIN}': ...}}"):
            ds.appa.assimilate(obs.chunk(obs=1) if lazy else obs, **options)

    def test_lazy_reports_are_treated_alike(self, ds, options):
        obs = read(t2m=[280.0, 281.0, 282.0], tp06=[0.001, 0.0, np.nan])
        with pytest.warns(MissingErrorWarning, match=RAIN) as said:
            lazy = ds.appa.assimilate(obs.chunk(obs=1), **options)
            found = lazy[T].compute()
        assert [w.category for w in said].count(MissingErrorWarning) == 1
        assert int(xappa.diagnostics(lazy)["reports"].sel(variable=RAIN, status="no_error")) == 2
        with pytest.warns(MissingErrorWarning):
            np.testing.assert_allclose(found, ds.appa.assimilate(obs, **options)[T], atol=1e-3)

    def test_a_cycle_says_it_once(self, options, ds, tmp_path):
        obs = read(t2m=[280.0, 281.0], tp06=[0.001, 0.0], time=["2001-03-13T06", "2001-03-13T18"])
        with pytest.warns(MissingErrorWarning) as said:
            xappa.cycle(ds, obs, window="12h", store=tmp_path / "c", members=1, effort="preview", **options)
        assert [w.category for w in said].count(MissingErrorWarning) == 1


class TestEveryOperator:
    """Reports without an error are left out whatever reads them, and the others are read as without those."""

    @pytest.mark.parametrize("operator", ["interpolate", "nearest", "grid", Footprint(radius=500), "own"])
    def test_geometries_and_functions(self, ds, options, operator):
        grid = {"lat": [ds["latitude"].values[2]] * 3, "lon": ds["longitude"].values[:3]}
        table = pd.DataFrame({"time": "2001-03-13T06", "t2m": [280.0, 281.0, 282.0], "heat": 3.0, **grid})
        obs = read_observations(table, units={"t2m": "K", "heat": "K"})

        def heat(state):
            return xr.Dataset({"heat": state[T] - 273.15, T: state[T]})

        chosen = heat if operator == "own" else operator
        known = obs.assign({f"{T}_error": ("obs", [1.0, np.nan, 1.0])})
        spec = load(options["model"]).spec
        rows, seen = choose_operator(chosen)(known, StateContext(spec, ds["time"].values))
        assert rows.observation.tolist() == [0, 2]
        assert seen[f"{T}_flag"].values.tolist() == [0, Flag.NO_ERROR, 0]

    def test_of_a_dict_by_source(self, ds, options):
        rain = read(tp06=[0.001, 0.002])
        with pytest.warns(MissingErrorWarning):
            analysis = ds.appa.assimilate(
                {"a": read(t2m=[280.0, 281.0]), "b": rain}, {"a": "nearest", "b": "interpolate"}, **options
            )
        assert analysis.appa.summary().loc[RAIN, "no_error"] == 2

    def test_of_sums_over_levels(self, ds):
        table = pd.DataFrame({"time": ds["time"].values[0], "lat": [10.0, 20.0], "lon": 5.0, "tcwv": 20.0})
        obs = read_observations(table, units={"tcwv": "kg m-2"})
        spec = load("speedy").spec
        rows, seen = ColumnWater()(obs, StateContext(spec, ds["time"].values, np.zeros(spec.shape[1:])))
        assert len(rows) == 0 and (seen["total_column_water_vapour_flag"] == Flag.NO_ERROR).all()
