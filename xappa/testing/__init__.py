"""Checks of this package against recorded outputs; ``python -m xappa.testing FOLDER...`` runs them.

A *fixture folder* holds ``config.json``, ``io.safetensors`` (inputs and expected outputs) and, for networks,
``weights.safetensors``. Its kind is recognised from its contents, else from its name.
"""

from xappa.testing.runner import Fixture, Row, compare, find, kinds, load, load_weights, recognise, register, run

__all__ = ["Fixture", "Row", "compare", "find", "kinds", "load", "load_weights", "recognise", "register", "run"]
