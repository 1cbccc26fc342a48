"""Checks of this package against recorded outputs; ``python -m xappa.testing FOLDER...`` runs them.

A *fixture folder* holds ``config.json``, ``io.safetensors`` (inputs and expected outputs) and, for networks,
``weights.safetensors``. Its kind is recognised from its contents, else from its name.
"""

from __future__ import annotations

import importlib

from xappa.testing.runner import Fixture, ResultRow, compare, find, kinds, load, load_weights, recognise, register, run

_OPERATORS = ("OperatorReport", "check_operator")


def __getattr__(name: str) -> object:
    """Checks of operators, loaded when they are first used."""
    if name in _OPERATORS:
        return getattr(importlib.import_module("xappa.testing.operators"), name)
    raise AttributeError(f"module 'xappa.testing' has no attribute {name!r}")


__all__ = [
    "Fixture",
    "ResultRow",
    "compare",
    "find",
    "kinds",
    "load",
    "load_weights",
    "recognise",
    "register",
    "run",
    *_OPERATORS,
]
