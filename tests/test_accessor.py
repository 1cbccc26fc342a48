"""Each method of `ds.appa` and `da.appa` is the function of its name: its arguments, its signature, its docstring."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys

import pytest
import xarray as xr

import xappa
from xappa.accessor import AppaAccessor
from xappa.array_accessor import AppaArrayAccessor
from xappa.errors import DatasetError
from xappa.signatures import parse_parameters

METHODS = sorted(name for name in vars(AppaAccessor) if not name.startswith("_"))
ARRAY_METHODS = sorted(name for name in vars(AppaArrayAccessor) if not name.startswith("_"))
BOUND = [(AppaAccessor, name) for name in METHODS] + [(AppaArrayAccessor, name) for name in ARRAY_METHODS]
DS = xr.Dataset({"t2m": ("time", [1.0])})


def parameters(function) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


@pytest.fixture
def unbound():
    """The accessors as they are before anything is looked up, in a process of its own."""

    def run(code: str) -> str:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.mark.parametrize("name", METHODS)
def test_every_argument_reaches_the_function(name, monkeypatch):
    sent = {p.name: object() for p in parameters(getattr(DS.appa, name))}
    function, received = getattr(xappa, name), {}

    def twin(ds, /, *args, **kwargs):
        names = [p.name for p in parameters(function)][1 : 1 + len(args)]
        received.update(ds=ds, **dict(zip(names, args, strict=True)), **kwargs)
        return "answer"

    method = vars(AppaAccessor)[name]
    cell = method.__closure__[method.__code__.co_freevars.index("function")]
    monkeypatch.setattr(cell, "cell_contents", twin)
    assert getattr(DS.appa, name)(**sent) == "answer"
    assert received == {"ds": DS, **sent}


@pytest.mark.parametrize(("accessor", "name"), BOUND)
def test_signature_and_docstring_are_those_of_the_function(accessor, name):
    method, function = getattr(accessor, name), getattr(xappa, name)
    assert parameters(method)[0].name == "self"
    assert parameters(method)[1:] == parameters(function)[1:]
    assert inspect.signature(method).return_annotation == inspect.signature(function).return_annotation
    assert inspect.getdoc(method) == inspect.getdoc(function)


@pytest.mark.parametrize("name", METHODS)
def test_help_describes_every_parameter_and_no_other(name):
    function = getattr(xappa, name)
    assert set(parse_parameters(function.__doc__)) == {p.name for p in parameters(function)}
    for section in ("Returns", "Raises", "Examples"):
        assert f"{section}\n{'-' * len(section)}" in inspect.getdoc(function)


@pytest.mark.parametrize("name", METHODS)
def test_no_catch_all_arguments(name):
    kinds = {p.kind for p in parameters(getattr(AppaAccessor, name))}
    assert not kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


def test_methods_load_their_function_when_they_are_looked_up(unbound):
    code = (
        "import sys, xarray as xr, xappa; before = 'xappa.tasks.check' in sys.modules;"
        "method = xr.Dataset().appa.check;"
        "print(before, 'xappa.tasks.check' in sys.modules, 'check' in dir(xr.Dataset.appa))"
    )
    assert unbound(code) == "False True True"


def test_methods_can_be_looked_up_on_the_class_first(unbound):
    code = (
        "import inspect, xarray as xr, xappa; f = xr.Dataset.appa.check;"
        "print(*inspect.signature(f).parameters, bool(xr.Dataset.appa.check(xr.Dataset().appa)))"
    )
    assert unbound(code) == "self model False"


def test_a_bound_method_can_be_pickled():
    again = pickle.loads(pickle.dumps(DS.appa.check))
    assert not again() and again.__self__._obj.identical(DS)


def test_an_array_without_a_name_is_no_quantity():
    with pytest.raises(DatasetError, match="has no name"):
        xr.DataArray([1.0]).appa.observe(None)
