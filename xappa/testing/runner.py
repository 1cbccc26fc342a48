"""Fixture folders: reading, recognising, comparing. Imports torch only where a folder is read."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xappa.errors import DatasetError, XappaError

if TYPE_CHECKING:
    import torch

CHECKS = tuple(f"xappa.testing.{name}" for name in ("networks", "diffusion", "graphs", "observing", "datasets", "runs"))
"""Modules whose import registers the checks of this package."""


@dataclass(frozen=True)
class ResultRow:
    """One compared output.

    Parameters
    ----------
    folder, output : str
        Name of the fixture folder and of the output in it.
    error : float
        Relative error ``||found - expected|| / ||expected||``; infinite where shapes or NaNs do not agree.
    tolerance : float
        Largest error allowed.
    note : str, optional
        Why the output could not be compared.
    """

    folder: str
    output: str
    error: float
    tolerance: float
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether the error is within the tolerance."""
        return self.error <= self.tolerance


@dataclass(frozen=True)
class Fixture:
    """What can be known of a folder without reading its tensors."""

    path: Path

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.resolve().name

    @cached_property
    def config(self) -> dict[str, Any]:
        """Contents of config.json; empty if there is none."""
        file = self.path / "config.json"
        return json.loads(file.read_text()) if file.is_file() else {}

    @cached_property
    def keys(self) -> frozenset[str]:
        """Names of the tensors of io.safetensors; none if there is no such file."""
        from safetensors import safe_open

        if not (self.path / "io.safetensors").is_file():
            return frozenset()
        with safe_open(self.path / "io.safetensors", framework="numpy") as file:
            return frozenset(file.keys())


Check = Callable[[Path], Iterable[ResultRow]]


@dataclass(frozen=True)
class _Entry:
    check: Check
    recognise: Callable[[Fixture], bool] | None


_REGISTRY: dict[str, _Entry] = {}


def register(kind: str, recognise: Callable[[Fixture], bool] | None = None) -> Callable[[Check], Check]:
    """Register the check of a kind of folder, ``check(folder) -> Iterable[Row]``.

    Parameters
    ----------
    kind : str
        Name of the kind. Folders called `kind` or ``<kind>_...`` are of this kind, if no `recognise` takes them.
    recognise : callable, optional
        Tells from the contents of a folder whether it is of this kind; asked before any name is looked at.
    """

    def decorate(check: Check) -> Check:
        _REGISTRY[kind] = _Entry(check, recognise)
        return check

    return decorate


def kinds() -> tuple[str, ...]:
    """Names of all kinds of folder that can be checked."""
    for module in CHECKS:
        if importlib.util.find_spec(module):
            importlib.import_module(module)
    return tuple(_REGISTRY)


def recognise(folder: Path) -> str | None:
    """Kind of a fixture folder, or None if no check covers it."""
    names, fixture = kinds(), Fixture(folder)
    for kind in names:
        test = _REGISTRY[kind].recognise
        if test is not None and test(fixture):
            return kind
    named = [kind for kind in names if fixture.name == kind or fixture.name.startswith(f"{kind}_")]
    return max(named, key=len, default=None)


def find(folder: Path) -> list[Path]:
    """Fixture folders at `folder`: itself, or those directly in it, by name.

    Run directories and lists of keys (``state_dict_keys_*.txt``) count as well.

    Raises
    ------
    DatasetError
        If there is no such folder, or no fixture in it.
    """
    layout = "a folder with config.json and io.safetensors, or a folder of such folders"
    if _is_fixture(folder):
        return [folder]
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder; expected {layout}")
    found = sorted(filter(_is_fixture, folder.iterdir()))
    if not found:
        raise DatasetError(f"{folder} holds no io.safetensors; expected {layout}")
    return found


def _is_fixture(path: Path) -> bool:
    keys = path.is_file() and path.name.startswith("state_dict_keys_")
    return keys or (path / "io.safetensors").is_file() or (path / "autoencoders").is_dir()


def run(folder: Path) -> Iterator[ResultRow]:
    """Check one fixture folder, row by row; a check that raises ends in a row that fails and says why.

    Raises
    ------
    DatasetError
        If no check covers the folder.
    """
    kind = recognise(folder)
    if kind is None:
        raise DatasetError(f"{folder} is not covered; expected a folder of one of the kinds {', '.join(kinds())}")
    try:
        yield from _REGISTRY[kind].check(folder)
    except (XappaError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, OSError) as error:
        yield ResultRow(Fixture(folder).name, f"({kind})", math.inf, 0.0, f"{type(error).__name__}: {error}")


def load(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Configuration and tensors of a fixture folder."""
    from safetensors.torch import load_file

    return Fixture(folder).config, load_file(folder / "io.safetensors")


def load_weights(folder: Path) -> dict[str, torch.Tensor]:
    """State dict of a fixture folder (weights.safetensors)."""
    from safetensors.torch import load_file

    return load_file(folder / "weights.safetensors")


def compare(
    folder: Path, output: str, found: torch.Tensor, expected: torch.Tensor, tolerance: float | None = None
) -> ResultRow:
    """Compare an output with what is expected of it.

    Parameters
    ----------
    folder : Path
        Fixture folder.
    output : str
        Name of the output.
    found, expected : Tensor
        Of equal shapes. NaN must stand at the same places.
    tolerance : float, optional
        Largest relative error in the Euclidean norm. Default: 1e-9 for an expected float64, 1e-5 for other
        floats, 0 (equal) for integers and booleans.
    """
    import torch

    if tolerance is None:
        tolerance = (1e-9 if expected.dtype == torch.float64 else 1e-5) if expected.is_floating_point() else 0.0
    name = Fixture(folder).name
    if found.shape != expected.shape:
        note = f"shape {tuple(found.shape)}, expected {tuple(expected.shape)}"
        return ResultRow(name, output, math.inf, tolerance, note)
    a, b = (x.detach().cpu().to(torch.float64) for x in (found, expected))
    missing = b.isnan()
    if not torch.equal(a.isnan(), missing):
        return ResultRow(name, output, math.inf, tolerance, "NaN at other places than expected")
    a, b = a[~missing], b[~missing]
    if torch.equal(a, b):
        return ResultRow(name, output, 0.0, tolerance)
    error = float(torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(b))
    return ResultRow(name, output, math.inf if math.isnan(error) else error, tolerance)


def compare_sets(
    folder: Path, output: str, found: torch.Tensor, expected: torch.Tensor, tolerance: float = 0.0
) -> ResultRow:
    """Compare sets of integers: the error is the number of those in one set only, over the number expected."""
    a, b = set(found.tolist()), set(expected.tolist())
    error = 0.0 if a == b else len(a ^ b) / len(b) if b else math.inf
    return ResultRow(Fixture(folder).name, output, error, tolerance)
