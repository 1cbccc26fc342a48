"""Operators that read columns: hydrostatic extrapolation, station pressure, layers, sounders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.coarse import LEVELS, SPEC, TIMES, flags, random_states, reports
from xappa.errors import OperatorError, OptionError
from xappa.model.state import StateSpec
from xappa.observations.flags import Flag
from xappa.operators import ColumnWater, Footprint, Function, Interpolate, Sounder, StateContext, Thickness
from xappa.operators.columns import compute_integral_weights
from xappa.standard_atmosphere import compute_standard_height

trajectory = pytest.fixture(random_states)


class TestHydrostatic:
    def profile(self) -> np.ndarray:
        """The standard atmosphere."""
        x = np.zeros((5, *SPEC.shape))
        for k, (name, level) in enumerate(SPEC.channels):
            if level is not None:
                height = compute_standard_height(np.array(float(level)))
                x[:, k] = 288.15 - 0.0065 * height if name == "temperature" else 9.80665 * height
        return x

    def test_beyond_the_levels_is_refused_unless_told(self) -> None:
        obs = reports(coords={"level": [1020.0, 200.0]}, temperature=0.0, geopotential=0.0)
        assert flags(Interpolate()(obs, StateContext(SPEC, TIMES))[1], "temperature") == [Flag.OUTSIDE_LEVELS] * 2
        seen = Interpolate(extrapolate="hydrostatic")(obs, StateContext(SPEC, TIMES))[1]
        assert flags(seen, "temperature") == flags(seen, "geopotential") == [0, 0]

    def test_it_continues_the_standard_atmosphere(self) -> None:
        pressures = np.array([1010.0, 1040.0, 1090.0])
        obs = reports(coords={"level": pressures}, temperature=0.0, geopotential=0.0)
        stencil, _ = Interpolate(extrapolate="hydrostatic")(obs, StateContext(SPEC, TIMES))
        found = stencil.apply(self.profile())
        height = compute_standard_height(pressures)
        np.testing.assert_allclose(found[:3], 288.15 - 0.0065 * height, atol=0.01)
        np.testing.assert_allclose(found[3:], 9.80665 * height, atol=2)

    def test_above_it_is_isothermal(self) -> None:
        obs = reports(coords={"level": 200.0}, geopotential=0.0)
        profile = self.profile()
        top = profile[0, SPEC.index("geopotential", 300), 0, 0]
        temperature = profile[0, SPEC.index("temperature", 300), 0, 0]
        found = Interpolate(extrapolate="hydrostatic")(obs, StateContext(SPEC, TIMES))[0].apply(profile)
        np.testing.assert_allclose(found, top + 287.0474 * temperature * np.log(300 / 200), rtol=1e-6)

    def test_there_is_an_end(self) -> None:
        obs = reports(coords={"level": [1101.0, 149.0]}, temperature=0.0)
        assert flags(Interpolate(extrapolate="hydrostatic")(obs, StateContext(SPEC, TIMES))[1], "temperature") == [6, 6]

    def test_other_words(self) -> None:
        with pytest.raises(OptionError, match="'linear'.*'refuse', 'hydrostatic'"):
            Interpolate(extrapolate="linear")


class TestStationPressure:
    def test_it_is_the_standard_reduction(self) -> None:
        from xappa.observations.formulas import sea_level_pressure

        height, temperature, pressure = np.array([0.0, 300.0, 1500.0]), np.array([290.0, 270.0, 280.0]), 95000.0
        obs = reports(0, 0, coords={"altitude": height}, surface_pressure=pressure, **{"2m_temperature": temperature})
        stencil, seen = Interpolate()(obs, StateContext(SPEC, TIMES, np.zeros(SPEC.shape[1:])))
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
        stencil, seen = Interpolate()(obs, StateContext(SPEC, TIMES))
        assert flags(seen, "surface_pressure") == [Flag.UNUSED, 0, 0, 0]
        assert len(stencil) == 4

    def test_without_a_temperature_it_is_less_certain(self) -> None:
        obs = reports(0, 0, coords={"altitude": [10.0, 1000.0, np.nan]}, surface_pressure=9e4, error=100.0)
        stencil, seen = Interpolate()(obs, StateContext(SPEC, TIMES))
        assert flags(seen, "surface_pressure") == [0, 0, Flag.NO_HEIGHT]
        assert stencil.error[0] == pytest.approx(100, rel=0.01) and 500 < stencil.error[1] < 1000


class TestColumns:
    def test_integral_of_lines(self) -> None:
        levels, bottom = np.array(LEVELS, float), np.array([1013.0, 900.0, 600.0, 1000.0])
        np.testing.assert_allclose(compute_integral_weights(levels, bottom).sum(axis=0), bottom - 150)
        linear = compute_integral_weights(levels, bottom).T @ levels
        np.testing.assert_allclose(linear[1:], 300**2 / 2 + (bottom[1:] ** 2 - 300**2) / 2)

    def test_column_water(self, trajectory: np.ndarray) -> None:
        obs = reports(15, 30, 6.0, total_column_water_vapour=0.0)
        state = np.full((5, *SPEC.shape), 0.005)
        found = ColumnWater()(obs, StateContext(SPEC, TIMES, np.zeros(SPEC.shape[1:])))[0].apply(state)
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
        direct = operator(obs, StateContext(SPEC, TIMES, surface))[0].apply(trajectory)
        function = Function(operator.of)(obs, StateContext(SPEC, TIMES, surface))[0].apply(trajectory)
        np.testing.assert_allclose(function, direct, rtol=1e-5)

    def test_thickness(self) -> None:
        state = TestHydrostatic().profile()
        obs = reports(thickness=0.0)
        found = Thickness(1000, 500)(obs, StateContext(SPEC, TIMES))[0].apply(state)
        assert found[0] == pytest.approx(float(compute_standard_height(500.0) - compute_standard_height(1000.0)))

    def test_channels_are_chosen_by_number(self, trajectory: np.ndarray) -> None:
        obs = reports(0, 0, coords={"channel": [5, 7, 12]}, brightness_temperature=0.0)
        table = {5: (600.0, 0.5), 7: (900.0, 0.5)}
        stencil, seen = (Footprint(radius=10) @ Sounder(table))(obs, StateContext(SPEC, TIMES))
        assert flags(seen, "brightness_temperature") == [0, 0, Flag.UNUSED]
        np.testing.assert_allclose(stencil.weight.sum(axis=1), 1)
        warm = np.zeros((5, *SPEC.shape))
        warm[:, SPEC.index("temperature", 1000)] = 1
        low, lower = stencil.apply(warm)
        assert lower > low > 0

    def test_what_is_missing(self) -> None:
        surface = StateSpec(SPEC.channels[:3], SPEC.latitude, SPEC.longitude, 6, 5)
        with pytest.raises(OperatorError, match="needs specific_humidity on pressure levels"):
            ColumnWater()(reports(observed=0.0), StateContext(surface, TIMES))
        with pytest.raises(OperatorError, match="between 300 and 1000"):
            Thickness(1000, 100)(reports(observed=0.0), StateContext(SPEC, TIMES))
        with pytest.raises(OperatorError, match="channels 1, 2, 3 peak above"):
            Sounder()(reports(coords={"channel": 5}, observed=0.0), StateContext(SPEC, TIMES))
