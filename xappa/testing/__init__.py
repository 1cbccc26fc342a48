"""Checks of what users write: whether an observation operator is differentiated correctly."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xappa.testing.operators import OperatorReport, check_operator

__all__ = ["OperatorReport", "check_operator"]


def __getattr__(name: str) -> object:
    """Load a public name when it is first used."""
    if name in __all__:
        return getattr(importlib.import_module("xappa.testing.operators"), name)
    raise AttributeError(f"module 'xappa.testing' has no attribute {name!r}")
