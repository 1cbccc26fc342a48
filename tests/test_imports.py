"""Files and folders of the package import each other in one direction only, whether at import, later, or for types."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import xappa

ROOT = Path(xappa.__file__).parent
TOGETHER = {
    # Wrapped arrays, and the functions that take and return them.
    "xappa.operators.torch_array": "xappa.operators.torch_array",
}
"""Modules that are taken as one with another."""


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = ("xappa", *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: set[str]) -> set[str]:
    """Modules of the package that a file imports anywhere; the package itself, a list of names, is none."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "xappa":
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else node.module for name in full}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in known}
    return found - {"xappa"}


def graph() -> dict[str, set[str]]:
    known = modules()
    return {name: imports(path, set(known)) for name, path in known.items() if name != "xappa"}


def require_one_way(edges: dict[str, set[str]]) -> None:
    merged: dict[str, set[str]] = {}
    for name, others in edges.items():
        merged.setdefault(name, set()).update(others - {name})
    try:
        tuple(TopologicalSorter(merged).static_order())
    except CycleError as error:
        raise AssertionError(f"imports go round: {' <- '.join(error.args[1])}") from None


def one(name: str) -> str:
    return next((to for own, to in TOGETHER.items() if name == own or name.startswith(f"{own}.")), name)


def test_files() -> None:
    edges: dict[str, set[str]] = {}
    for name, others in graph().items():
        edges.setdefault(one(name), set()).update({one(other) for other in others})
    require_one_way(edges)


STARTS = ("xappa.training.commands", "xappa.sampling.latent_cache", "xappa.streaming.store.zarr", "xappa.tasks.cycle")


@pytest.mark.parametrize("first", STARTS)
def test_any_module_may_be_the_first(first: str) -> None:
    """Folders import their own files alone: what `__init__` loads could be on its way already."""
    subprocess.run([sys.executable, "-c", f"import {first}"], check=True)


def test_training_is_reached_from_the_command_line_alone() -> None:
    """Models are used without what makes them; nothing that assimilates depends on it."""

    def training(name: str) -> bool:
        return f"{name}.".startswith("xappa.training.")

    importers = {name for name, others in graph().items() if any(map(training, others))}
    assert {name for name in importers if not training(name)} == {"xappa.cli"}


def test_folders() -> None:
    rooms: dict[str, set[str]] = {}
    for name, others in graph().items():
        own = name.split(".")[1]
        rooms.setdefault(own, set()).update({other.split(".")[1] for other in others} - {own})
    require_one_way(rooms)
