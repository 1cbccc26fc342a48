"""The table of numpy's functions that work on tensors; `functions` and `reductions` fill it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from xappa.operators.torch_array.array import TensorArray

FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""numpy's names of the functions that work."""

Axis = int | Sequence[int] | None


def implements(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function under numpy's names for it."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        FUNCTIONS.update(dict.fromkeys(names, function))
        return function

    return enter


def axes_of(axis: Axis, ndim: int) -> tuple[int, ...]:
    """Axes counted from the front, all if None."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(int(a) % ndim if ndim else 0 for a in (axis if isinstance(axis, Sequence) else [axis]))


def numbers(a: TensorArray) -> Tensor:
    """The tensor, as something that can be added up."""
    return a.tensor.long() if a.tensor.dtype == torch.bool else a.tensor


def floats(a: TensorArray) -> Tensor:
    """The tensor, as something that has a mean."""
    return a.tensor if a.tensor.is_floating_point() else a.tensor.to(torch.get_default_dtype())
