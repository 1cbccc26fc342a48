"""Options of another kind than they are annotated with are refused by every public function, before anything runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xappa
from xappa.argument_types import KINDS, check_arguments, find_type_errors
from xappa.errors import OptionError

WRONG = {
    "bool": ["no", "True", 1, 0.0],
    "int": [True, "a", 1.5, np.nan, np.timedelta64(1, "s")],
    "float": [True, "a", np.nan, 1 + 1j],
    "str": [5, True, b"text"],
}
PLACES = {"xappa": xappa, "platforms": xappa.platforms, "tutorial": xappa.tutorial, "experimental": xappa.experimental}
METHODS = [n for n in vars(xappa.accessor.AppaAccessor) if not n.startswith("_")]


def alternatives(annotation: object) -> set[str]:
    return {part.strip() for part in str(annotation).split("|")}


def functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    for place, module in PLACES.items():
        for name in getattr(module, "__all__", None) or dir(module):
            if not name.startswith("_") and inspect.isfunction(value := getattr(module, name)):
                yield f"{place}.{name}", value
    ds = xr.Dataset()
    yield from ((f"ds.appa.{name}", getattr(ds.appa, name)) for name in METHODS)


def cases(kinds: set[str]) -> Iterator[Any]:
    """Parameters that are one of some kinds, or None, with a value that is none of these."""
    for name, function in functions():
        for parameter in inspect.signature(function).parameters.values():
            asked = alternatives(parameter.annotation)
            if asked & kinds and asked <= {*WRONG, "None"}:
                shared = set.intersection(*({str(v) for v in WRONG[k]} for k in asked - {"None"}))
                for value in WRONG[next(iter(asked & kinds))]:
                    if str(value) in shared:
                        yield pytest.param(function, parameter.name, value, id=f"{name}-{parameter.name}-{value}")


def call(function: Callable[..., Any], name: str, value: Any) -> Any:
    """The function with anything at all in the place of what it needs."""
    needed = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    return function(**{p.name: object() for p in needed} | {name: value})


@pytest.mark.parametrize(("function", "name", "value"), list(cases({"bool"})))
def test_every_truth_value_refuses_text_and_numbers(function, name, value):
    with pytest.raises(OptionError, match=f"{name}={value!r}, expected .*True or False"):
        call(function, name, value)


@pytest.mark.parametrize(("function", "name", "value"), list(cases({"int", "float"})))
def test_every_number_refuses_text_and_truth_values(function, name, value):
    with pytest.raises(OptionError, match=rf"{name}=.*, expected .*number"):
        call(function, name, value)


def test_the_functions_that_are_tried_are_those_that_take_such_options():
    tried = {case.id.split("-")[0] for case in cases({"bool"})}
    assert {f"xappa.{n}" for n in ("assimilate", "filter", "forecast", "sample", "plan", "cycle", "to_zarr")} <= tried
    assert {"xappa.read_observations", "xappa.fetch", "platforms.swaths", "ds.appa.assimilate"} <= tried
    numbers = {case.id.split("-")[0] for case in cases({"int", "float"})}
    assert {"xappa.thin", "xappa.regrid", "platforms.stations", "tutorial.network", "xappa.observe"} <= numbers


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.DataFrame({"time": "2018-11-02T12", "lat": [50.0], "lon": 5.0, "2m_temperature": 280.0})


@pytest.mark.filterwarnings("ignore::xappa.errors.UnitsWarning")
@pytest.mark.parametrize(
    "options",
    [
        {"rename": 5}, {"units": "K"}, {"unknown": 5}, {"unknown": None}, {"date": 5}, {"source_quality": 5},
        {"derive": "no"}, {"strict": 1}, {"derive": None},
    ],
    ids=str,
)  # fmt: skip
def test_reading_refuses_options_of_another_kind(table, options):
    with pytest.raises(OptionError, match=f"{next(iter(options))}=.*expected"):
        xappa.read_observations(table, **options)


@pytest.mark.filterwarnings("ignore::xappa.errors.UnitsWarning")
@pytest.mark.parametrize("value", [True, "a", [0.5], None, np.nan, {"2m_temperature": "a"}, 1.5, -0.1], ids=str)
def test_superobs_refuse_a_correlation_that_is_no_share(table, value):
    with pytest.raises(OptionError, match="correlation"):
        xappa.superob(table, 1.0, error={"2m_temperature": 1.0}, correlation=value)


@pytest.mark.parametrize("levels", [True, "850", 850.0, ["a"], [True], [-1.0], [np.nan]], ids=str)
@pytest.mark.parametrize("function", [xappa.superob, xappa.thin])
def test_cells_refuse_levels_that_are_no_pressures(table, function, levels):
    with pytest.raises(OptionError, match="levels"):
        function(table, 1.0, levels=levels)


@pytest.mark.parametrize(
    "make",
    [
        lambda: xappa.background.LatentObservation(each="no"),
        lambda: xappa.background.WarmStart(samples=True),
        lambda: xappa.guidance.MMPS(warm_start="no"),
        lambda: xappa.samplers.LMS(antithetic="no"),
        lambda: xappa.operators.Thickness(lower="a"),
        lambda: xappa.operators.Sounder(table=5),
        lambda: xappa.segments.Independent(windows=True),
        lambda: xappa.Quality(least=True),
        lambda: xappa.Quality(background="5"),
    ],
)
def test_objects_that_carry_options_refuse_them_too(make):
    with pytest.raises(OptionError, match="expected"):
        make()


def test_a_forecast_of_states_refuses_checks_and_operators_that_are_none(tiny_model):
    ds = xappa.template("2001-03-13T00", "2001-03-13T06", model=tiny_model)
    for options in ({"quality": "good"}, {"quality": True}, {"operator": 5}):
        with pytest.raises(OptionError):
            ds.appa.forecast("6h", model=tiny_model, **options)


def test_a_plan_refuses_a_mode_that_is_none(tiny_model):
    ds = xappa.template("2001-03-13T00", "2001-03-13T06", model=tiny_model)
    with pytest.raises(OptionError, match="mode"):
        ds.appa.plan(model=tiny_model, mode="fast")


def test_numbers_of_numpy_and_defaults_are_taken():
    @check_arguments
    def f(a: int, b: float | None = None, c: bool = False, d: str = "", *, e: int | list[int] = 0) -> tuple:
        return a, b, c, d, e

    assert f(np.int64(1), np.float32(2.0), np.bool_(True), e=[1]) == (1, 2.0, True, "", [1])
    assert inspect.signature(f).parameters["b"].annotation == "float | None" and f.__name__ == "f"
    with pytest.raises(OptionError, match=r"f: a='1', expected a whole number; c=None, expected True or False"):
        f("1", c=None)
    with pytest.raises(TypeError, match="missing a required argument"):
        f()


def test_annotations_of_other_kinds_are_left_alone():
    assert not find_type_errors({"a": "str | Quality", "b": "Mapping[str, int | str] | None"}, {"a": 5, "b": {"x": 1}})
    assert find_type_errors({"b": "Mapping[str, int | str] | None"}, {"b": 5}) == ["b=5, expected a mapping or None"]
    assert set(WRONG) < set(KINDS)
