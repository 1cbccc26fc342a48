"""Operators: what they read, that they are differentiated correctly, what is said to be wrong with them."""

from __future__ import annotations

import functools
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import dask
import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xappa.errors import ObservationError, OperatorError, OptionError
from xappa.grids.axes import recognise
from xappa.labels import to_dataset
from xappa.models.state import StateSpec
from xappa.observations.flags import Flag
from xappa.operators import (
    OPERATORS,
    Accumulate,
    Average,
    ColumnWater,
    Footprint,
    Function,
    Grid,
    Interpolate,
    Nearest,
    Rows,
    Sounder,
    Thickness,
    choose_operator,
    split_windows,
)
from xappa.operators.columns import integral
from xappa.operators.footprint import away
from xappa.operators.heights import standard_height
from xappa.operators.nearest import unit_vectors
from xappa.operators.readings.functions import make_reading
from xappa.testing.operators import check_operator

LEVELS = (300, 500, 700, 850, 1000)
SPEC = StateSpec(
    channels=(
        ("2m_temperature", None),
        ("10m_u_component_of_wind", None),
        ("10m_v_component_of_wind", None),
        ("mean_sea_level_pressure", None),
        ("sea_surface_temperature", None),
        ("total_precipitation_6hr", None),
        *((name, level) for name in ("temperature", "geopotential", "specific_humidity") for level in LEVELS),
    ),
    latitude=tuple(np.arange(-75.0, 90, 15)),
    longitude=tuple(np.arange(0.0, 360, 15)),
    step_hours=6,
    window=5,
)
TIMES = np.datetime64("2021-03-21", "s") + np.arange(5) * SPEC.step
U, V = "10m_u_component_of_wind", "10m_v_component_of_wind"


def reports(latitude=0.0, longitude=0.0, hours=0.0, error=1.0, coords=None, **values: Any) -> xr.Dataset:
    size = max(np.size(v) for v in (latitude, longitude, hours, *values.values(), *(coords or {}).values()))

    def spread(value: Any, dtype: Any = float) -> tuple[str, np.ndarray]:
        return "obs", np.array(np.broadcast_to(np.asarray(value, dtype), size))

    when = TIMES[0] + (spread(hours)[1] * 3600).astype("m8[s]")
    places = {"time": ("obs", when), "latitude": spread(latitude), "longitude": spread(longitude)}
    places |= {name: spread(value, None) for name, value in (coords or {}).items()}
    data = {name: spread(value) for name, value in values.items()}
    data |= {f"{name}_error": spread(error) for name in values}
    return xr.Dataset(data, places)


@pytest.fixture
def trajectory(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(5, *SPEC.shape)) + 10


@pytest.fixture
def ds(rng: np.random.Generator) -> xr.Dataset:
    return fields(rng)


def fields(rng: np.random.Generator, spec: StateSpec = SPEC) -> xr.Dataset:
    from xappa.operators.plausible import plausible

    values = plausible(spec, 5, seed=int(rng.integers(1000)), dtype=torch.float64).numpy()
    return to_dataset(values[None], spec, TIMES, [0]).isel(member=0, drop=True)


def wind_speed(state: xr.Dataset) -> xr.DataArray:
    """Speed of the 10 m wind."""
    return (state[U] ** 2 + state[V] ** 2) ** 0.5


def flags(obs: xr.Dataset, name: str) -> list[int]:
    return obs[f"{name}_flag"].values.tolist()


class TestNearest:
    def test_it_is_the_nearest_on_the_sphere(self, rng: np.random.Generator, trajectory: np.ndarray) -> None:
        size = 400
        latitude, longitude = np.degrees(np.arcsin(rng.uniform(-1, 1, size))), rng.uniform(-180, 540, size)
        obs = reports(latitude, longitude, 6.0, **{"2m_temperature": 0.0})
        stencil, seen = Nearest()(obs, SPEC, TIMES)
        rows, columns = np.meshgrid(SPEC.latitude, SPEC.longitude, indexing="ij")
        closeness = unit_vectors(latitude, longitude) @ unit_vectors(rows.ravel(), columns.ravel()).T
        best = closeness.max(axis=1)
        np.testing.assert_allclose(closeness[np.arange(size), stencil.cell[:, 0]], best, atol=1e-15)
        np.testing.assert_array_equal(stencil.apply(trajectory), trajectory[1, 0].reshape(-1)[stencil.cell[:, 0]])
        assert set(flags(seen, "2m_temperature")) == {0}

    def test_time_and_level(self, trajectory: np.ndarray) -> None:
        obs = reports(0, 0, [2.0, 4.0], coords={"level": [690.0, 780.0]}, temperature=0.0)
        stencil, _ = Nearest()(obs, SPEC, TIMES)
        expected = [trajectory[0, 8, 5, 0], trajectory[1, 9, 5, 0]]
        np.testing.assert_array_equal(stencil.apply(trajectory), expected)

    def test_halfway_reads_one_time(self) -> None:
        stencil, _ = Nearest()(reports(hours=[3.0, 9.0], **{"2m_temperature": 0.0}), SPEC, TIMES)
        assert stencil.weight.tolist() == [[1.0], [1.0]]


class TestGrid:
    def test_points_are_read_as_they_are(self, trajectory: np.ndarray) -> None:
        rows, columns = np.meshgrid(SPEC.latitude, np.array(SPEC.longitude) - 180, indexing="ij")
        obs = reports(rows.ravel(), columns.ravel(), 12.0, **{"2m_temperature": 0.0})
        stencil, _ = Grid()(obs, SPEC, TIMES)
        np.testing.assert_array_equal(stencil.apply(trajectory), np.roll(trajectory[2, 0], 12, axis=-1).ravel())

    def test_other_points_are_masked(self) -> None:
        obs = reports([0.0, 1.0, 0.0], [15.0, 15.0, 359.9999], **{"2m_temperature": 0.0})
        assert flags(Grid()(obs, SPEC, TIMES)[1], "2m_temperature") == [0, Flag.MASKED, 0]

    def test_another_grid_altogether(self) -> None:
        with pytest.raises(ObservationError, match="None of 2 observations is at a point.*use 'interpolate'"):
            Grid()(reports([1.0, 2.0], 3.0, **{"2m_temperature": 0.0}), SPEC, TIMES)


class TestFootprint:
    def test_a_small_one_is_interpolation(self, rng: np.random.Generator, trajectory: np.ndarray) -> None:
        obs = reports(rng.uniform(-70, 70, 50), rng.uniform(0, 360, 50), 3.0, **{"2m_temperature": 0.0})
        small = Footprint(radius=0.01)(obs, SPEC, TIMES)[0].apply(trajectory)
        plain = Interpolate(lapse_rate=None)(obs, SPEC, TIMES)[0].apply(trajectory)
        np.testing.assert_allclose(small, plain, atol=1e-4)

    @given(st.floats(-90, 90), st.floats(-180, 360), st.floats(1, 3000), st.floats(1, 3000), st.floats(0, 360))
    @settings(max_examples=25)
    def test_a_constant_everywhere(self, latitude: float, longitude: float, a: float, b: float, azimuth: float) -> None:
        obs = reports(latitude, longitude, **{"2m_temperature": 0.0})
        stencil, seen = Footprint(axes=(a, b), azimuth=azimuth)(obs, SPEC, TIMES)
        assert flags(seen, "2m_temperature") == [0]
        assert stencil.weight.sum() == pytest.approx(1, abs=1e-12) and (stencil.weight >= -1e-15).all()

    def test_the_mean_over_a_circle(self) -> None:
        # The mean of sin(latitude) over a spherical cap is that at its centre times (1 + cos r) / 2.
        spec = StateSpec((("2m_temperature", None),), tuple(np.arange(-89.5, 90)), tuple(np.arange(0.0, 360)), 6, 5)
        field = np.broadcast_to(np.sin(np.deg2rad(spec.latitude))[:, None], spec.shape)
        obs = reports([10.0, 60.0, 85.0], 200.0, **{"2m_temperature": 0.0})
        found = Footprint(radius=1000.0)(obs, spec, TIMES[:1])[0].apply(field[None])
        cap = (1 + np.cos(1000 / 6371.0088)) / 2
        np.testing.assert_allclose(found, np.sin(np.deg2rad([10, 60, 85])) * cap, rtol=2e-3)

    def test_an_ellipse_lies_along_its_azimuth(self) -> None:
        spec = StateSpec((("2m_temperature", None),), tuple(np.arange(-89.5, 90)), tuple(np.arange(0.0, 360)), 6, 5)
        squared = np.broadcast_to((np.array(spec.latitude) ** 2)[:, None], spec.shape)[None]
        obs = reports(0.0, 100.0, **{"2m_temperature": 0.0})

        def spread(azimuth: float) -> float:
            return float(Footprint(axes=(800.0, 100.0), azimuth=azimuth)(obs, spec, TIMES[:1])[0].apply(squared)[0])

        # The mean of y^2 over an ellipse is a^2 / 4.
        degrees = np.rad2deg(np.array([800.0, 100.0]) / 6371.0088)
        assert spread(0.0) == pytest.approx(degrees[0] ** 2 / 4, rel=0.02)
        assert spread(90.0) == pytest.approx(degrees[1] ** 2 / 4, abs=0.3)

    def test_sizes_by_observation(self) -> None:
        sizes = np.array([50.0, 3000.0])
        obs = reports([0.0, 0.0], 7.0, coords={"fov": sizes}, **{"2m_temperature": 0.0})
        for given_sizes in (sizes, "fov"):
            stencil, _ = Footprint(radius=given_sizes)(obs, SPEC, TIMES)
            used = (stencil.weight != 0).sum(axis=1)
            assert used[1] > 4 * used[0]

    def test_distances(self) -> None:
        place = np.array([10.0]), np.array([20.0])
        there = away(*place, np.array([500.0]), np.array([37.0]))
        angle = np.arccos((unit_vectors(*place) * unit_vectors(*there)).sum())
        assert angle * 6371.0088 == pytest.approx(500)
        assert away(np.array([80.0]), np.array([0.0]), np.array([2000.0]), np.array([0.0]))[1][
            0
        ] % 360 == pytest.approx(180)

    def test_what_is_wrong(self) -> None:
        obs = reports([0.0, 1.0], **{"2m_temperature": 0.0})
        for operator, words in (
            (Footprint(), "needs a size"),
            (Footprint(radius=[1.0, 2.0, 3.0]), "one for each of 2"),
            (Footprint(radius=-1.0), "not above 0"),
        ):
            with pytest.raises(OptionError, match=words):
                operator(obs, SPEC, TIMES)
        with pytest.raises(ObservationError, match="no 'fov'"):
            Footprint(radius="fov")(obs, SPEC, TIMES)
        with pytest.raises(OptionError, match="both radius and axes"):
            Footprint(radius=1.0, axes=(1.0, 2.0))


class TestHydrostatic:
    def profile(self) -> np.ndarray:
        """The standard atmosphere."""
        x = np.zeros((5, *SPEC.shape))
        for k, (name, level) in enumerate(SPEC.channels):
            if level is not None:
                height = standard_height(np.array(float(level)))
                x[:, k] = 288.15 - 0.0065 * height if name == "temperature" else 9.80665 * height
        return x

    def test_beyond_the_levels_is_refused_unless_told(self) -> None:
        obs = reports(coords={"level": [1020.0, 200.0]}, temperature=0.0, geopotential=0.0)
        assert flags(Interpolate()(obs, SPEC, TIMES)[1], "temperature") == [Flag.OUTSIDE_LEVELS] * 2
        seen = Interpolate(extrapolate="hydrostatic")(obs, SPEC, TIMES)[1]
        assert flags(seen, "temperature") == flags(seen, "geopotential") == [0, 0]

    def test_it_continues_the_standard_atmosphere(self) -> None:
        pressures = np.array([1010.0, 1040.0, 1090.0])
        obs = reports(coords={"level": pressures}, temperature=0.0, geopotential=0.0)
        stencil, _ = Interpolate(extrapolate="hydrostatic")(obs, SPEC, TIMES)
        found = stencil.apply(self.profile())
        height = standard_height(pressures)
        np.testing.assert_allclose(found[:3], 288.15 - 0.0065 * height, atol=0.01)
        np.testing.assert_allclose(found[3:], 9.80665 * height, atol=2)

    def test_above_it_is_isothermal(self) -> None:
        obs = reports(coords={"level": 200.0}, geopotential=0.0)
        profile = self.profile()
        top = profile[0, SPEC.index("geopotential", 300), 0, 0]
        temperature = profile[0, SPEC.index("temperature", 300), 0, 0]
        found = Interpolate(extrapolate="hydrostatic")(obs, SPEC, TIMES)[0].apply(profile)
        np.testing.assert_allclose(found, top + 287.0474 * temperature * np.log(300 / 200), rtol=1e-6)

    def test_there_is_an_end(self) -> None:
        obs = reports(coords={"level": [1101.0, 149.0]}, temperature=0.0)
        assert flags(Interpolate(extrapolate="hydrostatic")(obs, SPEC, TIMES)[1], "temperature") == [6, 6]

    def test_other_words(self) -> None:
        with pytest.raises(OptionError, match="'linear'.*'refuse', 'hydrostatic'"):
            Interpolate(extrapolate="linear")


class TestStationPressure:
    def test_it_is_the_standard_reduction(self) -> None:
        from xappa.observations.formulas import sea_level_pressure

        height, temperature, pressure = np.array([0.0, 300.0, 1500.0]), np.array([290.0, 270.0, 280.0]), 95000.0
        obs = reports(0, 0, coords={"altitude": height}, surface_pressure=pressure, **{"2m_temperature": temperature})
        stencil, seen = Interpolate()(obs, SPEC, TIMES, np.zeros(SPEC.shape[1:]))
        assert flags(seen, "surface_pressure") == [0, 0, 0]
        sea = sea_level_pressure(pressure, temperature, height)
        for k in range(3):
            state = np.full((5, *SPEC.shape), sea[k])
            part = stencil.select(stencil.variable == stencil.names.index("surface_pressure"))
            assert part.apply(state)[k] == pytest.approx(pressure)
            assert part.error[k] == 1.0

    def test_one_barometer_counts_once(self) -> None:
        sea = {"mean_sea_level_pressure": [101000.0, np.nan, 20.0, 101000.0]}
        obs = reports(0, [0, 10, 20, 30], coords={"altitude": 100.0}, surface_pressure=1e5, **sea)
        obs["mean_sea_level_pressure_flag"] = ("obs", np.array([0, 0, Flag.OUT_OF_RANGE, Flag.BUDDY_CHECK], "i1"))
        stencil, seen = Interpolate()(obs, SPEC, TIMES)
        assert flags(seen, "surface_pressure") == [Flag.UNUSED, 0, 0, 0]
        assert len(stencil) == 4

    def test_without_a_temperature_it_is_less_certain(self) -> None:
        obs = reports(0, 0, coords={"altitude": [10.0, 1000.0, np.nan]}, surface_pressure=9e4, error=100.0)
        stencil, seen = Interpolate()(obs, SPEC, TIMES)
        assert flags(seen, "surface_pressure") == [0, 0, Flag.NO_HEIGHT]
        assert stencil.error[0] == pytest.approx(100, rel=0.01) and 500 < stencil.error[1] < 1000


class TestPeriods:
    def test_precipitation_of_a_day(self, trajectory: np.ndarray) -> None:
        day = np.timedelta64(24, "h").astype("m8[s]")
        obs = reports(15, 30, [18.0, 24.0, 12.0], coords={"period": day}, total_precipitation_6hr=0.0)
        stencil, seen = Interpolate()(obs, SPEC, TIMES)
        assert flags(seen, "total_precipitation_6hr") == [0, 0, Flag.OUTSIDE_TIMES]
        series = trajectory[:, 5, 6, 2]
        np.testing.assert_allclose(stencil.apply(trajectory), [series[:4].sum(), series[1:].sum()])

    def test_what_states_cannot_represent(self) -> None:
        period = np.array([9, 3, 12], "m8[h]").astype("m8[s]")
        obs = reports(hours=18.0, coords={"period": period}, total_precipitation_6hr=0.0)
        assert flags(Interpolate()(obs, SPEC, TIMES)[1], "total_precipitation_6hr") == [13, 13, 0]

    def test_told_periods(self, trajectory: np.ndarray) -> None:
        obs = reports(15, 30, 18.0, **{"2m_temperature": 0.0})
        series = trajectory[:, 0, 6, 2]
        for operator, expected in (
            (Average(24) @ Interpolate(), series[:4].mean()),
            (Average(12), series[2:4].mean()),
            (Accumulate(18) @ Nearest(), series[1:4].sum()),
        ):
            assert operator(obs, SPEC, TIMES)[0].apply(trajectory)[0] == pytest.approx(expected)

    def test_a_mean_of_a_function(self, trajectory: np.ndarray) -> None:
        obs = reports(15, 30, 18.0, **{"10m_wind_speed": 0.0})
        rows, _ = (Average(12) @ Interpolate() @ wind_speed)(obs, SPEC, TIMES)
        speed = np.hypot(trajectory[2:4, 1, 6, 2], trajectory[2:4, 2, 6, 2])
        assert rows.apply(trajectory)[0] == pytest.approx(speed.mean(), rel=1e-6)

    def test_no_window_holds_it(self) -> None:
        obs = reports(
            hours=[18.0, 24.0], coords={"period": np.timedelta64(24, "h").astype("m8[s]")}, total_precipitation_6hr=0.0
        )
        stencil, seen = Interpolate()(obs, SPEC, TIMES)
        kept, seen = split_windows(stencil, seen, length=6, window=4, stride=2)
        assert len(kept) == 1 and flags(seen, "total_precipitation_6hr") == [0, Flag.PERIOD_NOT_REPRESENTABLE]


class TestColumns:
    def test_integral_of_lines(self) -> None:
        levels, bottom = np.array(LEVELS, float), np.array([1013.0, 900.0, 600.0, 1000.0])
        np.testing.assert_allclose(integral(levels, bottom).sum(axis=0), bottom - 150)
        linear = integral(levels, bottom).T @ levels
        np.testing.assert_allclose(linear[1:], 300**2 / 2 + (bottom[1:] ** 2 - 300**2) / 2)

    def test_column_water(self, trajectory: np.ndarray) -> None:
        obs = reports(15, 30, 6.0, total_column_water_vapour=0.0)
        state = np.full((5, *SPEC.shape), 0.005)
        found = ColumnWater()(obs, SPEC, TIMES, np.zeros(SPEC.shape[1:]))[0].apply(state)
        assert found[0] == pytest.approx(0.005 * (101325 - 15000) / 9.80665)

    @pytest.mark.parametrize(
        "operator", [ColumnWater(), Thickness(1000, 500), Thickness(925, 600), Sounder({5: (600, 0.5)})]
    )
    def test_the_two_ways_agree(self, operator: Any, rng: np.random.Generator, trajectory: np.ndarray) -> None:
        """As weights of the state, and as a function of a Dataset."""
        obs = reports(
            rng.uniform(-70, 70, 20),
            rng.uniform(0, 360, 20),
            rng.uniform(0, 24, 20),
            coords={"channel": 5},
            observed=0.0,
        )
        surface = rng.uniform(0, 3000, SPEC.shape[1:])
        direct = operator(obs, SPEC, TIMES, surface)[0].apply(trajectory)
        function = Function(operator.of)(obs, SPEC, TIMES, surface)[0].apply(trajectory)
        np.testing.assert_allclose(function, direct, rtol=1e-5)

    def test_thickness(self) -> None:
        state = TestHydrostatic().profile()
        obs = reports(thickness=0.0)
        found = Thickness(1000, 500)(obs, SPEC, TIMES)[0].apply(state)
        assert found[0] == pytest.approx(float(standard_height(500.0) - standard_height(1000.0)))

    def test_channels_are_chosen_by_number(self, trajectory: np.ndarray) -> None:
        obs = reports(0, 0, coords={"channel": [5, 7, 12]}, brightness_temperature=0.0)
        table = {5: (600.0, 0.5), 7: (900.0, 0.5)}
        stencil, seen = (Footprint(radius=10) @ Sounder(table))(obs, SPEC, TIMES)
        assert flags(seen, "brightness_temperature") == [0, 0, Flag.UNUSED]
        np.testing.assert_allclose(stencil.weight.sum(axis=1), 1)
        warm = np.zeros((5, *SPEC.shape))
        warm[:, SPEC.index("temperature", 1000)] = 1
        low, lower = stencil.apply(warm)
        assert lower > low > 0

    def test_what_is_missing(self) -> None:
        surface = StateSpec(SPEC.channels[:3], SPEC.latitude, SPEC.longitude, 6, 5)
        with pytest.raises(OperatorError, match="needs specific_humidity on pressure levels"):
            ColumnWater()(reports(observed=0.0), surface, TIMES)
        with pytest.raises(OperatorError, match="between 300 and 1000"):
            Thickness(1000, 100)(reports(observed=0.0), SPEC, TIMES)
        with pytest.raises(OperatorError, match="channels 1, 2, 3 peak above"):
            Sounder()(reports(coords={"channel": 5}, observed=0.0), SPEC, TIMES)


class TestFunctions:
    def test_values(self, rng: np.random.Generator, trajectory: np.ndarray) -> None:
        obs = reports(rng.uniform(-70, 70, 30), rng.uniform(0, 360, 30), rng.uniform(0, 24, 30), wind_speed=0.0)
        rows, seen = choose_operator(wind_speed)(obs, SPEC, TIMES)
        stencil, _ = Interpolate()(obs.rename({"wind_speed": U, "wind_speed_error": f"{U}_error"}), SPEC, TIMES)
        speed = np.zeros_like(trajectory)
        speed[:, 1] = np.hypot(trajectory[:, 1], trajectory[:, 2])
        assert isinstance(rows, Rows) and flags(seen, "wind_speed") == [0] * 30
        np.testing.assert_allclose(rows.apply(trajectory), stencil.apply(speed), rtol=1e-6)
        assert rows.parts[0].view.local

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
        rows, _ = choose_operator(wind_speed)(obs, SPEC, TIMES, layout=recognise(user))
        assert rows.parts[0].view.state.layout is None

    def test_a_dataset_and_what_is_unused(self, trajectory: np.ndarray) -> None:
        def both(state: xr.Dataset) -> xr.Dataset:
            return xr.Dataset({"10m_wind_speed": wind_speed(state), "2m_temperature": state["2m_temperature"] - 1})

        obs = reports(
            15, 30, **{"10m_wind_speed": 0.0, "2m_temperature": 0.0, "mean_sea_level_pressure": [1.0, np.nan]}
        )
        rows, seen = choose_operator(both)(obs, SPEC, TIMES)
        assert flags(seen, "mean_sea_level_pressure") == [Flag.UNUSED, 0]
        assert sorted(rows.names) == ["10m_wind_speed", "2m_temperature"] and len(rows) == 4
        series = trajectory[0, :3, 6, 2]
        by_name = {name: rows.apply(trajectory)[rows.variable == k][0] for k, name in enumerate(rows.names)}
        assert by_name["10m_wind_speed"] == pytest.approx(np.hypot(series[1], series[2]), rel=1e-6)
        assert by_name["2m_temperature"] == pytest.approx(series[0] - 1, rel=1e-6)

    def test_levels(self, trajectory: np.ndarray) -> None:
        obs = reports(15, 30, coords={"level": [500.0, 850.0]}, potential_temperature=0.0)
        rows, _ = choose_operator(lambda s: s["temperature"] * (1000 / s.level) ** (2 / 7))(obs, SPEC, TIMES)
        expected = trajectory[0, [7, 9], 6, 2] * (1000 / np.array([500.0, 850.0])) ** (2 / 7)
        np.testing.assert_allclose(rows.apply(trajectory), expected, rtol=1e-6)

    def test_a_region_and_a_zonal_mean(self, trajectory: np.ndarray) -> None:
        obs = reports([30.0, -30.0], 100.0, observed=0.0)
        rows, seen = choose_operator(lambda s: s["2m_temperature"].sel(latitude=slice(0, 60)))(obs, SPEC, TIMES)
        assert flags(seen, "observed") == [0, Flag.MASKED] and len(rows) == 1
        zonal, _ = choose_operator(lambda s: s["2m_temperature"].mean("longitude"))(obs, SPEC, TIMES)
        np.testing.assert_allclose(zonal.apply(trajectory), trajectory[0, 0, [7, 3]].mean(axis=-1), rtol=1e-6)

    def test_steps_in_time(self, trajectory: np.ndarray) -> None:
        obs = reports(15, 30, [0.0, 6.0, 24.0], observed=0.0)
        rows, _ = choose_operator(lambda s: s["2m_temperature"].diff("time"))(obs, SPEC, TIMES)
        assert not rows.parts[0].view.local and rows.frames.tolist() == [0, 1, 2, 3, 4]
        found = rows.apply(trajectory)
        series = trajectory[:, 0, 6, 2]
        np.testing.assert_allclose(found[1:], [series[1] - series[0], series[4] - series[3]], rtol=1e-5)
        assert np.isnan(found[0])

    def test_composition(self, trajectory: np.ndarray) -> None:
        def components(state: xr.Dataset) -> xr.Dataset:
            return xr.Dataset({"a": state[U], "b": state[V]})

        operator = Footprint(radius=20) @ (lambda s: (s.a**2 + s.b**2) ** 0.5) @ Function(components)
        obs = reports(15, 30, wind_speed=0.0)
        plain = (Footprint(radius=20) @ wind_speed)(obs, SPEC, TIMES)[0].apply(trajectory)
        np.testing.assert_allclose(operator(obs, SPEC, TIMES)[0].apply(trajectory), plain, rtol=1e-6)
        with pytest.raises(OptionError, match="cannot be composed"):
            wind_speed @ Interpolate()

    def test_masked_cells_are_avoided(self) -> None:
        mask = np.ones(SPEC.shape, bool)
        mask[4, :, :12] = False
        obs = reports(3.0, [200.0, 90.0], observed=0.0)
        contrast = choose_operator(lambda s: s["sea_surface_temperature"] - s["2m_temperature"])
        assert flags(contrast(obs, SPEC, TIMES, mask=mask)[1], "observed") == [0, Flag.MASKED]


WRONG: list[tuple[Callable, str]] = [
    (lambda s: None, "returned NoneType; expected an xarray DataArray"),
    (lambda s: s["2m_temperature"].values, "xarray's .values turns a field into numpy numbers"),
    (lambda s: s["2m_temprature"], "asks for what the state does not have.*'2m_temperature'"),
    (lambda s: s["2m_temperature"].mean("time"), "without 'time': a report is read at its time"),
    (lambda s: s["temperature"].expand_dims(part=2), r"dimensions \(part: 2.*reduce or select"),
    (lambda s: s["2m_temperature"] > 280, "without a gradient"),
    (lambda s: xr.zeros_like(s["2m_temperature"]), "without a gradient"),
    (lambda s: np.sqrt(-s["2m_temperature"]), "no finite number.*roots"),
    (lambda s: s["2m_temperature"].interp(latitude=3.0), "xappa.operators.interp"),
    (lambda s: 1 / 0, "failed on a state: ZeroDivisionError"),
    (lambda s: s[[U, V]], "No variable that .* returned was observed"),
    (lambda s: s["2m_temperature"].isel(latitude=slice(2)).drop_vars("latitude"), "no coordinate that says where"),
]


@pytest.mark.parametrize(("function", "words"), WRONG, ids=[words[:25] for _, words in WRONG])
@pytest.mark.filterwarnings("ignore")
def test_what_is_wrong_with_a_function(function: Callable, words: str) -> None:
    with pytest.raises(OperatorError, match=words):
        choose_operator(function)(reports(observed=0.0), SPEC, TIMES)


def test_ambiguity_lists_candidates() -> None:
    obs = reports(a=0.0, b=0.0)
    with pytest.raises(OperatorError, match="not clear.*'a', 'b'.*select one variable"):
        choose_operator(wind_speed)(obs, SPEC, TIMES)
    obs["a"][:] = np.nan
    assert choose_operator(wind_speed)(obs, SPEC, TIMES)[0].names == ("b",)


def test_units_that_do_not_fit() -> None:
    obs = reports(wind_speed=0.0)
    obs["wind_speed"].attrs["units"] = "m s-1"
    with pytest.raises(OperatorError, match=r"'K' cannot be converted.*assign_attrs\(units='m s-1'\)"):
        choose_operator(lambda s: wind_speed(s).assign_attrs(units="K"))(obs, SPEC, TIMES)
    rows, _ = choose_operator(lambda s: wind_speed(s).assign_attrs(units="km/h"))(obs, SPEC, TIMES)
    assert rows.apply(np.ones((5, *SPEC.shape)))[0] == pytest.approx(2**0.5 / 3.6, rel=1e-6)


def test_numbers_that_are_not_finite_are_said_where_they_appear() -> None:
    rows, _ = choose_operator(lambda s: np.log(s["specific_humidity"].sel(level=850)))(
        reports(observed=0.0), SPEC, TIMES
    )
    reading = make_reading(rows, np.zeros((5, *SPEC.shape)) + 0.001, np.ones(SPEC.shape))
    with pytest.raises(OperatorError, match=r"no finite number for 1 of 1 reports.*clip\(min"):
        reading(-torch.ones(1, len(reading.frames), *SPEC.shape))


class TestSources:
    def obs(self) -> xr.Dataset:
        source = np.array(["scat", "synop", "scat", "synop"])
        values = {"10m_wind_speed": [5.0, np.nan, 6.0, np.nan], "2m_temperature": [np.nan, 280.0, np.nan, 281.0]}
        return reports([0.0, 10.0, 20.0, 30.0], 40.0, coords={"source": source}, **values)

    def test_each_has_its_operator(self, trajectory: np.ndarray) -> None:
        operator = choose_operator({"scat": Footprint(radius=20) @ wind_speed})
        rows, seen = operator(self.obs(), SPEC, TIMES)
        assert sorted(rows.observation.tolist()) == [0, 1, 2, 3]
        assert flags(seen, "10m_wind_speed") == [0, 0, 0, 0] == flags(seen, "2m_temperature")
        own = np.argsort(rows.observation)
        np.testing.assert_array_equal(rows.value[own], [5, 280, 6, 281])
        plain, _ = Interpolate()(self.obs()[["2m_temperature", "2m_temperature_error"]], SPEC, TIMES)
        np.testing.assert_allclose(rows.apply(trajectory)[own][[1, 3]], plain.apply(trajectory))

    def test_names_that_are_not_there(self) -> None:
        with pytest.raises(ObservationError, match="'ship'.*'scat', 'synop'"):
            choose_operator({"ship": "nearest"})(self.obs(), SPEC, TIMES)
        with pytest.raises(ObservationError, match="no coordinate 'source'"):
            choose_operator({"ship": "nearest"})(self.obs().drop_vars("source"), SPEC, TIMES)

    def test_wrong_choices(self) -> None:
        with pytest.raises(OptionError, match="'footprnt'.*did you mean 'footprint'"):
            choose_operator("footprnt")
        with pytest.raises(OptionError, match=r"expected an object: Footprint\(\)"):
            choose_operator(Footprint)  # type: ignore[arg-type]
        with pytest.raises(OptionError, match="a function of a Dataset"):
            choose_operator(3)  # type: ignore[arg-type]


class TestTokens:
    CODE = """
import dask, functools
def scale(x, by): return x * by
def make(limit):
    def function(state): return scale(state["2m_temperature"], 2) - limit
    return function
from xappa.operators import Footprint, Function
print(dask.base.tokenize(Footprint(radius=25) @ make({limit})))
print(dask.base.tokenize(Function(functools.partial(make(1), 2))))
"""

    def run(self, limit: float) -> str:
        done = subprocess.run(
            [sys.executable, "-c", self.CODE.replace("{limit}", str(limit))], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def test_the_same_in_another_process(self) -> None:
        first = self.run(1.0)
        assert first == self.run(1.0) and first != self.run(2.0)

    def test_what_changes_them(self) -> None:
        def token(operator: Any) -> str:
            return dask.base.tokenize(choose_operator(operator))

        def other(limit: float) -> Callable:
            return lambda state: state["2m_temperature"] - limit

        assert token(other(1.0)) == token(other(1.0)) != token(other(2.0))
        assert token(wind_speed) != token(lambda s: wind_speed(s) * 2)
        assert token(functools.partial(wind_speed, 1)) != token(functools.partial(wind_speed, 2))
        assert token("nearest") != token("interpolate")
        assert token(Footprint(radius=25)) != token(Footprint(radius=30))
        assert token(Footprint(radius=np.array([1.0, 2.0]))) != token(Footprint(radius=np.array([1.0, 3.0])))

    def test_all_can_be_pickled(self) -> None:
        for operator in [*OPERATORS.values(), Footprint(radius=25) @ wind_speed]:
            again = pickle.loads(pickle.dumps(operator))
            assert repr(again) == repr(operator) and dask.base.tokenize(again) == dask.base.tokenize(operator)

    def test_they_print_as_what_they_do(self) -> None:
        operator = Average(24) @ Footprint(radius=25.0) @ wind_speed
        assert repr(operator) == "Average(hours=24) @ Footprint(radius=25.0) @ wind_speed"
        assert str(operator) == (
            "mean over the 24 hours before, of mean over a circle of 25 km radius, of wind_speed(state) "
            "(Speed of the 10 m wind)"
        )
        assert "lambda s: s" in repr(Function(lambda s: s))


PLACES = st.tuples(
    st.lists(
        st.tuples(
            st.sampled_from([90.0, -90.0, 0.0]) | st.floats(-90, 90),
            st.sampled_from([180.0, -180.0, 0.0, 360.0]) | st.floats(-180, 360),
            st.floats(0, 24),
            st.floats(300, 1000),
        ),
        min_size=1,
        max_size=6,
    ),
    st.booleans(),
).map(lambda drawn: drawn[0] + drawn[0][: drawn[1]])
"""A few places, one of them twice or not."""
BUILT_IN = {
    "interpolate": Interpolate(),
    "hydrostatic": Interpolate(extrapolate="hydrostatic"),
    "nearest": Nearest(),
    "footprint": Footprint(axes=(700.0, 200.0), azimuth=30.0),
    "grid": Grid(),
    "average": Average(12) @ Interpolate(),
    "column-water": ColumnWater(),
    "thickness": Thickness(),
    "sounder": Footprint(radius=30.0) @ Sounder({5: (600.0, 0.5), 7: (900.0, 0.5)}),
    "function": Interpolate() @ wind_speed,
}


@pytest.mark.parametrize("name", BUILT_IN)
@given(places=PLACES, seed=st.integers(0, 5))
@settings(max_examples=20)
def test_every_operator_is_differentiated_correctly(name: str, places: list[tuple], seed: int) -> None:
    latitude, longitude, hours, level = (np.array(column) for column in zip(*places, strict=True))
    if name == "average":
        hours = 12 + hours / 2
    if name == "grid":
        latitude, longitude = (
            np.take(SPEC.latitude, latitude.astype(int) % 11),
            np.take(SPEC.longitude, longitude.astype(int) % 24),
        )
    observed = {"2m_temperature": 0.0, U: 0.0, "temperature": 0.0, "geopotential": 0.0}
    if BUILT_IN[name].whole_state:
        observed = {"observed": 0.0}
    obs = reports(latitude, longitude, hours, coords={"level": level, "channel": 7}, **observed)
    report = check_operator(BUILT_IN[name], fields(np.random.default_rng(seed)), obs, seed=seed)
    assert report.ok and report.reports > 0
    assert name == "function" or report.order == np.inf


class TestCheckOperator:
    def test_it_makes_places_of_its_own(self, ds: xr.Dataset) -> None:
        report = check_operator(wind_speed, ds)
        assert report and report.reports == 30 and 1.9 < report.order < 2.3
        assert "wind_speed: 30 reports" in str(report)

    def test_a_broken_derivative_is_found(self, ds: xr.Dataset) -> None:
        class Wrong(torch.autograd.Function):
            @staticmethod
            def forward(x: torch.Tensor) -> torch.Tensor:
                return x**2

            @staticmethod
            def setup_context(context: Any, inputs: Any, output: Any) -> None:
                context.save_for_backward(*inputs)
                context.save_for_forward(*inputs)

            @staticmethod
            def backward(context: Any, g: torch.Tensor) -> torch.Tensor:
                return 2.01 * context.saved_tensors[0] * g

            @staticmethod
            def jvp(context: Any, t: torch.Tensor) -> torch.Tensor:
                return 2 * context.saved_tensors[0] * t

        def function(state: xr.Dataset) -> xr.DataArray:
            field = state["2m_temperature"]
            return field.copy(data=type(field.data)(Wrong.apply(field.data.tensor)))

        with pytest.raises(OperatorError, match="adjoint test in float32.*\n.*adjoint test in float64"):
            check_operator(function, ds)

    def test_a_lost_gradient_is_found(self, ds: xr.Dataset) -> None:
        def function(state: xr.Dataset) -> xr.DataArray:
            field = state["2m_temperature"]
            return field * field.copy(data=type(field.data)(field.data.tensor.detach().clone()))

        with pytest.raises(OperatorError, match="adjoint|tangent-linear test"):
            check_operator(function, ds)

    def test_public(self) -> None:
        import xappa

        assert xappa.testing.check_operator is check_operator


def _form(obs: xr.Dataset) -> xr.Dataset:
    from xappa.observations import read_observations

    return read_observations(obs.drop_vars([v for v in obs.data_vars if str(v).endswith("_error")]))


def tiny_speed(state: xr.Dataset) -> xr.DataArray:
    """A speed that is not linear in the tiny model's one wind component."""
    return (state["u_component_of_wind"].isel(level=-1, drop=True) ** 2 + 1) ** 0.5


class TestAssimilate:
    """A function through the whole way, on the tiny model."""

    def run(self, tiny_model: Any, obs: Any, operator: Any, **options: Any) -> xr.Dataset:
        import xappa

        ds = xappa.template("2001-03-13T00", "2001-03-13T18", model=tiny_model)
        return ds.appa.assimilate(obs, operator, model=tiny_model, seed=0, steps=8, **options)

    def obs(self, model: Any, speed: float = 9.0) -> xr.Dataset:
        from xappa.observations.form import build

        size = 12
        coords = {
            "time": np.datetime64("2001-03-13T00", "s") + 6 * np.arange(size) % 24 * np.timedelta64(3600, "s"),
            "latitude": np.linspace(-60, 60, size),
            "longitude": np.linspace(0, 330, size),
        }
        return build(coords, {"10m_wind_speed": np.full(size, speed)})

    def test_the_state_is_drawn_to_the_reports(self, tiny_model: Any) -> None:
        seen = {}
        for speed in (2.0, 30.0):
            obs = self.obs(tiny_model, speed)
            analysis = self.run(tiny_model, obs, tiny_speed, error={"10m_wind_speed": 0.5}, members=2)
            assert analysis.attrs["xappa_operator"] == "tiny_speed"
            found = analysis.compute().appa.observe(obs, operator=tiny_speed)["10m_wind_speed"]
            seen[speed] = float(found.mean())
        assert seen[30.0] > seen[2.0] + 1

    @pytest.mark.parametrize("guidance", ["mmps", "sda", "w2c"])
    def test_every_guidance_takes_functions(self, tiny_model: Any, guidance: str) -> None:
        analysis = self.run(
            tiny_model, self.obs(tiny_model), tiny_speed, error={"10m_wind_speed": 2.0}, guidance=guidance
        )
        assert np.isfinite(analysis["2m_temperature"].isel(time=0)).all()

    def test_tokens_follow_the_function(self, tiny_model: Any) -> None:
        def other(state: xr.Dataset) -> xr.DataArray:
            return 1.1 * tiny_speed(state)

        options = {"error": {"10m_wind_speed": 2.0}}
        obs = self.obs(tiny_model)
        runs = [self.run(tiny_model, obs, f, **options).attrs["xappa_run"] for f in (tiny_speed, tiny_speed, other)]
        assert runs[0] == runs[1] != runs[2]

    def test_by_source(self, tiny_model: Any) -> None:
        import pandas as pd

        import xappa

        table = pd.DataFrame({"time": pd.to_datetime(["2001-03-13T06"]), "lat": [10.0], "lon": [20.0], "t2m": [290.0]})
        both = {"scat": self.obs(tiny_model), "synop": table}
        operator = {"scat": Footprint(radius=25.0) @ tiny_speed, "synop": "nearest"}
        analysis = self.run(tiny_model, both, operator, error={"10m_wind_speed": 2.0, "2m_temperature": 1.0})
        counts = xappa.diagnostics(analysis)["reports"].sel(status="good")
        assert int(counts.sel(variable="10m_wind_speed")) == 12 and int(counts.sel(variable="2m_temperature")) == 1

    def test_the_linear_map_is_taken_around_the_estimate(self, tiny_model: Any) -> None:
        from xappa.models.registry import load
        from xappa.streaming.sampling import observe_latents

        model = load(tiny_model)
        times = np.datetime64("2001-03-13T00", "s") + np.arange(model.spec.window) * model.spec.step
        obs = self.obs(tiny_model).assign({"10m_wind_speed_error": ("obs", np.ones(12))})
        rows, _ = choose_operator(tiny_speed)(obs, model.spec, times, mask=model.mask)
        observation = observe_latents(model, rows, times)
        assert observation.tangent is None and observation.linearise is not None
        latents = torch.randn(2, model.spec.window, *model.latent_shape, generator=torch.Generator().manual_seed(0))
        (a, value), (b, _) = observation.linearise(latents), observation.linearise(-latents)
        torch.testing.assert_close(value, observation.operator(latents))
        v = torch.randn_like(latents)
        u = torch.randn_like(value)
        assert not torch.allclose(a.forward(v), b.forward(v))
        torch.testing.assert_close((a.forward(v) * u).sum(), (v * a.adjoint(u)).sum(), rtol=1e-3, atol=1e-3)
        whitened = observation.whitened()
        torch.testing.assert_close(whitened.linearise(latents)[0].forward(v), a.forward(v))
