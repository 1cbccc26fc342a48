"""Types that docstrings name exist: builtins, classes of numpy, pandas, xarray, Dask and torch, or classes of xappa."""

from __future__ import annotations

import ast
import builtins
import datetime
import pathlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dask.array
import dask.delayed
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

ROOT = Path(__file__).resolve().parents[1] / "xappa"
FILES = sorted(ROOT.rglob("*.py"))
PLACES = (builtins, np, pd, xr, dask.array, dask.delayed, torch, torch.nn, datetime, pathlib, subprocess)
SECTIONS = ("Parameters", "Attributes", "Returns", "Yields", "Raises", "Warns")
WORDS = {"None", "True", "False", "Default", "Raises"} | {"BUFR", "CF", "JSON", "METAR"}


def list_classes(tree: ast.AST) -> set[str]:
    """Classes and type aliases of a file; what it imports from other packages counts too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found.update(target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found.update((alias.asname or alias.name) for alias in node.names)
    return found


KNOWN = set().union(*(list_classes(ast.parse(path.read_text())) for path in FILES))


def list_sections(doc: str) -> Iterator[tuple[str, str]]:
    """Sections of a numpydoc docstring, with their title."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}$", doc, flags=re.MULTILINE)
    yield from zip(parts[1::2], parts[2::2], strict=True)


def list_types(title: str, text: str) -> Iterator[str]:
    """Capitalised names of the lines that name types: those that are not indented."""
    for line in text.splitlines():
        if not line or line.startswith(" "):
            continue
        name, _, kinds = line.partition(" : ")
        if title not in ("Returns", "Yields", "Raises", "Warns") and not kinds:
            continue
        kinds = re.sub(r"\{.*?\}|``.*?``|\".*?\"|'.*?'|\([^()]*\)|\[[^\[\]]*\]", " ", kinds or name)
        yield from re.findall(r"(?<![\w.`])(?:\w+\.)*([A-Z]\w*[a-z]\w*)", kinds)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_types_of_docstrings_exist(path):
    unknown = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        for title, text in list_sections(ast.get_docstring(node) or ""):
            if title in SECTIONS:
                unknown += [
                    f"{node.name}: {name}"
                    for name in list_types(title, text)
                    if name not in KNOWN | WORDS and not any(hasattr(place, name) for place in PLACES)
                ]
    assert not unknown
