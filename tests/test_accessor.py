"""Each method of `ds.appa` hands its arguments, all of them, to its functional twin."""

from __future__ import annotations

import inspect
import sys
from types import ModuleType

import pytest
import xarray as xr

import xappa
from xappa.accessor import AppaAccessor

METHODS = sorted(name for name in vars(AppaAccessor) if not name.startswith("_"))


@pytest.mark.parametrize("name", METHODS)
def test_every_argument_reaches_the_twin(name, monkeypatch):
    ds = xr.Dataset({"t2m": ("time", [1.0])})
    parameters = list(inspect.signature(getattr(ds.appa, name)).parameters.values())
    sent = {p.name: object() for p in parameters}
    received = {}

    def twin(ds, /, *args, **kwargs):
        positional = [p.name for p in parameters][: len(args)]
        received.update(ds=ds, **dict(zip(positional, args, strict=True)), **kwargs)
        return "answer"

    home = ModuleType(xappa._FUNCTIONS[name])
    setattr(home, name, twin)
    monkeypatch.setitem(sys.modules, home.__name__, home)

    assert getattr(ds.appa, name)(**sent) == "answer"
    assert received == {"ds": ds, **sent}


@pytest.mark.parametrize("name", METHODS)
def test_no_catch_all_arguments(name):
    kinds = {p.kind for p in inspect.signature(getattr(AppaAccessor, name)).parameters.values()}
    assert not kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
