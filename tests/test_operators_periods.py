"""Operators that read periods: sums and means over the hours before a report."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.coarse import SPEC, TIMES, flags, random_states, reports, wind_speed
from xappa.errors import OptionError
from xappa.observations.flags import Flag
from xappa.operators import Accumulate, Average, Interpolate, Maximum, Minimum, Nearest, StateContext, split_windows

trajectory = pytest.fixture(random_states)


class TestPeriods:
    def test_precipitation_of_a_day(self, trajectory: np.ndarray) -> None:
        day = np.timedelta64(24, "h").astype("m8[s]")
        obs = reports(15, 30, [18.0, 24.0, 12.0], coords={"period": day}, total_precipitation_6hr=0.0)
        stencil, seen = Interpolate()(obs, StateContext(SPEC, TIMES))
        assert flags(seen, "total_precipitation_6hr") == [0, 0, Flag.OUTSIDE_TIMES]
        series = trajectory[:, 5, 6, 2]
        np.testing.assert_allclose(stencil.apply(trajectory), [series[:4].sum(), series[1:].sum()])

    def test_what_states_cannot_represent(self) -> None:
        period = np.array([9, 3, 12], "m8[h]").astype("m8[s]")
        obs = reports(hours=18.0, coords={"period": period}, total_precipitation_6hr=0.0)
        assert flags(Interpolate()(obs, StateContext(SPEC, TIMES))[1], "total_precipitation_6hr") == [13, 13, 0]

    def test_told_periods(self, trajectory: np.ndarray) -> None:
        obs = reports(15, 30, 18.0, **{"2m_temperature": 0.0})
        series = trajectory[:, 0, 6, 2]
        for operator, expected in (
            (Average(24) @ Interpolate(), series[:4].mean()),
            (Average(12), series[2:4].mean()),
            (Accumulate(18) @ Nearest(), series[1:4].sum()),
        ):
            assert operator(obs, StateContext(SPEC, TIMES))[0].apply(trajectory)[0] == pytest.approx(expected)

    def test_a_mean_of_a_function(self, trajectory: np.ndarray) -> None:
        obs = reports(15, 30, 18.0, **{"10m_wind_speed": 0.0})
        rows, _ = (Average(12) @ Interpolate() @ wind_speed)(obs, StateContext(SPEC, TIMES))
        speed = np.hypot(trajectory[2:4, 1, 6, 2], trajectory[2:4, 2, 6, 2])
        assert rows.apply(trajectory)[0] == pytest.approx(speed.mean(), rel=1e-6)

    def test_no_window_holds_it(self) -> None:
        obs = reports(
            hours=[18.0, 24.0], coords={"period": np.timedelta64(24, "h").astype("m8[s]")}, total_precipitation_6hr=0.0
        )
        stencil, seen = Interpolate()(obs, StateContext(SPEC, TIMES))
        kept, seen = split_windows(stencil, seen, length=6, window=4, stride=2)
        assert len(kept) == 1 and flags(seen, "total_precipitation_6hr") == [0, Flag.PERIOD_NOT_REPRESENTABLE]

    @pytest.mark.parametrize("operator", [Average, Accumulate, Maximum, Minimum])
    @pytest.mark.parametrize("hours", ["12h", np.timedelta64(12, "h"), pd.Timedelta("12h"), True, np.inf, -6, 0])
    def test_periods_are_numbers_of_hours(self, operator: type, hours: object) -> None:
        with pytest.raises(OptionError, match=r"found hours=.*expected a number of hours above 0, such as .*\(12\)"):
            operator(hours)
