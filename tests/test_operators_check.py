"""`check_operator`: every operator is differentiated correctly, and what is not is found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.coarse import SPEC, U, fields, reports, wind_speed
from xappa.errors import OperatorError
from xappa.operators import Average, ColumnWater, Footprint, GridPoints, Interpolate, Nearest, Sounder, Thickness
from xappa.testing.operators import check_operator

ds = pytest.fixture(fields)

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
    "grid": GridPoints(),
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
