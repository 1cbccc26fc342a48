"""Functions of a Dataset as operators: what they may use, and what comes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

from tests.coarse import SPEC, TIMES, U, V, fields, flags, random_states, reports, wind_speed
from xappa.errors import OptionError
from xappa.grids.axes import recognise
from xappa.observations.flags import Flag
from xappa.operators import CompositeOperator, Footprint, Function, Interpolate, StateContext, choose_operator

trajectory = pytest.fixture(random_states)
ds = pytest.fixture(fields)


def _form(obs: xr.Dataset) -> xr.Dataset:
    from xappa.observations import read_observations

    return read_observations(obs.drop_vars([v for v in obs.data_vars if str(v).endswith("_error")]))


class TestFunctions:
    def test_values(self, rng: np.random.Generator, trajectory: np.ndarray) -> None:
        obs = reports(rng.uniform(-70, 70, 30), rng.uniform(0, 360, 30), rng.uniform(0, 24, 30), wind_speed=0.0)
        rows, seen = choose_operator(wind_speed)(obs, StateContext(SPEC, TIMES))
        stencil, _ = Interpolate()(
            obs.rename({"wind_speed": U, "wind_speed_error": f"{U}_error"}), StateContext(SPEC, TIMES)
        )
        speed = np.zeros_like(trajectory)
        speed[:, 1] = np.hypot(trajectory[:, 1], trajectory[:, 2])
        assert isinstance(rows, CompositeOperator) and flags(seen, "wind_speed") == [0] * 30
        np.testing.assert_allclose(rows.apply(trajectory), stencil.apply(speed), rtol=1e-6)
        assert rows.blocks[0].function.local

    def test_the_users_names_order_and_units(self, ds: xr.Dataset, rng: np.random.Generator) -> None:
        user = ds.rename({"2m_temperature": "t2m", "latitude": "lat", "level": "plev"}).isel(lat=slice(None, None, -1))
        user["t2m"] = (user["t2m"] - 273.15).assign_attrs(units="degC")
        user = user.assign_coords(plev=("plev", user.plev.values * 100.0, {"units": "Pa"}))
        seen: dict[str, Any] = {}

        def function(state: xr.Dataset) -> xr.DataArray:
            seen.update(lat=state.lat.values, plev=state.plev.values, units=state.t2m.attrs["units"])
            return (state["t2m"] + 0.0 * state["temperature"].sel(plev=50000.0, drop=True)).assign_attrs(units="degC")

        obs = reports(rng.uniform(-70, 70, 9), rng.uniform(0, 360, 9), 5.0, **{"2m_temperature": 280.0})
        obs["2m_temperature"].attrs["units"] = "K"
        found = user.appa.observe(_form(obs), operator=function)
        expected = ds.appa.observe(_form(obs), operator=Interpolate(lapse_rate=None))
        np.testing.assert_allclose(found["2m_temperature"], expected["2m_temperature"], rtol=1e-6)
        assert seen["units"] == "degC" and seen["lat"][0] > seen["lat"][-1] and seen["plev"].max() == 100000

    def test_the_models_names_do_as_well(self, ds: xr.Dataset) -> None:
        user = ds.rename({U: "u10", V: "v10"})
        obs = reports(coords={}, wind_speed=[0.0, 0.0])
        rows, _ = choose_operator(wind_speed)(obs, StateContext(SPEC, TIMES, layout=recognise(user)))
        assert rows.blocks[0].function.state.layout is None

    def test_a_dataset_and_what_is_unused(self, trajectory: np.ndarray) -> None:
        def both(state: xr.Dataset) -> xr.Dataset:
            return xr.Dataset({"10m_wind_speed": wind_speed(state), "2m_temperature": state["2m_temperature"] - 1})

        obs = reports(
            15, 30, **{"10m_wind_speed": 0.0, "2m_temperature": 0.0, "mean_sea_level_pressure": [1.0, np.nan]}
        )
        rows, seen = choose_operator(both)(obs, StateContext(SPEC, TIMES))
        assert flags(seen, "mean_sea_level_pressure") == [Flag.UNUSED, 0]
        assert sorted(rows.names) == ["10m_wind_speed", "2m_temperature"] and len(rows) == 4
        series = trajectory[0, :3, 6, 2]
        by_name = {name: rows.apply(trajectory)[rows.variable == k][0] for k, name in enumerate(rows.names)}
        assert by_name["10m_wind_speed"] == pytest.approx(np.hypot(series[1], series[2]), rel=1e-6)
        assert by_name["2m_temperature"] == pytest.approx(series[0] - 1, rel=1e-6)

    def test_levels(self, trajectory: np.ndarray) -> None:
        obs = reports(15, 30, coords={"level": [500.0, 850.0]}, potential_temperature=0.0)
        rows, _ = choose_operator(lambda s: s["temperature"] * (1000 / s.level) ** (2 / 7))(
            obs, StateContext(SPEC, TIMES)
        )
        expected = trajectory[0, [7, 9], 6, 2] * (1000 / np.array([500.0, 850.0])) ** (2 / 7)
        np.testing.assert_allclose(rows.apply(trajectory), expected, rtol=1e-6)

    def test_a_region_and_a_zonal_mean(self, trajectory: np.ndarray) -> None:
        obs = reports([30.0, -30.0], 100.0, observed=0.0)
        rows, seen = choose_operator(lambda s: s["2m_temperature"].sel(latitude=slice(0, 60)))(
            obs, StateContext(SPEC, TIMES)
        )
        assert flags(seen, "observed") == [0, Flag.MASKED] and len(rows) == 1
        zonal, _ = choose_operator(lambda s: s["2m_temperature"].mean("longitude"))(obs, StateContext(SPEC, TIMES))
        np.testing.assert_allclose(zonal.apply(trajectory), trajectory[0, 0, [7, 3]].mean(axis=-1), rtol=1e-6)

    def test_steps_in_time(self, trajectory: np.ndarray) -> None:
        obs = reports(15, 30, [0.0, 6.0, 24.0], observed=0.0)
        rows, _ = choose_operator(lambda s: s["2m_temperature"].diff("time"))(obs, StateContext(SPEC, TIMES))
        assert not rows.blocks[0].function.local and rows.frames.tolist() == [0, 1, 2, 3, 4]
        found = rows.apply(trajectory)
        series = trajectory[:, 0, 6, 2]
        np.testing.assert_allclose(found[1:], [series[1] - series[0], series[4] - series[3]], rtol=1e-5)
        assert np.isnan(found[0])

    @pytest.mark.parametrize(
        ("function", "expected"),
        [
            (lambda u: u - u.shift(time=2).fillna(u), lambda x: [0, 0, x[2] - x[0], x[3] - x[1], x[4] - x[2]]),
            (lambda u: u - u.shift(time=4).fillna(1.0), lambda x: [*(x[:4] - 1), x[4] - x[0]]),
            (lambda u: u + u.shift(time=2, fill_value=3.0), lambda x: [*(x[:2] + 3), *(x[2:] + x[:3])]),
            (lambda u: u - u.shift(time=-2).fillna(u), lambda x: [*(x[:3] - x[2:]), 0, 0]),
            (lambda u: u.assign_coords(time=u.time + np.timedelta64(6, "h")), lambda x: [np.nan, *x[:4]]),
            (lambda u: u.assign_coords(time=u.time - np.timedelta64(6, "h")), lambda x: [*x[1:], np.nan]),
            (lambda u: u.shift(time=2), lambda x: [np.nan, np.nan, *x[:3]]),
            (lambda u: u.rolling(time=3).mean(), lambda x: [np.nan, np.nan, *((x[:3] + x[1:4] + x[2:]) / 3)]),
        ],
    )
    def test_times_further_away(self, function: Callable, expected: Callable, trajectory: np.ndarray) -> None:
        obs = reports(15, 30, [0.0, 6.0, 12.0, 18.0, 24.0], observed=0.0)
        rows, _ = choose_operator(lambda s: function(s[U]))(obs, StateContext(SPEC, TIMES))
        assert not rows.blocks[0].function.local
        np.testing.assert_allclose(rows.apply(trajectory), expected(trajectory[:, 1, 6, 2]), rtol=1e-5, atol=1e-5)
        # Those of one report come out the same, though it reads only one time itself.
        one, _ = choose_operator(lambda s: function(s[U]))(obs.isel(obs=[3]), StateContext(SPEC, TIMES))
        assert one.frames.tolist() == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize(
        "function",
        [
            lambda u: u - u.mean("longitude"),
            lambda u: u.where(u.time.dt.hour == 12),
            lambda u: u.sel(time=slice("2021-03-21T12", None)),
            lambda u: np.exp(u / 10).isel(latitude=slice(None, None, -1)),
        ],
    )
    def test_functions_of_each_time_alone(self, function: Callable) -> None:
        rows, _ = choose_operator(lambda s: function(s[U]))(
            reports(15, 30, 12.0, observed=0.0), StateContext(SPEC, TIMES)
        )
        assert rows.blocks[0].function.local and rows.frames.tolist() == [2]

    def test_the_times_are_those_of_the_coordinate(self, trajectory: np.ndarray) -> None:
        series = trajectory[:, 0, 6, 2]
        for function, expected in (
            (lambda s: s["2m_temperature"].isel(time=slice(None, None, -1)), series[[0, 1, 4]]),
            (lambda s: s["2m_temperature"].sortby("time", ascending=False), series[[0, 1, 4]]),
            (lambda s: s["2m_temperature"].isel(time=[4, 1, 3]), [np.nan, series[1], series[4]]),
        ):
            rows, _ = choose_operator(function)(
                reports(15, 30, [0.0, 6.0, 24.0], observed=0.0), StateContext(SPEC, TIMES)
            )
            found = rows.reindex_times(rows.frames).apply(trajectory[rows.frames])
            np.testing.assert_allclose(found, expected, rtol=1e-6)

    def test_composition(self, trajectory: np.ndarray) -> None:
        def components(state: xr.Dataset) -> xr.Dataset:
            return xr.Dataset({"a": state[U], "b": state[V]})

        operator = Footprint(radius=20) @ (lambda s: (s.a**2 + s.b**2) ** 0.5) @ Function(components)
        obs = reports(15, 30, wind_speed=0.0)
        plain = (Footprint(radius=20) @ wind_speed)(obs, StateContext(SPEC, TIMES))[0].apply(trajectory)
        np.testing.assert_allclose(operator(obs, StateContext(SPEC, TIMES))[0].apply(trajectory), plain, rtol=1e-6)
        with pytest.raises(OptionError, match="cannot be composed"):
            wind_speed @ Interpolate()

    def test_masked_cells_are_avoided(self) -> None:
        mask = np.ones(SPEC.shape, bool)
        mask[4, :, :12] = False
        obs = reports(3.0, [200.0, 90.0], observed=0.0)
        contrast = choose_operator(lambda s: s["sea_surface_temperature"] - s["2m_temperature"])
        assert flags(contrast(obs, StateContext(SPEC, TIMES, mask=mask))[1], "observed") == [0, Flag.MASKED]
