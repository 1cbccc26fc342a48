"""Checks of xappa against recorded outputs of the official code; ``python -m xappa.testing FOLDER...`` runs them.

A *fixture folder* holds ``config.json``, ``io.safetensors`` (inputs and expected outputs) and, for networks,
``weights.safetensors``. Its kind is recognised from its contents, else from its name.
"""

from __future__ import annotations

from tests.official.runner import Fixture, ResultRow, compare, find, kinds, load, load_weights, recognise, register, run

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
]
