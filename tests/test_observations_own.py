"""Quantities of the user's own: kept as they come, compared with what a function of the state returns."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xappa
from xappa.errors import NoReportsError, ObservationError, OperatorError, OptionError, UnitsError
from xappa.observations import is_one_form, read_observations
from xappa.observations.errors.tables import with_errors
from xappa.observations.flags import Flag
from xappa.operators import Footprint, Function
from xappa.tasks.climatology import climatology

SIZE = 12
START = np.datetime64("2001-03-13T00", "s")
PLACE = {
    "time": START + 6 * np.arange(SIZE) % 24 * np.timedelta64(3600, "s"),
    "lat": np.linspace(-60, 60, SIZE),
    "lon": np.linspace(0, 330, SIZE),
}


def fires(value: float = 3.0, **attrs: str) -> xr.Dataset:
    """Points of a CF Dataset with a quantity that no vocabulary has."""
    attrs = {"units": "1", "long_name": "Fire index"} | attrs
    values = np.full(SIZE, value)
    return xr.Dataset(
        {"fire_index": ("point", values, {k: v for k, v in attrs.items() if v})},
        {name: ("point", array) for name, array in PLACE.items()},
    )


def table(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(PLACE | columns)


def fire_index(state: xr.Dataset) -> xr.DataArray:
    """Warm and windy; not linear."""
    wind = state["u_component_of_wind"].isel(level=-1, drop=True)
    return (0.1 * (state["2m_temperature"] - 273.0) + (wind**2 + 1) ** 0.5).rename("fire_index").assign_attrs(units="1")


class TestReading:
    def test_all_numbers_can_be_kept_as_they_are(self) -> None:
        ds = fires().assign(t2m=("point", np.full(SIZE, 280.0), {"units": "K"}), crs=0, remark=("point", ["x"] * SIZE))
        obs = read_observations(ds, unknown="keep")
        assert is_one_form(obs) and set(obs.data_vars) >= {"fire_index", "2m_temperature"}
        assert obs["fire_index"].attrs["units"] == "1" and obs["fire_index"].attrs["long_name"] == "Fire index"
        np.testing.assert_array_equal(obs["fire_index"], 3.0)
        assert set(json.loads(obs.attrs["unknown_variables"])) == {"crs", "remark"}
        xr.testing.assert_identical(read_observations(obs), obs)

    def test_left_out_and_counted_unless_asked_for(self) -> None:
        ds = fires().assign(t2m=("point", np.full(SIZE, 280.0), {"units": "K"}))
        obs = read_observations(ds)
        assert "fire_index" not in obs and json.loads(obs.attrs["unknown_variables"]) == {"fire_index": SIZE}
        for told in ({"unknown": ["fire_index"]}, {"units": {"fire_index": "1"}}, {"error": {"fire_index": 2.0}}):
            assert "fire_index" in read_observations(ds, **told)

    def test_wide_and_tidy_tables(self) -> None:
        told = {"rename": {"FI": "fire_index"}, "units": {"fire_index": "1"}}
        wide = read_observations(table(FI=3.0, FI_error=0.5, other=1.0), **told)
        tidy = read_observations(table(variable="FI", value=3.0, error=0.5), **told)
        for obs in (wide, tidy):
            assert is_one_form(obs) and obs["fire_index"].attrs["units"] == "1"
            np.testing.assert_array_equal(obs["fire_index"], 3.0)
            np.testing.assert_array_equal(obs["fire_index_error"], 0.5)
        assert json.loads(wide.attrs["unknown_variables"]) == {"other": SIZE}
        both = table(variable=["FI", "t2m"] * (SIZE // 2), value=[3.0, 7.0] * (SIZE // 2), units=["1", "degC"] * 6)
        obs = read_observations(both, rename={"FI": "fire_index"}, unknown="keep")
        np.testing.assert_array_equal(obs["fire_index"].dropna("obs"), 3.0)
        np.testing.assert_allclose(obs["2m_temperature"].dropna("obs"), 280.15)

    def test_rows_in_several_units(self) -> None:
        with pytest.raises(ObservationError, match="fire_index: rows in several units"):
            read_observations(
                table(variable="fire_index", value=3.0, units=["1", "percent"] * 6), unknown=["fire_index"]
            )

    def test_a_misspelt_target_is_still_refused(self) -> None:
        with pytest.raises(OptionError, match="2m_temperature.*units="):
            read_observations(table(FI=3.0), rename={"FI": "2m_temprature"})
        with pytest.raises(OptionError, match="unknown='all'"):
            read_observations(table(FI=3.0), unknown="all")

    def test_ancillary_errors_in_other_units(self) -> None:
        ds = fires(units="percent", ancillary_variables="spread").assign(
            spread=("point", np.full(SIZE, 0.02), {"units": "1", "standard_name": "x standard_error"})
        )
        np.testing.assert_allclose(read_observations(ds, unknown="keep")["fire_index_error"], 2.0)

    def test_errors_are_given_in_their_units(self) -> None:
        obs = read_observations(fires(units="m"), unknown="keep")
        np.testing.assert_allclose(with_errors(obs, {"fire_index": "50 cm"})["fire_index_error"], 0.5)
        np.testing.assert_allclose(with_errors(obs, 2.0)["fire_index_error"], 2.0)
        with pytest.raises(OptionError, match="'fire_indx' is no known quantity"):
            with_errors(obs, {"fire_indx": 2.0})

    def test_lazy_values_stay_lazy(self) -> None:
        obs = read_observations(fires().chunk({"point": 5}), unknown="keep", error={"fire_index": 2.0})
        assert obs["fire_index"].chunks is not None and obs["fire_index_flag"].chunks is not None
        xr.testing.assert_identical(
            obs.compute(), read_observations(fires(), unknown="keep", error={"fire_index": 2.0})
        )

    def test_sources_in_several_units(self) -> None:
        percent = fires(300.0, units="percent").assign(fire_index_error=("point", np.full(SIZE, 50.0)))
        obs = read_observations({"a": fires(), "b": percent}, unknown="keep")
        np.testing.assert_allclose(obs["fire_index"], 3.0)
        np.testing.assert_allclose(obs["fire_index_error"].isel(obs=slice(SIZE, None)), 0.5)
        with pytest.raises(UnitsError, match="'kg' in one source and '1' in another"):
            read_observations([fires(), fires(units="kg")], unknown="keep")
        with pytest.raises(UnitsError, match="nothing"):
            read_observations([fires(), fires(units="")], unknown="keep")

    def test_checks_that_need_the_vocabulary_are_left_out(self) -> None:
        ds = fires()
        ds["fire_index"].values[:3] = [1e9, np.inf, np.nan]
        obs = xappa.quality_control(ds, xappa.Quality(background=None, model_height=None), error={"fire_index": 0.1})
        assert obs["fire_index_flag"].values[:4].tolist() == [0, Flag.OUT_OF_RANGE, 0, 0]


class TestAssimilate:
    def run(self, model: Any, obs: Any, operator: Any = fire_index, **options: Any) -> xr.Dataset:
        ds = xappa.template("2001-03-13T00", "2001-03-13T18", model=model)
        options = {"error": {"fire_index": 0.5}, "steps": 6, "seed": 0} | options
        return ds.appa.assimilate(obs, operator, model=model, **options)

    @staticmethod
    def good(analysis: xr.Dataset, name: str = "fire_index", status: str = "good") -> int:
        return int(xappa.diagnostics(analysis)["reports"].sel(variable=name, status=status))

    def test_the_state_is_drawn_to_the_reports(self, tiny_model: Any) -> None:
        seen = {}
        for value in (2.0, 12.0):
            analysis = self.run(tiny_model, fires(value)[["fire_index"]])
            assert self.good(analysis) == SIZE
            seen[value] = analysis.compute().appa.observe(fires(), operator=fire_index)["fire_index"]
        assert seen[2.0].attrs["units"] == "1"
        assert float(seen[12.0].mean()) > float(seen[2.0].mean()) + 1

    def test_lazy_ones_dicts_and_results_without_a_name(self, tiny_model: Any) -> None:
        assert self.good(self.run(tiny_model, fires().chunk({"point": 5}))) == SIZE
        both = {"fires": fires(), "synop": table(t2m=290.0)}
        operator = {
            "fires": Footprint(radius=50.0) @ Function(lambda s: fire_index(s).rename(None)),
            "synop": "nearest",
        }
        analysis = self.run(tiny_model, both, operator, error={"fire_index": 0.5, "2m_temperature": 1.0})
        assert self.good(analysis) == self.good(analysis, "2m_temperature") == SIZE

    def test_what_nobody_told_does_not_make_a_result_ambiguous(self, tiny_model: Any) -> None:
        ds = fires().assign(index_of_cell=("point", np.arange(SIZE)))
        analysis = self.run(tiny_model, ds, lambda s: fire_index(s).rename(None))
        assert self.good(analysis) == SIZE and self.good(analysis, "index_of_cell", "unused") == SIZE

    def test_an_operator_that_does_not_give_it(self, tiny_model: Any) -> None:
        both = fires().assign(t2m=("point", np.full(SIZE, 280.0), {"units": "K"}))
        errors = {"fire_index": 0.5, "2m_temperature": 1.0}
        analysis = self.run(tiny_model, both, "interpolate", error=errors)
        assert self.good(analysis, status="unknown_variable") == SIZE and self.good(analysis, "2m_temperature") == SIZE
        with pytest.raises(ObservationError, match="found 'fire_index'"):
            self.run(tiny_model, fires(), "interpolate")
        with pytest.raises(ObservationError, match="No known variable among 'fire_index'"):
            self.run(tiny_model, fires(), "interpolate", error="ecmwf-like")

    def test_no_error(self, tiny_model: Any) -> None:
        with pytest.raises(NoReportsError, match="fire_index: 12 no_error .error={'fire_index': ...}"):
            self.run(tiny_model, fires(), error=None)
        own = fires().assign(fire_index_error=("point", np.full(SIZE, 0.5)))
        assert self.good(self.run(tiny_model, own, error=None)) == SIZE

    def test_no_units(self, tiny_model: Any) -> None:
        with pytest.raises(UnitsError, match="fire_index: observed without units.*attrs"):
            self.run(tiny_model, fires(units=""))
        told = read_observations(fires(units=""), units={"fire_index": "operator"})
        assert "units" not in told["fire_index"].attrs
        assert self.good(self.run(tiny_model, told)) == SIZE
        with pytest.raises(OperatorError, match="without units"):
            self.run(tiny_model, told, lambda s: fire_index(s).drop_attrs())

    def test_units_are_converted(self, tiny_model: Any) -> None:
        percent = self.run(tiny_model, fires(300.0, units="percent"), error={"fire_index": 50.0}).compute()
        plain = self.run(tiny_model, fires(3.0)).compute()
        xr.testing.assert_allclose(percent, plain, rtol=1e-3, atol=1e-3)
        with pytest.raises(OperatorError, match="cannot be converted"):
            self.run(tiny_model, fires(units="kg"))


def test_observe_reads_it_and_adds_noise(tiny_model: Any) -> None:
    ds = xappa.template("2001-03-13T00", "2001-03-13T18", model=tiny_model)
    fields = climatology(ds, model=tiny_model).compute()
    seen = fields.appa.observe(fires(), operator=fire_index)
    noisy = fields.appa.observe(fires(), operator=fire_index, error={"fire_index": 0.1}, seed=1)
    assert np.isfinite(seen["fire_index"]).all() and seen["fire_index"].attrs["units"] == "1"
    assert 0 < float(np.abs(noisy["fire_index"] - seen["fire_index"]).max()) < 0.5
    np.testing.assert_allclose(noisy["fire_index_error"], 0.1)
