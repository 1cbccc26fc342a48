"""Reports of extremes: the largest or smallest state of their period, differentiated through the one that wins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import xappa
from tests.coarse import SPEC, TIMES, U, V, fields, flags, random_states, reports
from xappa.errors import OperatorError
from xappa.observations.flags import Flag
from xappa.operators import (
    CompositeOperator,
    Footprint,
    Interpolate,
    Maximum,
    Minimum,
    Nearest,
    PerSource,
    StateContext,
    split_windows,
)
from xappa.operators.extremes import estimate_sampling_error, find_states_within
from xappa.operators.forward.functions import make_whitened_operator
from xappa.operators.sources import choose_operator
from xappa.testing.operators import check_operator

TMAX, TMIN, T = "maximum_2m_temperature", "minimum_2m_temperature", "2m_temperature"
HOUR = np.timedelta64(3600, "s")

trajectory = pytest.fixture(random_states)


def extremes(hours: Any, period: Any, **values: float) -> xr.Dataset:
    coords = {"period": np.asarray(period) * HOUR}
    return reports(15, 30, hours, coords=coords, **(values or {TMAX: 0.0, TMIN: 0.0}))


def test_values(trajectory: np.ndarray) -> None:
    rows, seen = Interpolate()(extremes([24.0, 18.0, 21.0, 24.0], [24, 12, 12, 6]), StateContext(SPEC, TIMES))
    assert flags(seen, TMAX) == flags(seen, TMIN) == [0, 0, 0, 0] and rows.names == (TMAX, TMIN)
    series = trajectory[:, 0, 6, 2]
    periods = [series[:5], series[1:4], series[2:4], series[3:5]]  # of 21 UTC back to 9 UTC: the states of 12 and 18
    found, wanted = rows.apply(trajectory), ([part.max() for part in periods], [part.min() for part in periods])
    np.testing.assert_allclose(found, np.array(wanted)[rows.variable, rows.observation])


def test_beside_instants_and_in_any_geometry(trajectory: np.ndarray) -> None:
    obs = extremes([24.0], [24], **{TMAX: 0.0, T: 0.0})
    obs = xr.concat([obs.assign({T: np.nan * obs[T]}), obs.assign({TMAX: np.nan * obs[TMAX]})], "obs", join="override")
    obs["period"] = ("obs", np.array([24 * HOUR, np.timedelta64("NaT", "s")]))
    series = trajectory[:, 0, 6, 2]
    for operator in (Interpolate(), Nearest(), Footprint(radius=1.0)):
        rows, _ = operator(obs, StateContext(SPEC, TIMES))
        found = dict(zip(np.array(rows.names)[rows.variable], rows.apply(trajectory), strict=True))
        assert found[TMAX] == pytest.approx(series.max(), rel=1e-3)
        assert found[T] == pytest.approx(series[4], rel=1e-3)
        assert rows.observation[rows.variable == rows.names.index(TMAX)].tolist() == [0]


def test_what_states_cannot_represent() -> None:
    _, seen = Interpolate()(extremes([24.0, 21.0, 12.0], [3, 6, 24]), StateContext(SPEC, TIMES))
    wanted = [Flag.PERIOD_NOT_REPRESENTABLE, Flag.PERIOD_NOT_REPRESENTABLE, Flag.OUTSIDE_TIMES]
    assert flags(seen, TMAX) == wanted


def test_no_window_holds_it() -> None:
    rows, seen = Interpolate()(extremes([12.0, 24.0], [12, 24]), StateContext(SPEC, TIMES))
    kept, seen = split_windows(rows, seen, length=6, window=4, stride=2)
    assert len(kept) == 2 and flags(seen, TMAX) == [0, Flag.PERIOD_NOT_REPRESENTABLE]


def test_brought_to_the_height_of_the_station(trajectory: np.ndarray) -> None:
    obs = extremes([24.0], [24]).assign_coords(altitude=("obs", [100.0]))
    rows, _ = Interpolate()(obs, StateContext(SPEC, TIMES, np.full(SPEC.shape[1:], 500.0)))
    series = trajectory[:, 0, 6, 2] + 0.0065 * 400
    np.testing.assert_allclose(rows.apply(trajectory), [series.max(), series.min()])


def test_what_is_missed_is_added_to_the_error(rng: np.random.Generator) -> None:
    for hours in (1, 3, 6):
        angle = rng.uniform(-np.pi * hours / 24, np.pi * hours / 24, 400_000)
        drawn = 5.0 * np.sqrt(np.mean((1 - np.cos(angle)) ** 2))
        assert estimate_sampling_error(T, hours * 3600.0) == pytest.approx(drawn, rel=0.02)
    rows, _ = Interpolate()(extremes([24.0], [24]), StateContext(SPEC, TIMES))
    np.testing.assert_allclose(rows.error, np.hypot(1.0, estimate_sampling_error(T, 6 * 3600.0)))
    assert estimate_sampling_error("10m_wind_speed", 6 * 3600.0) == 0


@given(
    st.lists(st.integers(0, 36).map(lambda n: n * 3600.0), min_size=1, max_size=6),
    st.integers(1, 30).map(lambda n: n * 3600.0),
)
def test_states_within(ends: list[float], length: float) -> None:
    nodes, step = 6 * 3600.0 * np.arange(5), 6 * 3600.0
    index, enough, there = find_states_within(nodes, np.array(ends), length, step)
    endless = step * np.arange(-20, 20)
    for k, end in enumerate(ends):
        wanted = endless[(endless >= end - length) & (endless <= end)]
        assert enough[k] == (len(wanted) >= 2)
        assert there[k] == set(wanted).issubset(nodes)
        if enough[k] and there[k]:
            assert set(nodes[index[k]]) == set(wanted)


def test_the_gradient_goes_to_the_state_that_wins(trajectory: np.ndarray) -> None:
    rows, _ = Interpolate()(extremes([24.0], [24], **{TMAX: 0.0}), StateContext(SPEC, TIMES))
    reading = make_whitened_operator(rows, trajectory, np.ones(SPEC.shape), dtype=torch.float64)
    x = torch.zeros(1, *trajectory.shape, dtype=torch.float64, requires_grad=True)
    reading(x).sum().backward()
    assert x.grad is not None
    winner = int(trajectory[:, 0, 6, 2].argmax())
    assert torch.nonzero(x.grad).tolist() == [[0, winner, 0, 6, 2]]
    assert float(x.grad.sum()) == pytest.approx(1 / rows.error[0])
    np.testing.assert_allclose(reading(x).detach().numpy() * rows.error, [rows.apply(trajectory)])


PLACES = st.lists(
    st.tuples(
        st.sampled_from([90.0, -90.0, 0.0]) | st.floats(-90, 90),
        st.sampled_from([180.0, -180.0, 0.0, 360.0]) | st.floats(-180, 360),
        st.sampled_from([18.0, 21.0, 24.0]),
    ),
    min_size=1,
    max_size=5,
)


@given(places=PLACES, seed=st.integers(0, 5))
@settings(max_examples=15)
def test_taylor_and_adjoint_away_from_ties(places: list[tuple], seed: int) -> None:
    latitude, longitude, hours = (np.array(column) for column in zip(*places, strict=True))
    ds = fields(np.random.default_rng(seed))
    # Days that warm by far more than the test's steps: no two states are near each other.
    ds[T] = ds[T] * 0 + 280 + xr.DataArray(40.0 * np.array([0, 2, 4, 3, 1]), dims="time")
    obs = reports(latitude, longitude, hours, coords={"period": 12 * HOUR}, **{TMAX: 0.0, TMIN: 0.0})
    report = check_operator(Interpolate(), ds, obs, seed=seed)
    assert report.ok and report.reports == 2 * len(places) and report.order == np.inf


def test_a_kink_is_found() -> None:
    ds = fields(np.random.default_rng(0))
    ds[T] = ds[T] * 0 + 280.0  # all states are equal
    with pytest.raises(OperatorError, match="tangent-linear test"):
        check_operator(Interpolate(), ds, extremes([24.0], [24]))


def speed(state: xr.Dataset) -> xr.DataArray:
    """Speed of the 10 m wind."""
    return (state[U] ** 2 + state[V] ** 2) ** 0.5


class TestOfFunctions:
    def test_told(self, trajectory: np.ndarray) -> None:
        obs = reports(15, 30, 24.0, **{"10m_wind_speed": 0.0})
        each = np.hypot(trajectory[:, 1, 6, 2], trajectory[:, 2, 6, 2])
        for operator, wanted in ((Maximum(24) @ speed, each.max()), (Minimum(12) @ speed, each[2:].min())):
            rows, _ = operator(obs, StateContext(SPEC, TIMES))
            assert rows.apply(trajectory)[0] == pytest.approx(wanted, rel=1e-6)
        assert str(Maximum(24)) == "maximum over the 24 hours before" and repr(Minimum(12)) == "Minimum(hours=12)"
        assert flags(
            (Maximum(3) @ speed)(reports(15, 30, [24.0, 24.0], **{T: 0.0}), StateContext(SPEC, TIMES))[1], T
        ) == [13, 13]

    def test_by_cell_methods_of_a_quantity_of_ones_own(self, trajectory: np.ndarray) -> None:
        obs = extremes([24.0], [24], gust=0.0)
        each = np.hypot(trajectory[:, 1, 6, 2], trajectory[:, 2, 6, 2])
        for method, wanted in (("maximum", each.max()), ("mean", each[1:].mean()), ("sum", each[1:].sum())):
            obs["gust"].attrs["cell_methods"] = f"area: point time: {method}"
            rows, _ = choose_operator(speed)(obs, StateContext(SPEC, TIMES))
            assert rows.apply(trajectory)[0] == pytest.approx(wanted, rel=1e-6)

    def test_differentiated(self) -> None:
        ds = fields(np.random.default_rng(0))
        ds[U] = ds[U] + 50 * xr.DataArray(np.arange(5.0) + 1, dims="time")
        report = check_operator(Maximum(24) @ speed, ds, reports([15, 40], 30, 24.0, **{"10m_wind_speed": 0.0}))
        assert report.ok and report.reports == 2

    def test_of_sums_over_levels(self) -> None:
        obs = reports(15, 30, 24.0, total_column_water_vapour=0.0)
        with pytest.raises(OperatorError, match="write the sum as a function"):
            (Maximum(24) @ choose_operator("column-water"))(obs, StateContext(SPEC, TIMES))


def test_by_source(trajectory: np.ndarray) -> None:
    obs = xr.concat([extremes([24.0], [24])] * 2, "obs").assign_coords(source=("obs", ["a", "b"]))
    rows, _ = PerSource({"a": Interpolate(), "b": Nearest()})(obs, StateContext(SPEC, TIMES))
    series = trajectory[:, 0, 6, 2]
    assert isinstance(rows, CompositeOperator)
    found = rows.apply(trajectory)
    np.testing.assert_allclose(found[rows.variable == 0], series.max())
    np.testing.assert_allclose(found[rows.variable == 1], series.min())


def test_the_analysis_is_drawn_to_them(tiny_model: Any) -> None:
    import pandas as pd

    ds = xappa.template("2001-03-13T00", "2001-03-13T18", model=tiny_model)
    size = 12
    table = {"time": "2001-03-13T18", "lat": np.linspace(-50, 50, size), "lon": np.linspace(0, 330, size), "period": 18}
    seen = {}
    for warmer in (-6.0, 6.0):
        frame = pd.DataFrame(table | {"tmax": 285.0 + warmer})
        analysis = ds.appa.assimilate(frame, model=tiny_model, seed=0, steps=6, quality="none")
        assert int(xappa.diagnostics(analysis)["reports"].sel(variable=TMAX, status="good")) == size
        seen[warmer] = float(analysis.compute().appa.observe(frame)[TMAX].mean())
    assert seen[6.0] > seen[-6.0] + 1
