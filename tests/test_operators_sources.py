"""An operator for each source of reports, and operators that are chosen by name."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from tests.coarse import SPEC, TIMES, flags, random_states, reports, wind_speed
from xappa.errors import NoReportsError, ObservationError, OptionError
from xappa.observations.flags import Flag
from xappa.operators import (
    Average,
    Footprint,
    Function,
    GridPoints,
    Interpolate,
    Nearest,
    Operator,
    OperatorChain,
    Physics,
    SparseOperator,
    StateContext,
    choose_operator,
)

trajectory = pytest.fixture(random_states)


class TestSources:
    def obs(self) -> xr.Dataset:
        source = np.array(["scat", "synop", "scat", "synop"])
        values = {"10m_wind_speed": [5.0, np.nan, 6.0, np.nan], "2m_temperature": [np.nan, 280.0, np.nan, 281.0]}
        return reports([0.0, 10.0, 20.0, 30.0], 40.0, coords={"source": source}, **values)

    def test_each_has_its_operator(self, trajectory: np.ndarray) -> None:
        operator = choose_operator({"scat": Footprint(radius=20) @ wind_speed})
        rows, seen = operator(self.obs(), StateContext(SPEC, TIMES))
        assert sorted(rows.observation.tolist()) == [0, 1, 2, 3]
        assert flags(seen, "10m_wind_speed") == [0, 0, 0, 0] == flags(seen, "2m_temperature")
        own = np.argsort(rows.observation)
        np.testing.assert_array_equal(rows.value[own], [5, 280, 6, 281])
        plain, _ = Interpolate()(self.obs()[["2m_temperature", "2m_temperature_error"]], StateContext(SPEC, TIMES))
        np.testing.assert_allclose(rows.apply(trajectory)[own][[1, 3]], plain.apply(trajectory))

    def test_a_source_that_reports_at_other_times_is_left_out(self) -> None:
        obs, away = self.obs(), np.array([True, False, True, False])
        obs = obs.assign_coords(time=obs["time"] + away * np.timedelta64(9, "D"))
        operator = choose_operator({"scat": Footprint(radius=20) @ wind_speed})
        rows, seen = operator(obs, StateContext(SPEC, TIMES))
        assert rows.observation.tolist() == [1, 3]
        assert flags(seen, "10m_wind_speed") == [Flag.OUTSIDE_TIMES, 0, Flag.OUTSIDE_TIMES, 0]
        with pytest.raises(NoReportsError, match="No report lies inside the times"):
            operator(obs.assign_coords(time=obs["time"] + np.timedelta64(9, "D")), StateContext(SPEC, TIMES))

    def test_names_that_are_not_there(self) -> None:
        with pytest.raises(ObservationError, match="'ship'.*'scat', 'synop'"):
            choose_operator({"ship": "nearest"})(self.obs(), StateContext(SPEC, TIMES))
        with pytest.raises(ObservationError, match="no coordinate 'source'"):
            choose_operator({"ship": "nearest"})(self.obs().drop_vars("source"), StateContext(SPEC, TIMES))

    def test_wrong_choices(self) -> None:
        with pytest.raises(OptionError, match="'footprnt'.*did you mean 'footprint'"):
            choose_operator("footprnt")
        with pytest.raises(OptionError, match=r"expected an object: Footprint\(\)"):
            choose_operator(Footprint)  # type: ignore[arg-type]
        with pytest.raises(OptionError, match="a function of a Dataset"):
            choose_operator(3)  # type: ignore[arg-type]


class TestComposition:
    """What composes: periods, geometries, what makes fields, plain functions; nothing else, and nothing silently."""

    def test_functions_on_either_side(self, trajectory: np.ndarray) -> None:
        obs = reports(15.0, 40.0, 12.0, observed=0.0)
        state = StateContext(SPEC, TIMES)
        same = lambda made: made["field"] * 1.0  # noqa: E731
        expected = (Interpolate() @ Function(wind_speed))(obs, state)[0].apply(trajectory)
        for operator in (Interpolate() @ wind_speed, Function(same) @ wind_speed, same @ Function(wind_speed)):
            np.testing.assert_array_equal(operator(obs, state)[0].apply(trajectory), expected)

    def test_a_class_of_ones_own(self, trajectory: np.ndarray) -> None:
        class Warmer(Physics):
            default = Nearest()

            def of(self, state: xr.Dataset) -> xr.DataArray:
                return state["2m_temperature"] + 1

            def describe(self) -> str:
                return "one degree more"

        obs = reports(SPEC.latitude[3], SPEC.longitude[5], 12.0, observed=0.0)
        for operator in (Warmer(), GridPoints() @ Warmer(), Average(6) @ Warmer()):
            found = operator(obs, StateContext(SPEC, TIMES))[0].apply(trajectory)
            np.testing.assert_allclose(found, trajectory[2, 0, 3, 5] + 1, rtol=1e-6)

    def test_an_operator_that_is_no_link_is_refused(self) -> None:
        class Own(Operator):
            def __call__(self, obs: xr.Dataset, state: StateContext) -> tuple[SparseOperator, xr.Dataset]:
                raise AssertionError

            def describe(self) -> str:
                return "my own"

        for other in (Own(), choose_operator({"scat": "nearest"})):
            with pytest.raises(OptionError, match=r"cannot be composed: expected .*Physics.*; found"):
                Footprint(radius=20) @ other

    @pytest.mark.parametrize("other", [3, "nearest", Footprint, None])
    def test_what_is_no_operator(self, other: object) -> None:
        with pytest.raises(OptionError, match="Operators compose with operators and functions; found"):
            Interpolate() @ other  # type: ignore[operator]

    def test_the_order(self) -> None:
        for compose in (
            lambda: wind_speed @ Interpolate(),
            lambda: Interpolate() @ Average(6),
            lambda: Average(6) @ Average(12),
            lambda: Interpolate() @ Nearest() @ wind_speed,
            lambda: OperatorChain((wind_speed,)),
        ):
            with pytest.raises(OptionError, match="cannot be composed"):
                compose()
