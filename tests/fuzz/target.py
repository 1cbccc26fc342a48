"""What is fuzzed: `Target`, and the registry of them."""

from __future__ import annotations

import importlib
import pkgutil
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fuzz import targets as package


@dataclass(frozen=True)
class Target:
    """One format and its reader. The functions are those of a module, or partials of them: they are pickled.

    Parameters
    ----------
    name : str
        Name in the table, and of ``--formats`` and ``--only``.
    seeds : callable
        ``seeds(folder)``: list of valid inputs (paths in `folder`, bytes, or objects), made by code, the same in each
        process. Called once a process.
    mutate : callable
        ``mutate(seed, rng, folder)``: one damaged input. `folder` is empty, and removed
        afterwards; `seed` stays as it is.
    read : callable
        ``read(input)``: what users call; it has to compute what is lazy.
    absurd : callable
        ``absurd(result)``: what among the values that count as good cannot be, in words; empty if all is well.
    weight : float, default 1
        Part of the mutations that it gets, beside others; less for those that take long.
    remarked : callable
        ``remarked(result)``: whether something is flagged or counted; a warning counts as a remark too.
    """

    name: str
    seeds: Callable[[Path], Sequence[Any]]
    mutate: Callable[[Any, random.Random, Path], Any]
    read: Callable[[Any], Any]
    absurd: Callable[[Any], list[str]]
    remarked: Callable[[Any], bool] = bool
    weight: float = 1.0


def registry() -> dict[str, Target]:
    """All targets by name: the lists ``TARGETS`` of the modules in `tests.fuzz.targets`."""
    found: dict[str, Target] = {}
    for module in sorted(module.name for module in pkgutil.iter_modules(package.__path__)):
        for target in importlib.import_module(f"{package.__name__}.{module}").TARGETS:
            if target.name in found:
                raise ValueError(f"Two targets are named {target.name!r}")
            found[target.name] = target
    return found
