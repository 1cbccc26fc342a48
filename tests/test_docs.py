"""What the documents show exists: code that parses, public names, files that links lead to."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import xappa
from xappa.accessor import AppaAccessor

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SIGNATURES = re.findall(r"`ds\.appa\.(\w+)\((.*?)\)`", (ROOT / "docs" / "api.md").read_text())


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def text(request) -> str:
    return request.param.read_text()


def test_code_parses(text):
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        ast.parse(block)


def test_names_are_public(text):
    modules = {"errors", "options"}
    assert set(re.findall(r"(?<![./\w-])xappa\.([a-z_]+)\b(?!/)", text)) <= set(xappa.__all__) | modules
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


def test_every_method_is_listed():
    assert {name for name, _ in SIGNATURES} == {name for name in vars(AppaAccessor) if name[0] != "_"}
