"""The state specification that a task works with."""

from __future__ import annotations

from pathlib import Path

from xappa.models.state import StateSpec


def state_spec(model: str | Path | StateSpec | None) -> StateSpec:
    """Specification of a model given by name or folder (default: the option ``default_model``), or itself."""
    if isinstance(model, StateSpec):
        return model
    from xappa.models.registry import load

    return load(model).spec
