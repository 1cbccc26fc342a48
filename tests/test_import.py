"""`import xappa` is quick, light, and lists the public names."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from importlib.resources import files

import pytest
import xarray as xr

import xappa

HEAVY = ("torch", "dask", "zarr", "scipy", "pint", "pooch", "huggingface_hub", "cf_xarray", "safetensors", "tqdm")
OPTIONAL = ("distributed", "pdbufr", "eccodes", "metpy", "pyarrow", "xesmf", "scores", "matplotlib", "cartopy", "jcm")


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_adds_only_ourselves_to_xarray():
    code = (
        "import json, sys, xarray; before = set(sys.modules); import xappa;"
        "print(json.dumps([sorted(set(sys.modules) - before), sorted(sys.modules)]))"
    )
    new, loaded = json.loads(run(code))
    foreign = {name.partition(".")[0] for name in new} - {"xappa"} - sys.stdlib_module_names
    assert not foreign
    assert not set(HEAVY + OPTIONAL) & set(new)
    assert "torch" not in loaded
    assert "xappa.accessor" in new


def test_import_takes_less_than_three_tenths_of_a_second():
    code = "import time, xarray; t = time.perf_counter(); import xappa; print(time.perf_counter() - t)"
    seconds = min(float(run(code)) for _ in range(5))
    assert seconds < 0.3, f"import xappa adds {seconds:.2f} s to import xarray"


def test_a_model_is_loaded_and_sampled_without_the_compiler_of_torch():
    code = """
import sys, xappa
ds = xappa.template("2001-03-13T00", "2001-03-13T18")
ds.appa.sample(members=1, steps=1, seed=0).compute()
print("torch._dynamo" in sys.modules, "sympy" in sys.modules)
"""
    assert run(code).split() == ["False", "False"]


def test_setting_options_needs_nothing_heavy():
    code = "import sys, xappa; xappa.set_options(progress=False); print(*(m in sys.modules for m in ('torch', 'dask')))"
    assert run(code).split() == ["False", "False"]


def test_the_list_of_names_is_complete():
    assert set(xappa.__all__) == {"__version__"} | set(xappa._FUNCTIONS) | set(xappa._MODULES)
    assert set(xappa.__all__) <= set(dir(xappa))
    assert xappa.__all__ == sorted(xappa.__all__)


@pytest.mark.parametrize("name", sorted(xappa._FUNCTIONS))
def test_public_functions_exist_and_are_documented(name):
    function = getattr(xappa, name)
    assert callable(function)
    assert inspect.getdoc(function)
    hints = inspect.signature(function)
    if getattr(function, "_is_protocol", False):  # made by nobody: its signature is Python's
        return
    assert all(p.annotation is not p.empty for p in hints.parameters.values())
    assert inspect.isclass(function) or hints.return_annotation is not hints.empty


@pytest.mark.parametrize("name", sorted(xappa._MODULES))
def test_public_modules_exist(name):
    module = getattr(xappa, name)
    assert inspect.ismodule(module)
    assert importlib.import_module(f"xappa.{name}") is module  # as `from xappa.samplers import DPM` does


def test_models_lists_what_load_knows():
    assert "speedy" in xappa.models()


def test_unknown_names_are_refused():
    assert not hasattr(xappa, "assimilation")
    with pytest.raises(AttributeError, match="'xappa' has no attribute 'assimilation'"):
        xappa.assimilation  # noqa: B018


def test_accessor_is_registered_and_keeps_the_dataset_alone():
    ds = xr.Dataset({"t2m": ("time", [1.0])})
    assert vars(ds.appa) == {"_obj": ds}


def test_typed():
    assert files("xappa").joinpath("py.typed").is_file()


@pytest.mark.parametrize(
    "module", ["xappa.training.commands", "xappa.sampling.spec", "xappa.streaming.store.checkpoint"]
)
def test_rooms_that_need_each_other_can_be_imported_first_of_all(module):
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True, timeout=300)
