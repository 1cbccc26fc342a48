"""The state specification that a task works with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xappa.model.state import StateSpec

if TYPE_CHECKING:
    from xappa.model.protocol import ModelLike


def get_state_spec(model: ModelLike | StateSpec | None) -> StateSpec:
    """Specification of what ``model=`` takes (default: the option ``default_model``), or itself."""
    if isinstance(model, StateSpec):
        return model
    from xappa.model.registry import load

    return load(model).spec
