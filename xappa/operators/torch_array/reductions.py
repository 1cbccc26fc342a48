"""Functions of numpy that reduce axes, or run along them, by torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xappa.operators.torch_array.array import TensorArray
from xappa.operators.torch_array.table import Axis, axes_of, floats, implements, numbers


def _sum(a: TensorArray, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: Any = False) -> TensorArray:
    keep = keepdims is True
    return TensorArray(torch.sum(numbers(a), dim=axes_of(axis, a.ndim), keepdim=keep) if a.ndim else numbers(a))


@implements("sum")
def sum_(a: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: Any = False) -> TensorArray:
    """Sum; NaN where any is."""
    return TensorArray(_sum(a, axis, keepdims=keepdims).tensor, a.holes)


@implements("nansum")
def nansum(a: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: Any = False) -> TensorArray:
    """Sum of what is not NaN."""
    return _sum(_filled(a, 0.0), axis, keepdims=keepdims)


@implements("mean")
def mean(a: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: Any = False) -> TensorArray:
    """Mean; NaN where any is."""
    values = floats(a)
    if not a.ndim:
        return TensorArray(values, a.holes)
    return TensorArray(values.mean(dim=axes_of(axis, a.ndim), keepdim=keepdims is True), a.holes)


@implements("nanmean")
def nanmean(a: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: Any = False) -> TensorArray:
    """Mean of what is not NaN."""
    there = _sum(TensorArray(~torch.isnan(a.tensor)), axis, keepdims=keepdims).tensor
    total = nansum(a, axis, keepdims=keepdims).tensor
    result = total / there.clamp(min=1)
    return TensorArray(torch.where(there > 0, result, torch.full_like(result, torch.nan)), a.holes)


def _variance(a: TensorArray, axis: Axis, ddof: float, keep: bool, skip: bool) -> Tensor:
    count = _sum(TensorArray(~torch.isnan(a.tensor) if skip else torch.ones_like(a.tensor)), axis, keepdims=True).tensor
    centre = (nanmean if skip else mean)(a, axis, keepdims=True).tensor
    missing = torch.isnan(a.tensor) if skip else torch.zeros_like(a.tensor, dtype=torch.bool)
    away = torch.where(missing, torch.zeros_like(a.tensor), a.tensor - centre)
    axes = axes_of(axis, a.ndim)
    result = torch.sum(away.square(), dim=axes, keepdim=True) / (count - ddof)
    result = torch.where(count > ddof, result, torch.full_like(result, torch.nan))
    return result if keep else result.squeeze(axes) if axes else result


@implements("var")
def var(a: Any, axis: Axis = None, dtype: Any = None, out: None = None, ddof: float = 0, keepdims: Any = False) -> Any:
    """Variance; NaN where any is."""
    return TensorArray(_variance(a, axis, ddof, keepdims is True, False), a.holes)


@implements("nanvar")
def nanvar(
    a: Any, axis: Axis = None, dtype: Any = None, out: None = None, ddof: float = 0, keepdims: Any = False
) -> Any:
    """Variance of what is not NaN."""
    return TensorArray(_variance(a, axis, ddof, keepdims is True, True), a.holes)


@implements("std")
def std(a: Any, axis: Axis = None, dtype: Any = None, out: None = None, ddof: float = 0, keepdims: Any = False) -> Any:
    """Standard deviation; NaN where any is."""
    return np.sqrt(var(a, axis, ddof=ddof, keepdims=keepdims))


@implements("nanstd")
def nanstd(
    a: Any, axis: Axis = None, dtype: Any = None, out: None = None, ddof: float = 0, keepdims: Any = False
) -> Any:
    """Standard deviation of what is not NaN."""
    return np.sqrt(nanvar(a, axis, ddof=ddof, keepdims=keepdims))


def _extreme(a: TensorArray, axis: Axis, keepdims: Any, largest: bool) -> Tensor:
    function = torch.amax if largest else torch.amin
    return function(a.tensor, dim=axes_of(axis, a.ndim), keepdim=keepdims is True) if a.ndim else a.tensor


@implements("max", "amax")
def max_(a: Any, axis: Axis = None, out: None = None, keepdims: Any = False) -> TensorArray:
    """Maximum; the gradient is shared among equals."""
    return TensorArray(_extreme(a, axis, keepdims, True), a.holes)


@implements("min", "amin")
def min_(a: Any, axis: Axis = None, out: None = None, keepdims: Any = False) -> TensorArray:
    """Minimum; the gradient is shared among equals."""
    return TensorArray(_extreme(a, axis, keepdims, False), a.holes)


@implements("nanmax")
def nanmax(a: Any, axis: Axis = None, out: None = None, keepdims: Any = False) -> TensorArray:
    """Maximum of what is not NaN."""
    return _unfilled(_extreme(_filled(a, -math.inf), axis, keepdims, True), a)


@implements("nanmin")
def nanmin(a: Any, axis: Axis = None, out: None = None, keepdims: Any = False) -> TensorArray:
    """Minimum of what is not NaN."""
    return _unfilled(_extreme(_filled(a, math.inf), axis, keepdims, False), a)


def _filled(a: TensorArray, value: float) -> TensorArray:
    if not a.tensor.is_floating_point():
        return a
    return TensorArray(torch.where(torch.isnan(a.tensor), torch.full_like(a.tensor, value), a.tensor))


def _unfilled(result: Tensor, a: TensorArray) -> TensorArray:
    if not result.is_floating_point():
        return TensorArray(result)
    return TensorArray(torch.where(torch.isinf(result), torch.full_like(result, torch.nan), result), a.holes)


@implements("prod")
def prod(a: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: Any = False) -> TensorArray:
    """Product."""
    result = numbers(a)
    for one in sorted(axes_of(axis, a.ndim), reverse=True):
        result = torch.prod(result, dim=one, keepdim=keepdims is True)
    return TensorArray(result, a.holes)


@implements("nanprod")
def nanprod(a: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: Any = False) -> TensorArray:
    """Product of what is not NaN."""
    return prod(_filled(a, 1.0), axis, keepdims=keepdims)


@implements("cumsum")
def cumsum(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> TensorArray:
    """Running sum."""
    return TensorArray(torch.cumsum(numbers(a) if axis is not None else numbers(a).flatten(), axis or 0), a.holes)


@implements("nancumsum")
def nancumsum(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> TensorArray:
    """Running sum of what is not NaN."""
    return cumsum(_filled(a, 0.0), axis)


@implements("cumprod")
def cumprod(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> TensorArray:
    """Running product."""
    return TensorArray(torch.cumprod(numbers(a) if axis is not None else numbers(a).flatten(), axis or 0), a.holes)


@implements("nancumprod")
def nancumprod(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> TensorArray:
    """Running product of what is not NaN."""
    return cumprod(_filled(a, 1.0), axis)


def _together(a: TensorArray, axis: Axis) -> tuple[Tensor, tuple[int, ...]]:
    """The tensor with the axes as one, the last."""
    axes = axes_of(axis, a.ndim)
    rest = [i for i in range(a.ndim) if i not in axes]
    moved = floats(a).permute(*rest, *axes)
    return moved.reshape(*[a.shape[i] for i in rest], -1), axes


@implements("quantile")
def quantile(a: Any, q: Any, axis: Axis = None, out: None = None, method: str = "linear", **other: Any) -> TensorArray:
    """Quantiles, between neighbours as `method` says."""
    values, _ = _together(a, axis)
    levels = torch.as_tensor(np.asarray(q, float), dtype=values.dtype, device=values.device)
    return TensorArray(torch.quantile(values, levels, dim=-1, interpolation=method), a.holes)


@implements("nanquantile")
def nanquantile(
    a: Any, q: Any, axis: Axis = None, out: None = None, method: str = "linear", **other: Any
) -> TensorArray:
    """Quantiles of what is not NaN."""
    values, _ = _together(a, axis)
    levels = torch.as_tensor(np.asarray(q, float), dtype=values.dtype, device=values.device)
    return TensorArray(torch.nanquantile(values, levels, dim=-1, interpolation=method), a.holes)


@implements("median")
def median(a: Any, axis: Axis = None, out: None = None, **other: Any) -> TensorArray:
    """Median: the mean of the middle two of an even number."""
    return quantile(a, 0.5, axis)


@implements("nanmedian")
def nanmedian(a: Any, axis: Axis = None, out: None = None, **other: Any) -> TensorArray:
    """Median of what is not NaN."""
    return nanquantile(a, 0.5, axis)


def _truth(a: Any, axis: Axis, keepdims: Any, function: Callable[..., Tensor]) -> TensorArray:
    result = a.tensor.bool()
    for one in sorted(axes_of(axis, a.ndim), reverse=True):
        result = function(result, dim=one, keepdim=keepdims is True)
    return TensorArray(result)


@implements("any")
def any_(a: Any, axis: Axis = None, out: None = None, keepdims: Any = False) -> TensorArray:
    """Whether any is true."""
    return _truth(a, axis, keepdims, torch.any)


@implements("all")
def all_(a: Any, axis: Axis = None, out: None = None, keepdims: Any = False) -> TensorArray:
    """Whether all are true."""
    return _truth(a, axis, keepdims, torch.all)


@implements("argmax", "nanargmax")
def argmax(a: Any, axis: int | None = None, out: None = None, keepdims: Any = False) -> TensorArray:
    """Index of the maximum, for selections: what is selected has a gradient."""
    return TensorArray(torch.argmax(_filled(a, -math.inf).tensor.detach(), dim=axis, keepdim=keepdims is True))


@implements("argmin", "nanargmin")
def argmin(a: Any, axis: int | None = None, out: None = None, keepdims: Any = False) -> TensorArray:
    """Index of the minimum."""
    return TensorArray(torch.argmin(_filled(a, math.inf).tensor.detach(), dim=axis, keepdim=keepdims is True))
