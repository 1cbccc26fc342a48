"""The other functions of numpy that xarray calls, by torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xappa.errors import OperatorError
from xappa.operators.torch_array import reductions  # noqa: F401  (enters its functions)
from xappa.operators.torch_array.array import ALTERNATIVES, TensorArray, as_tensor, has_holes, lost, reference
from xappa.operators.torch_array.table import FUNCTIONS, Axis, axes_of, implements
from xappa.operators.torch_array.ufuncs import promoted


def apply(function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """Implementation of ``__array_function__``.

    Raises
    ------
    OperatorError
        If the function has no counterpart.
    """
    name = getattr(function, "__name__", str(function))
    if name not in FUNCTIONS:
        if name in ("array", "asarray", "asanyarray", "ascontiguousarray"):
            raise lost(f"np.{name}")
        raise OperatorError(
            f"np.{name} has no counterpart with a gradient: "
            + ALTERNATIVES.get(name, f"those that have are {', '.join(sorted(FUNCTIONS))}")
        )
    return FUNCTIONS[name](*args, **kwargs)


def take_items(tensor: Tensor, key: Any) -> Tensor:
    """Numpy's indexing, of which torch lacks negative steps."""
    keys = list(key) if isinstance(key, tuple) else [key]
    named = sum(1 for k in keys if k is not None and k is not Ellipsis)
    if Ellipsis in [k for k in keys if isinstance(k, type(Ellipsis))]:
        at = next(i for i, k in enumerate(keys) if k is Ellipsis)
        keys[at : at + 1] = [slice(None)] * (tensor.ndim - named)
    axis, result = 0, tensor
    for position, item in enumerate(keys):
        if item is None:
            continue
        if isinstance(item, slice) and item.step is not None and item.step < 0:
            walk = range(*item.indices(tensor.shape[axis]))
            forward = slice(walk[-1], walk[0] + 1, -walk.step) if len(walk) else slice(0, 0)
            result = result[(slice(None),) * axis + (forward,)].flip(axis)
            keys[position] = slice(None)
        else:
            keys[position] = _index(item, tensor)
        axis += 1
    return result[tuple(keys)]


def _index(item: Any, tensor: Tensor) -> Any:
    if isinstance(item, slice):
        return slice(*(None if v is None else int(v) for v in (item.start, item.stop, item.step)))
    if isinstance(item, int | np.integer):
        return int(item)
    if isinstance(item, TensorArray):
        return item.tensor
    array = np.asarray(item)
    return torch.from_numpy(np.ascontiguousarray(array.astype(bool if array.dtype == bool else np.int64))).to(
        tensor.device
    )


@implements("where")
def where(condition: Any, x: Any = None, y: Any = None) -> TensorArray:
    """Choice between two."""
    if x is None or y is None:
        raise OperatorError("np.where needs both alternatives: use xr.where(condition, x, y)")
    model = reference([x, y, condition])
    tensors = [as_tensor(value, model) for value in (x, y)]
    first, second = promoted(tensors)
    chosen = torch.where(as_tensor(condition, model).bool(), first, second)
    return TensorArray(chosen, has_holes(x) or has_holes(y))


@implements("clip")
def clip(a: Any, a_min: Any = None, a_max: Any = None, out: None = None, **other: Any) -> TensorArray:
    """Values within limits."""
    lower, upper = other.get("min", a_min), other.get("max", a_max)
    result = a if lower is None else np.maximum(a, lower)
    return result if upper is None else np.minimum(result, upper)


@implements("nan_to_num")
def nan_to_num(x: Any, copy: bool = True, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> TensorArray:
    """Numbers instead of NaN and infinities."""
    return TensorArray(torch.nan_to_num(x.tensor, nan, posinf, neginf))


@implements("concatenate", "concat")
def concatenate(arrays: Any, axis: int = 0, out: None = None, **other: Any) -> TensorArray:
    """Arrays one after the other."""
    tensors = _all(arrays)
    return TensorArray(torch.cat(tensors, dim=axis), has_holes(list(arrays)))


@implements("stack")
def stack(arrays: Any, axis: int = 0, out: None = None, **other: Any) -> TensorArray:
    """Arrays side by side along a new axis."""
    return TensorArray(torch.stack(_all(arrays), dim=axis), has_holes(list(arrays)))


def _all(arrays: Any) -> list[Tensor]:
    model = reference(list(arrays))
    return [as_tensor(array, model).to(model.dtype) for array in arrays]


@implements("expand_dims")
def expand_dims(a: Any, axis: Any) -> TensorArray:
    """New axes of length 1."""
    axes = axis if isinstance(axis, Sequence) else [axis]
    ndim, result = a.ndim + len(axes), a.tensor
    for one in sorted(int(i) % ndim for i in axes):
        result = result.unsqueeze(one)
    return TensorArray(result, a.holes)


@implements("squeeze")
def squeeze(a: Any, axis: Axis = None) -> TensorArray:
    """Without axes of length 1."""
    return TensorArray(a.tensor.squeeze() if axis is None else a.tensor.squeeze(axes_of(axis, a.ndim)), a.holes)


@implements("reshape")
def reshape(a: Any, shape: Any = None, order: str = "C", **other: Any) -> TensorArray:
    """Another shape."""
    shape = other.get("newshape", shape)
    return TensorArray(a.tensor.reshape(shape if isinstance(shape, int) else tuple(map(int, shape))), a.holes)


@implements("ravel")
def ravel(a: Any, order: str = "C") -> TensorArray:
    """One axis."""
    return TensorArray(a.tensor.flatten(), a.holes)


@implements("transpose")
def transpose(a: Any, axes: Any = None) -> TensorArray:
    """Axes in another order."""
    order = tuple(reversed(range(a.ndim))) if axes is None else tuple(int(i) for i in axes)
    return TensorArray(a.tensor.permute(order), a.holes)


@implements("moveaxis")
def moveaxis(a: Any, source: Any, destination: Any) -> TensorArray:
    """Axes moved elsewhere."""
    source, destination = (tuple(int(i) for i in np.atleast_1d(end)) for end in (source, destination))
    return TensorArray(torch.movedim(a.tensor, source, destination), a.holes)


@implements("swapaxes")
def swapaxes(a: Any, axis1: int, axis2: int) -> TensorArray:
    """Two axes exchanged."""
    return TensorArray(a.tensor.transpose(axis1, axis2), a.holes)


@implements("broadcast_to")
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> TensorArray:
    """Repeated along axes of length 1."""
    return TensorArray(array.tensor.expand(tuple(map(int, np.atleast_1d(shape)))), array.holes)


@implements("flip")
def flip(m: Any, axis: Axis = None) -> TensorArray:
    """In reverse."""
    return TensorArray(m.tensor.flip(axes_of(axis, m.ndim)), m.holes)


@implements("roll")
def roll(a: Any, shift: Any, axis: Axis = None) -> TensorArray:
    """Shifted in a circle."""
    shifts = tuple(int(s) for s in np.atleast_1d(shift))
    return TensorArray(torch.roll(a.tensor, shifts, axes_of(axis, a.ndim) if axis is not None else ()), a.holes)


@implements("take")
def take(a: Any, indices: Any, axis: int | None = None, out: None = None, mode: str = "raise") -> TensorArray:
    """Entries along an axis."""
    if axis is None:
        return ravel(a)[indices]
    return a[(slice(None),) * (axis % a.ndim) + (indices,)]


@implements("diff")
def diff(a: Any, n: int = 1, axis: int = -1, **other: Any) -> TensorArray:
    """Differences of neighbours."""
    return TensorArray(torch.diff(a.tensor, n=n, dim=axis), a.holes)


@implements("gradient")
def gradient(f: Any, *spacing: Any, axis: Any = None, edge_order: int = 1) -> TensorArray:
    """Derivative by central differences, as numpy's: second order inside, also where nodes are unequally spaced."""
    axes = axes_of(axis, f.ndim)
    if len(axes) != 1 or len(spacing) > 1 or edge_order not in (1, 2):
        raise OperatorError("np.gradient works on one axis with one spacing at a time, with edge_order 1 or 2")
    size = f.shape[axes[0]]
    step = np.asarray(spacing[0] if spacing else 1.0, float)
    nodes = step if step.ndim else step * np.arange(size)
    matrix = _differences(nodes, edge_order)
    model = f.tensor.movedim(axes[0], -1)
    result = torch.zeros_like(model)
    for offset, weight in matrix.items():
        shifted = model[..., torch.as_tensor(np.clip(np.arange(size) + offset, 0, size - 1), device=model.device)]
        product = as_tensor(weight, model) * shifted
        result = result + torch.where(as_tensor(weight == 0, model), torch.zeros_like(product), product)
    return TensorArray(result.movedim(-1, axes[0]), f.holes)


def _differences(x: np.ndarray, edge_order: int) -> dict[int, np.ndarray]:
    """Weights of the neighbours -2 ... 2 of each node in the derivative there: that of the parabola through three."""
    size = len(x)
    weights = {offset: np.zeros(size) for offset in (-2, -1, 0, 1, 2)}
    if size < edge_order + 1:
        raise OperatorError(f"a derivative needs at least {edge_order + 1} nodes, found {size}")
    for i in range(size):
        first = min(max(i - 1, 0), size - 3) if edge_order == 2 else i - 1
        nodes = [first, first + 1, first + 2]
        if edge_order == 1 and i in (0, size - 1):
            nodes = [0, 1] if i == 0 else [size - 2, size - 1]
        for k in nodes:
            others = [j for j in nodes if j != k]
            below = np.prod([x[k] - x[j] for j in others])
            above = 1.0 if len(others) == 1 else (x[i] - x[others[0]]) + (x[i] - x[others[1]])
            weights[k - i][i] = above / below
    return {offset: weight for offset, weight in weights.items() if weight.any()}


@implements("pad")
def pad(array: Any, pad_width: Any, mode: str = "constant", **options: Any) -> TensorArray:
    """Longer at the ends: by a constant, by the end values, or in a circle."""
    widths = np.broadcast_to(np.asarray(pad_width, int), (array.ndim, 2))
    if mode not in ("constant", "edge", "wrap", "reflect", "symmetric"):
        raise OperatorError(f"pad with mode={mode!r} has no counterpart; expected constant, edge, wrap or reflect")
    constants = np.broadcast_to(np.asarray(options.get("constant_values", 0.0)), (array.ndim, 2))
    result = array.tensor
    for axis, (before, after) in enumerate(widths.tolist()):
        size = result.shape[axis]
        if mode == "constant":
            ends = [
                result.new_full([*result.shape[:axis], n, *result.shape[axis + 1 :]], float(constants[axis, side]))
                for side, n in enumerate((before, after))
            ]
            result = torch.cat([ends[0], result, ends[1]], dim=axis) if before or after else result
        elif before or after:
            index = np.pad(np.arange(size), (before, after), mode=mode)  # type: ignore[call-overload]
            result = result[(slice(None),) * axis + (torch.as_tensor(index, device=result.device),)]
    return TensorArray(result, array.holes or (mode == "constant" and bool(np.isnan(constants.astype(float)).any())))


@implements("sliding_window_view")
def sliding_window_view(x: Any, window_shape: Any, axis: Axis = None, **other: Any) -> TensorArray:
    """All windows along axes, as new axes at the end."""
    sizes = [int(n) for n in np.atleast_1d(window_shape)]
    result = x.tensor
    for one, size in zip(axes_of(axis, x.ndim), sizes, strict=True):
        result = result.unfold(one, size, 1)
    return TensorArray(result, x.holes)


@implements("einsum")
def einsum(subscripts: str, *operands: Any, **other: Any) -> TensorArray:
    """Sums of products."""
    model = reference(list(operands))
    tensors = [as_tensor(value, model) for value in operands]
    # Masks are summed as numbers, in the precision of the weights that they meet.
    dtypes = [tensor.dtype for tensor in tensors if tensor.is_floating_point()]
    known = next((a.precision for a in operands if isinstance(a, TensorArray) and a.precision is not None), None)
    dtype = known or max(dtypes, key=lambda d: d.itemsize, default=torch.float64)
    tensors = [tensor.to(dtype) for tensor in tensors]
    return TensorArray(torch.einsum(subscripts, *tensors), has_holes(list(operands)))


@implements("tensordot")
def tensordot(a: Any, b: Any, axes: Any = 2) -> TensorArray:
    """Sums of products over axes."""
    x, y = _all([a, b])
    return TensorArray(torch.tensordot(x, y, axes), has_holes([a, b]))


@implements("matmul", "dot")
def matmul(a: Any, b: Any, **other: Any) -> TensorArray:
    """Product of matrices."""
    x, y = _all([a, b])
    return TensorArray(x @ y, has_holes([a, b]))


@implements("cross")
def cross(a: Any, b: Any, axis: int = -1, **other: Any) -> TensorArray:
    """Vector product, of three components."""
    x, y = _all([a, b])
    return TensorArray(torch.linalg.cross(x, y, dim=axis), has_holes([a, b]))


@implements("full_like")
def full_like(a: Any, fill_value: Any, dtype: Any = None, **other: Any) -> TensorArray:
    """A constant in the shape of an array."""
    kind = None if dtype is None else getattr(torch, np.dtype(dtype).name)
    return TensorArray(
        torch.full(a.shape, fill_value, dtype=kind or a.tensor.dtype, device=a.tensor.device), has_holes(fill_value)
    )


@implements("zeros_like")
def zeros_like(a: Any, dtype: Any = None, **other: Any) -> TensorArray:
    """0 in the shape of an array."""
    return full_like(a, 0, dtype)


@implements("ones_like")
def ones_like(a: Any, dtype: Any = None, **other: Any) -> TensorArray:
    """1 in the shape of an array."""
    return full_like(a, 1, dtype)


@implements("round", "around")
def round_(a: Any, decimals: int = 0, out: None = None) -> TensorArray:
    """Refused: a rounded field has no gradient at all."""
    raise OperatorError("round loses the gradient, which is 0 between the steps: leave the field as it is")


@implements("result_type")
def result_type(*arrays: Any) -> np.dtype:
    """Type of a result: floats of numpy take the type of the tensors that they meet."""
    fields = [a.dtype for a in arrays if isinstance(a, TensorArray)]
    others = [a for a in arrays if not isinstance(a, TensorArray)]
    own = np.result_type(*fields)
    if own.kind == "f":
        return own
    return np.result_type(own, *others)


@implements("shape")
def shape(a: Any) -> tuple[int, ...]:
    """Sizes of the axes."""
    return a.shape


@implements("ndim")
def ndim(a: Any) -> int:
    """Number of axes."""
    return a.ndim


@implements("size")
def size(a: Any, axis: int | None = None) -> int:
    """Number of values."""
    return a.size if axis is None else a.shape[axis]


@implements("iscomplexobj")
def iscomplexobj(x: Any) -> bool:
    """No: there are no complex ones."""
    return False


@implements("isclose")
def isclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> TensorArray:
    """Whether values are nearly the same: a mask."""
    x, y = _all([a, b])
    return TensorArray(torch.isclose(x.detach(), y.detach(), rtol, atol, equal_nan))


@implements("isin")
def isin(element: Any, test_elements: Any, **other: Any) -> TensorArray:
    """Whether values are among others: a mask."""
    return TensorArray(torch.isin(element.tensor.detach(), as_tensor(test_elements, element.tensor)))


@implements("copy")
def copy(a: Any, **other: Any) -> TensorArray:
    """The same: nothing changes an array in place."""
    return a
