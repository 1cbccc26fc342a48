"""Elementwise functions of numpy, by torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xappa.errors import OperatorError
from xappa.operators.torch_array.array import TensorArray, as_tensor, has_holes, reference

SMOOTH: dict[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "subtract": torch.subtract,
    "multiply": torch.multiply,
    "divide": torch.true_divide,
    "remainder": torch.remainder,
    "power": torch.pow,
    "float_power": torch.pow,
    "negative": torch.negative,
    "positive": torch.positive,
    "absolute": torch.abs,
    "fabs": torch.abs,
    "square": torch.square,
    "sqrt": torch.sqrt,
    "cbrt": lambda x: torch.sign(x) * torch.abs(x) ** (1 / 3),
    "reciprocal": torch.reciprocal,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "expm1": torch.expm1,
    "log": torch.log,
    "log2": torch.log2,
    "log10": torch.log10,
    "log1p": torch.log1p,
    "logaddexp": torch.logaddexp,
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": torch.tan,
    "arcsin": torch.arcsin,
    "arccos": torch.arccos,
    "arctan": torch.arctan,
    "arctan2": torch.arctan2,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "tanh": torch.tanh,
    "arcsinh": torch.arcsinh,
    "arccosh": torch.arccosh,
    "arctanh": torch.arctanh,
    "hypot": torch.hypot,
    "deg2rad": torch.deg2rad,
    "radians": torch.deg2rad,
    "rad2deg": torch.rad2deg,
    "degrees": torch.rad2deg,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
}
"""Functions with a derivative (almost everywhere)."""

FLAT: dict[str, Callable[..., Tensor]] = {
    "floor": torch.floor,
    "ceil": torch.ceil,
    "trunc": torch.trunc,
    "rint": torch.round,
    "sign": torch.sign,
    "floor_divide": torch.floor_divide,
}
"""Functions whose derivative is 0 wherever it exists."""

LOGICAL: dict[str, Callable[..., Tensor]] = {
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "less": torch.lt,
    "less_equal": torch.le,
    "equal": torch.eq,
    "not_equal": torch.ne,
    "isnan": torch.isnan,
    "isfinite": torch.isfinite,
    "isinf": torch.isinf,
    "signbit": torch.signbit,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
    "logical_xor": torch.logical_xor,
    "logical_not": torch.logical_not,
    "bitwise_and": torch.bitwise_and,
    "bitwise_or": torch.bitwise_or,
    "bitwise_xor": torch.bitwise_xor,
    "invert": torch.bitwise_not,
}
"""Functions that make masks, which have no derivative and need none."""

IGNORING_NAN: dict[str, Callable[..., Tensor]] = {"fmax": torch.fmax, "fmin": torch.fmin}

REDUCTIONS = {
    "add": np.sum,
    "multiply": np.prod,
    "maximum": np.max,
    "minimum": np.min,
    "logical_and": np.all,
    "logical_or": np.any,
}

_HARMLESS = 0.5  # in the domain of all functions but arccosh, with a finite derivative


def apply(ufunc: np.ufunc, method: str, inputs: Any, options: dict[str, Any]) -> Any:
    """Implementation of ``__array_ufunc__``.

    Raises
    ------
    OperatorError
        If the function, or what is asked of it, has no counterpart.
    """
    name = ufunc.__name__
    if method == "reduce" and name in REDUCTIONS:
        wanted = {key: options[key] for key in ("axis", "keepdims") if key in options}
        return REDUCTIONS[name](*inputs, **({"axis": 0} | wanted))  # type: ignore[operator]
    where = options.pop("where", True)
    options = {key: value for key, value in options.items() if value is not None and key not in ("casting", "order")}
    if method != "__call__" or where is not True or "out" in options:
        asked = f"np.{name}.{method}" if method != "__call__" else f"np.{name} with {', '.join(options) or 'where'}="
        raise OperatorError(f"{asked} does not work on fields: use np.{name} alone, and xr.where for conditions")
    table = next((t for t in (SMOOTH, FLAT, LOGICAL, IGNORING_NAN) if name in t), None)
    if table is None:
        raise OperatorError(
            f"np.{name} has no counterpart with a gradient; those that have: "
            f"{', '.join(sorted([*SMOOTH, *FLAT, *IGNORING_NAN]))}"
        )
    model = reference(inputs)
    tensors = [as_tensor(value, model) for value in inputs]
    if table is LOGICAL:
        precision = next((value.precision for value in inputs if isinstance(value, TensorArray)), None)
        return TensorArray(_compared(table[name], tensors), precision=precision)
    if not model.is_floating_point() and name not in ("add", "subtract", "multiply", "maximum", "minimum", "negative"):
        tensors = [t.to(torch.get_default_dtype()) for t in tensors]
    elif name in ("add", "subtract", "multiply", "negative"):
        # numpy counts with masks; torch has neither a difference nor a negative of them.
        tensors = [t.long() if t.dtype == torch.bool else t for t in tensors]
    holes = any(has_holes(value) for value in inputs)
    safe = holes and table is SMOOTH
    return TensorArray(_safe(table[name], tensors) if safe else _called(table[name], tensors), holes)


def _safe(function: Callable[..., Tensor], tensors: list[Tensor]) -> Tensor:
    """The function where no operand is NaN, and NaN elsewhere: there its derivative is 0, not 0 times NaN."""
    tensors = promoted(tensors)
    missing = torch.isnan(tensors[0])
    for tensor in tensors[1:]:
        missing = missing | torch.isnan(tensor)
    there = [torch.where(missing, torch.full_like(tensor, _HARMLESS), tensor) for tensor in tensors]
    value = _called(function, there)
    return torch.where(missing, torch.full_like(value, torch.nan), value)


def _called(function: Callable[..., Tensor], tensors: list[Tensor]) -> Tensor:
    return function(*(promoted(tensors) if len(tensors) > 1 else tensors))


def promoted(tensors: list[Tensor]) -> list[Tensor]:
    """Operands of one type: some of torch's functions do not promote."""
    dtype = tensors[0].dtype
    for tensor in tensors[1:]:
        dtype = torch.promote_types(dtype, tensor.dtype)
    # A number is not an array: 2 * float32 is float32.
    floats = [t.dtype for t in tensors if t.is_floating_point() and t.ndim]
    if floats and all(t.is_floating_point() and t.ndim == 0 for t in tensors if t.dtype == dtype):
        dtype = max(floats, key=lambda d: d.itemsize)
    return [tensor.to(dtype) for tensor in tensors]


def _compared(function: Callable[..., Tensor], tensors: list[Tensor]) -> Tensor:
    return function(*(promoted([t.detach() for t in tensors])))
