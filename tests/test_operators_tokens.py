"""Names of operators: tokens that are the same in every process, pickles, what is printed."""

from __future__ import annotations

import functools
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import dask
import numpy as np
import pytest

from tests.coarse import wind_speed
from xappa.operators import OPERATORS, Average, Footprint, Function, choose_operator

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

COMPILED = """
import functools, operator
from numpy import mean
import dask
from xappa.operators import Function
@functools.lru_cache
def coefficient(): return {factor}
class Scaled:
    __slots__ = ("by", "__hidden")
    def __init__(self, by, hidden): self.by, self.__hidden = by, hidden
    def __call__(self, state): return state["2m_temperature"] * self.by * self.__hidden
table = {1: {factor}}.get
for function in (
    lambda s: s["2m_temperature"] * coefficient(),
    coefficient,
    lambda s: s["2m_temperature"] * mean([1.0, {factor}]),
    operator.itemgetter("2m_temperature", {factor}),
    operator.methodcaller("get", "2m_temperature", {factor}),
    Scaled({factor}, 1.0),
    Scaled(1.0, {factor}),
    lambda s: s["2m_temperature"] * table(1),
    functools.partial(mean, axis={factor}),
):
    print(dask.base.tokenize(Function(function)))
"""


RUN = """
import json, sys
for program in json.load(sys.stdin):
    exec(program, {"__name__": "__main__"})
    print()
"""


@pytest.fixture(scope="module")
def processes() -> list[list[list[str]]]:
    """Tokens of each program, which has its names for itself, in two processes."""
    programs = [CODE.replace("{limit}", limit) for limit in ("1.0", "2.0")]
    programs += [COMPILED.replace("{factor}", factor) for factor in ("1.5", "2.5")]
    found = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", RUN], input=json.dumps(programs), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found.append([part.split() for part in done.stdout.split("\n\n")[:-1]])
    return found


class TestTokens:
    def test_the_same_in_another_process(self, processes) -> None:
        (first, other, *_), (again, *_) = processes
        assert len(first) == 2 and first == again and first != other

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

    def test_callables_without_code(self, processes) -> None:
        (*_, first, other), (*_, again, _) = processes
        assert first == again and len({*first, *other}) == 18

    def test_numpys_functions_by_name(self) -> None:
        assert len({dask.base.tokenize(Function(f)) for f in (np.mean, np.median, np.linalg.norm, np.sqrt, abs)}) == 5

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
