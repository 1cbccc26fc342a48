"""What the documents show exists: code that parses, public names, files that links lead to."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import xarray as xr

import xappa
from tests import forecasts
from tests.catalogue import START
from tests.test_samplers import error as flow_error
from xappa.accessor import AppaAccessor
from xappa.guidance import GUIDANCE
from xappa.observations import READERS
from xappa.operators import OPERATORS
from xappa.samplers import SAMPLERS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
API = (ROOT / "docs" / "api.md").read_text()
SIGNATURES = re.findall(r"`ds\.appa\.(\w+)\((.*?)\)`", API)
FUNCTIONS = [found for found in re.findall(r"`xappa\.(\w+)\((.*?)\)`", API) if "..." not in found[1]]


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def text(request) -> str:
    # Messages name what is not public too, such as the function that writes a model directory.
    return request.param.read_text().partition(START)[0]


def test_code_parses(text):
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        ast.parse(block)


def test_the_examples_of_verification_run(tmp_path, monkeypatch):
    truth = forecasts.truth(20)
    normals = truth.isel(time=0, drop=True).expand_dims(hour=[0, 6, 12, 18], dayofyear=np.arange(1, 367)) * 1.0
    normals.to_zarr(tmp_path / "era5_climatology.zarr", consolidated=False)
    monkeypatch.chdir(tmp_path)
    forecast = forecasts.perfect().rename(lead="prediction_timedelta")
    names = {"xr": xr, "era5": truth, "forecast": forecast, "ifs": forecast + 1.0}
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "verification.md").read_text(), flags=re.DOTALL)
    for block in blocks:
        exec(block, names)
    assert len(blocks) > 2 and "rmse" in str(names["scores"])


def test_the_example_of_a_prior_of_ones_own_runs():
    pytest.importorskip("azula", reason="azula 0.11 is not importable")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "own-prior.md").read_text(), flags=re.DOTALL)
    names: dict = {"__name__": "example"}
    for block in blocks:
        exec(block, names)
    spread = names["analysis"]["2m_temperature"].std("member").values
    assert np.isfinite(spread).all() and 0 < spread.mean() < 24
    levels = names["KarrasSchedule"](0.002, 80.0)
    np.testing.assert_allclose([levels(0.0), levels(1.0)], [0.002, 80.0], rtol=1e-9)


OWN = {"own-sampler": SAMPLERS, "own-guidance": GUIDANCE, "own-operator": OPERATORS, "own-reader": READERS}


@pytest.mark.parametrize("page", OWN)
def test_the_files_to_copy_run(page, tmp_path, monkeypatch):
    """They are registered while the test runs, and what they make is finite."""
    monkeypatch.chdir(tmp_path)
    for name in ("_registered", "_definitions"):
        monkeypatch.setattr(OWN[page], name, dict(getattr(OWN[page], name)))
    before = set(OWN[page].registered)
    module = ModuleType("example_of_ones_own")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / f"{page}.md").read_text(), flags=re.DOTALL):
        exec(compile(block, page, "exec"), vars(module))
    names = vars(module)
    assert set(OWN[page].registered) - before
    made = names["obs"] if "obs" in names else names["analysis"]
    assert np.isfinite(made["2m_temperature"].values).all()
    if page == "own-operator":
        assert np.isfinite(names["lapse_rate"](names["state"]).values).all()
    if page == "own-reader":
        np.testing.assert_allclose(made["2m_temperature"], [282.65, 283.05])
        assert list(made["station"].values) == ["uccle"] * 2 and (made["2m_temperature_error"] == 1).all()


def test_a_sampler_of_ones_own_has_its_order():
    """Heun's method of the page, against the exact flow of a Gaussian: doubling the steps quarters the error."""
    names: dict = {"__name__": "xappa"}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_registered", "_definitions"):
            patch.setattr(SAMPLERS, name, dict(getattr(SAMPLERS, name)))
        block = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "own-sampler.md").read_text(), flags=re.DOTALL)
        exec(block[1], names)
    coarse, fine = (flow_error(names["Heun"](steps)) for steps in (100, 200))
    assert 3.2 < coarse / fine < 5.6


def test_names_are_public(text):
    text = re.sub(r"```toml\n.*?```", "", text, flags=re.DOTALL)  # groups of entry points are no modules
    for dotted in set(re.findall(r"(?<![./\w-])(?<!from )xappa\.([\w.]+\w)\b(?![/-])", text)):
        found: object = xappa
        for name in dotted.split("."):
            assert found is not xappa or name in xappa.__all__, dotted
            found = getattr(found, name)
    assert set(re.findall(r"\.appa\.([a-z_]+)", text)) <= {name for name in vars(AppaAccessor) if name[0] != "_"}


def test_links_lead_somewhere(request, text):
    page = request.node.callspec.params["text"]
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize(("name", "listed"), SIGNATURES, ids=[name for name, _ in SIGNATURES])
def test_listed_signatures(name, listed):
    shown = inspect.signature(eval(f"lambda {listed}: None"))
    real = inspect.signature(getattr(AppaAccessor, name)).parameters.values()
    assert [(p.name, p.kind, p.default) for p in shown.parameters.values()] == [
        (p.name, p.kind, p.default) for p in real if p.name != "self"
    ]


@pytest.mark.parametrize(("name", "listed"), FUNCTIONS, ids=[name for name, _ in FUNCTIONS])
def test_listed_functions(name, listed):
    function = getattr(xappa, name)
    shown = inspect.signature(eval(f"lambda {listed}: None"))
    assert [(p.name, p.kind, p.default) for p in shown.parameters.values()] == [
        (p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()
    ]


def test_every_module_is_listed():
    listed = re.findall(r"`xappa\.(\w+)`", API)
    assert set(xappa._MODULES) - {"models"} <= set(listed)


def test_every_method_is_listed():
    assert {name for name, _ in SIGNATURES} == {name for name in vars(AppaAccessor) if name[0] != "_"}
