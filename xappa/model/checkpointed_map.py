"""Functions of single states, applied to many, with memory for a few."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor

from xappa._compat.torch import FakeTensor
from xappa.model.precision import power_of_two

Function = Callable[[Tensor], Tensor]
"""States (B, ...) to others (B, ...), each by itself."""


def map_states(function: Function, x: Tensor, size: int) -> Tensor:
    """`function(x)`, `size` states at a time.

    No graph is kept: derivatives compute each part of it anew, so that they need the memory of `size` states too. They
    may be taken in reverse mode, and the transpose of that once more, as `guidance.Linearised` does; second derivatives
    with respect to `x` are not known, and NaN.

    Parameters
    ----------
    function : callable
        Its parameters are constants. It is differentiable in both modes.
    x : Tensor (B, ...)
    size : int
        At least 1.
    """
    if not (torch.is_grad_enabled() and x.requires_grad):
        return _concatenate([function(part) for part in x.split(size)])
    return _CheckpointedMap.apply(x, function, size)


class _CheckpointedMap(torch.autograd.Function):
    """x -> f(x), part by part."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Function, size: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.function, ctx.size = function, size
        return _concatenate([function(part) for part in x.split(size)])

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return _Adjoint.apply(x, cotangent, ctx.function, ctx.size), None, None


class _Adjoint(torch.autograd.Function):
    """(x, u) -> J(x)^T u, part by part; its derivative with respect to u is J(x)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cotangent: Tensor, function: Function, size: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.function, ctx.size = function, size
        pairs = zip(x.split(size), cotangent.split(size), strict=True)
        # Where only shapes are known, as in a count of operations: the probe is what is differentiated by.
        idle = ctx.needs_input_grad[1] if isinstance(cotangent, FakeTensor) else None
        return _concatenate([_apply_vjp(function, *pair, idle) for pair in pairs])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, tangent: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (x,) = ctx.saved_tensors
        pairs = zip(x.split(ctx.size), tangent.split(ctx.size), strict=True)
        pushed = _concatenate([_apply_jvp(ctx.function, *pair) for pair in pairs])
        return torch.full_like(x, torch.nan), pushed, None, None


def _apply_vjp(function: Function, x: Tensor, u: Tensor, idle: bool | None) -> Tensor:
    """J(x)^T u; of cotangents of order one, for those of any size would overflow in 16 bits."""
    if (
        not u.any() if idle is None else idle
    ):  # a state of which nothing is observed, or the probe with which a transpose begins
        return torch.zeros_like(x)
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        value = function(point)
    scale = power_of_two(u)
    (v,) = torch.autograd.grad(value, point, u / scale)
    return v * expand_like(scale, v)


def _apply_jvp(function: Function, x: Tensor, v: Tensor) -> Tensor:
    """J(x) v; of tangents of order one, as `_apply_vjp`."""
    if isinstance(x, FakeTensor):  # not known to PyTorch in forward mode: state and tangent go the same way
        with torch.no_grad():
            return function(x) + function(v)
    scale = power_of_two(v)
    with torch.no_grad(), forward_ad.dual_level():
        value = function(forward_ad.make_dual(x.detach(), v / scale))
        u = forward_ad.unpack_dual(value).tangent
        u = torch.zeros_like(value) if u is None else u
    return u * expand_like(scale, u)


def expand_like(scale: Tensor, x: Tensor) -> Tensor:
    """`scale` (B, 1, ...) with as many dimensions as `x`."""
    return scale.view(-1, *[1] * (x.ndim - 1))


def _concatenate(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
