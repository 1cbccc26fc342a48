"""Functions of a Dataset that cannot be operators: what is said to be wrong with them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import xarray as xr

from tests.coarse import SPEC, TIMES, U, V, reports, wind_speed
from xappa.errors import OperatorError
from xappa.operators import StateContext, choose_operator
from xappa.operators.forward.functions import make_whitened_operator

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
    (
        lambda s: s["2m_temperature"].assign_coords(time=np.arange(s.sizes["time"])),
        "'time' of int64; expected the times",
    ),
]


@pytest.mark.parametrize(("function", "words"), WRONG, ids=[words[:25] for _, words in WRONG])
@pytest.mark.filterwarnings("ignore")
def test_what_is_wrong_with_a_function(function: Callable, words: str) -> None:
    with pytest.raises(OperatorError, match=words):
        choose_operator(function)(reports(observed=0.0), StateContext(SPEC, TIMES))


def test_ambiguity_lists_candidates() -> None:
    obs = reports(a=0.0, b=0.0)
    with pytest.raises(OperatorError, match="not clear.*'a', 'b'.*select one variable"):
        choose_operator(wind_speed)(obs, StateContext(SPEC, TIMES))
    obs["a"][:] = np.nan
    assert choose_operator(wind_speed)(obs, StateContext(SPEC, TIMES))[0].names == ("b",)


def test_units_that_do_not_fit() -> None:
    obs = reports(wind_speed=0.0)
    obs["wind_speed"].attrs["units"] = "m s-1"
    with pytest.raises(OperatorError, match=r"'K' cannot be converted.*assign_attrs\(units='m s-1'\)"):
        choose_operator(lambda s: wind_speed(s).assign_attrs(units="K"))(obs, StateContext(SPEC, TIMES))
    rows, _ = choose_operator(lambda s: wind_speed(s).assign_attrs(units="km/h"))(obs, StateContext(SPEC, TIMES))
    assert rows.apply(np.ones((5, *SPEC.shape)))[0] == pytest.approx(2**0.5 / 3.6, rel=1e-6)


def test_numbers_that_are_not_finite_are_said_where_they_appear() -> None:
    rows, _ = choose_operator(lambda s: np.log(s["specific_humidity"].sel(level=850)))(
        reports(observed=0.0), StateContext(SPEC, TIMES)
    )
    reading = make_whitened_operator(rows, np.zeros((5, *SPEC.shape)) + 0.001, np.ones(SPEC.shape))
    with pytest.raises(OperatorError, match=r"no finite number for 1 of 1 reports.*clip\(min"):
        reading(-torch.ones(1, len(reading.frames), *SPEC.shape))
