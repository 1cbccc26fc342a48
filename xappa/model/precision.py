"""Precision of the networks: which of their products are taken in 16 bits.

In 16 bits, layers whose cost is that of matrix products and convolutions run on 16-bit copies of their inputs and
parameters; norms, residual streams, noise levels, places and dates, and all that lies outside the networks (samplers,
solvers, operators) stay in float32. float16 is the more precise, but has no numbers above 65504; bfloat16 has the range
of float32.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Words for `xappa.load` and ``xappa.set_options``."""


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Context in which networks take products in a precision of `PRECISIONS`."""
    if precision == "float32":
        return nullcontext()
    # Parameters that need no gradient are cast at every use anyway: there is nothing to keep.
    return torch.autocast(device.type, PRECISIONS[precision], cache_enabled=False)


def disable_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Context within `autocast` in which nothing is rounded."""
    known = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if known else nullcontext()


def power_of_two(x: Tensor) -> Tensor:
    """Power of two near the largest number of each entry of `x` (B, ...), 1 where there is none: (B, 1, ...)."""
    largest = x.abs().flatten(1).amax(1).view(-1, *[1] * (x.ndim - 1))
    exponent = torch.frexp(largest).exponent
    return torch.where(
        (largest > 0) & torch.isfinite(largest),
        torch.ldexp(torch.ones_like(largest), exponent),
        torch.ones_like(largest),
    )


def with_scaled_gradients(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`function(x)`, whose derivative sees cotangents of order one: those of any size would overflow float16.

    Scales are powers of two, one an entry of the batch, so that they round nothing.
    """
    scale: list[Tensor] = []
    return _Leave.apply(function(_Enter.apply(x, scale)), scale)


class _Enter(torch.autograd.Function):
    """The identity, through which cotangents leave: what `_Leave` divided by is multiplied back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: list[Tensor]) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
        return cotangent * ctx.scale[0], None


class _Leave(torch.autograd.Function):
    """The identity, through which cotangents enter: each entry is divided by its largest number."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, scale: list[Tensor]) -> Tensor:
        ctx.scale = scale
        return y.view_as(y)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
        ctx.scale[:] = [power_of_two(cotangent)]
        return cotangent / ctx.scale[0], None
