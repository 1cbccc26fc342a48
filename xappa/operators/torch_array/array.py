"""Tensors that xarray takes for arrays, so that plain functions of a Dataset carry gradients.

numpy's two protocols do all of it: what xarray and the user call on an array arrives in ``__array_ufunc__``
(elementwise functions) or ``__array_function__`` (all others), and is done by torch. What has no counterpart there is
refused by name: a conversion to numpy would go through, and lose the gradient without a word.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xappa.errors import OperatorError

ALTERNATIVES = {
    "interp": "use xappa.operators.interp",
    "interp_like": "use xappa.operators.interp",
    "interpolate_na": "use .fillna, or xappa.operators.interp",
    "values": "work on the DataArray itself",
    "to_numpy": "work on the DataArray itself",
    "item": "keep the 0-dimensional DataArray",
    "__float__": "keep the 0-dimensional DataArray",
    "__int__": "keep the 0-dimensional DataArray",
    "load": "leave it out: the values are there",
    "compute": "leave it out: the values are there",
    "groupby": "select the groups with .sel or .isel and join them with xr.concat",
    "resample": "use .coarsen, or select the times with .sel or .isel and join them with xr.concat",
    "polyfit": "use xr.dot with the matrix of a least-squares fit",
    "ffill": "use .fillna or xr.where",
    "bfill": "use .fillna or xr.where",
    "rank": "compare with .quantile",
    "idxmax": "use .argmax with .isel",
    "idxmin": "use .argmin with .isel",
    "sortby": "order by a coordinate, not by a field",
    "lstsq": "use xr.dot with the matrix of a least-squares fit",
    "corr": "write it with .mean: (a - a.mean()) * (b - b.mean())",
}
"""Advice by the name of a method that cannot work."""

_OURS = (__name__.rpartition(".")[0], "torch", "contextlib", "functools")
_GROUPED = {"GroupBy": "groupby", "Resample": "resample"}
_OTHERS = ("scipy", "metpy", "pandas", "dask", "xhistogram", "flox", "bottleneck", "numbagg")


class TensorArray(np.lib.mixins.NDArrayOperatorsMixin):
    """A tensor in the shape of a numpy array.

    Parameters
    ----------
    tensor : Tensor
    holes : bool, default False
        Whether it may hold NaN where there is no value (sea-surface temperature over land). Elementwise functions then
        give NaN there without looking, since the derivative of NaN, times zero, is not zero.
    precision : torch.dtype, optional
        Type of the floats that a mask was made of, to which it is turned where it is multiplied.
    """

    __slots__ = ("holes", "precision", "tensor")
    __array_priority__ = 1000

    def __init__(self, tensor: Tensor, holes: bool = False, precision: torch.dtype | None = None) -> None:
        self.tensor, self.holes = tensor, holes
        self.precision = tensor.dtype if tensor.is_floating_point() else precision

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return tuple(self.tensor.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.tensor.ndim

    @property
    def size(self) -> int:
        """Number of values."""
        return self.tensor.numel()

    @property
    def dtype(self) -> np.dtype:
        """Numpy's name of the tensor's type."""
        return np.dtype(str(self.tensor.dtype).removeprefix("torch."))

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return self.size * self.dtype.itemsize

    @property
    def T(self) -> TensorArray:  # noqa: N802
        """The axes in reverse."""
        return self.transpose()

    @property
    def real(self) -> TensorArray:
        """The array itself: there are no complex ones."""
        return self

    @property
    def imag(self) -> TensorArray:
        """Zeros. xarray takes for an array only what has both parts; without, its reductions leave for numpy."""
        return TensorArray(torch.zeros_like(self.tensor))

    def __len__(self) -> int:
        return len(self.tensor)

    def __repr__(self) -> str:
        sizes = " x ".join(map(str, self.shape)) or "one value"
        return f"<TensorArray of {sizes}, {self.dtype}, on {self.tensor.device}>"

    def _repr_inline_(self, max_width: int) -> str:
        return repr(self)[:max_width]

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        from xappa.operators.torch_array.ufuncs import apply

        return apply(ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Callable, types: Any, args: Any, kwargs: Any) -> Any:
        from xappa.operators.torch_array.functions import apply

        return apply(function, args, kwargs)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.tensor.is_floating_point():
            raise lost(public_caller())
        return self.tensor.detach().cpu().numpy().astype(dtype or self.dtype)

    def __float__(self) -> float:
        raise lost("__float__")

    def __int__(self) -> int:
        raise lost("__int__")

    def item(self) -> Any:
        """Refused: a number has no gradient."""
        raise lost("item")

    def __bool__(self) -> bool:
        return bool(self.tensor.detach())

    def __getitem__(self, key: Any) -> TensorArray:
        from xappa.operators.torch_array.functions import take_items

        return like(self, take_items(self.tensor, key))

    # xarray changes some intermediate results in place; a new array does as well.
    def __iadd__(self, other: Any) -> TensorArray:  # type: ignore[misc]
        return self + other

    def __isub__(self, other: Any) -> TensorArray:  # type: ignore[misc]
        return self - other

    def __imul__(self, other: Any) -> TensorArray:  # type: ignore[misc]
        return self * other

    def __itruediv__(self, other: Any) -> TensorArray:  # type: ignore[misc]
        return self / other

    def __setitem__(self, key: Any, value: Any) -> None:
        raise OperatorError(
            "Assigning to a part of a field (x[...] = y, x.loc[...] = y) would change a step of which the derivative "
            "is needed. Use xr.where(condition, y, x), or x.where(condition, y)"
        )

    def astype(self, dtype: Any, copy: bool = True, **options: Any) -> TensorArray:
        """Values as another type; floats stay floats, since integers have no gradient."""
        wanted = np.dtype(dtype)
        if wanted == self.dtype:
            return self
        if self.tensor.is_floating_point() and wanted.kind in "iu":
            raise OperatorError(
                f"astype({wanted}) of a field loses its gradient: integers have none. Keep floats, or compare: "
                "(field > limit).astype(float) is a mask"
            )
        if wanted.kind not in "fiub":
            raise OperatorError(f"astype({wanted}): fields on tensors are of numbers only")
        return like(self, self.tensor.to(getattr(torch, wanted.name)))

    def copy(self, order: str = "K") -> TensorArray:
        """The same values; nothing changes an array in place, so that none is copied."""
        return self

    def __copy__(self) -> TensorArray:
        return self

    def __deepcopy__(self, memo: Any) -> TensorArray:
        # A copy of the tensor would be a new beginning, from which no gradient leads back.
        return self

    def transpose(self, *axes: Any) -> TensorArray:
        """Axes in another order."""
        order: Any = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes or None
        return TensorArray(np.transpose(self, order).tensor, self.holes)  # type: ignore

    def reshape(self, *shape: Any, order: str = "C") -> TensorArray:
        """Values in another shape."""
        wanted: Any = shape[0] if len(shape) == 1 else shape
        return TensorArray(np.reshape(self, wanted).tensor, self.holes)  # type: ignore

    def sum(self, axis: Any = None, keepdims: bool = False) -> TensorArray:
        """Sum over axes."""
        return np.sum(self, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]

    def mean(self, axis: Any = None, keepdims: bool = False) -> TensorArray:
        """Mean over axes."""
        return np.mean(self, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]

    def any(self, axis: Any = None) -> TensorArray:
        """Whether any value is true."""
        return np.any(self, axis=axis)  # type: ignore[call-overload]

    def all(self, axis: Any = None) -> TensorArray:
        """Whether all values are true."""
        return np.all(self, axis=axis)  # type: ignore[call-overload]


def like(array: TensorArray, tensor: Tensor, holes: bool = False) -> TensorArray:
    """A result that was made of `array`."""
    return TensorArray(tensor, array.holes or holes)


def has_holes(value: Any) -> bool:
    """Whether an operand may hold NaN; tensors are not looked at, so that no decision depends on their values."""
    if isinstance(value, TensorArray):
        return value.holes
    if isinstance(value, list | tuple):
        return any(has_holes(part) for part in value)
    array = np.asarray(value) if value is not None else np.zeros(0)
    return array.dtype.kind == "f" and bool(np.isnan(array).any())


def reference(values: Any) -> Tensor:
    """A tensor among operands that tells the type and device of the others; floats before integers."""
    found: list[Tensor] = []

    def search(value: Any) -> None:
        if isinstance(value, TensorArray):
            found.append(value.tensor)
        elif isinstance(value, list | tuple):
            for part in value:
                search(part)

    search(values)
    return next((tensor for tensor in found if tensor.is_floating_point()), found[0])


def as_tensor(value: Any, reference: Tensor) -> Tensor:
    """An operand as a tensor; floats of numpy take the type of the tensors that they meet."""
    if isinstance(value, TensorArray):
        return value.tensor
    if isinstance(value, Tensor):
        return value
    array = np.asarray(value)
    if array.dtype.kind in "mMOSU":
        raise OperatorError(
            f"A field on tensors meets an array of {array.dtype}, which is none of numbers. Times can be turned into "
            "hours first: (time - start) / np.timedelta64(1, 'h')"
        )
    tensor = torch.as_tensor(np.ascontiguousarray(array) if array.ndim else array[()], device=reference.device)
    return tensor.to(reference.dtype) if array.dtype.kind == "f" and reference.is_floating_point() else tensor


def lost(name: str) -> OperatorError:
    """The error of a step that would lose the gradient."""
    method = name.split(" ")[-1].rpartition(".")[2]
    advice = ALTERNATIVES.get(method, "write it with the methods listed in the documentation of operators")
    return OperatorError(
        f"{name} turns a field into numpy numbers, which would lose its gradient without a word: {advice}"
    )


def public_caller() -> str:
    """Name of the library's function, the outermost before the user's own, that led here."""
    frame: FrameType | None = sys._getframe(1)
    name = "np.asarray"
    while frame is not None:
        module, function = str(frame.f_globals.get("__name__", "")), frame.f_code
        package = module.partition(".")[0]
        if package == "xarray":
            kind = function.co_qualname.partition(".")[0]
            grouped = next((method for word, method in _GROUPED.items() if word in kind), None)
            if function.co_name != "__array__":
                name = f"xarray's .{grouped or function.co_name}"
        elif package in (*_OTHERS, "numpy"):
            name = f"{'np' if package == 'numpy' else package}.{function.co_name}"
        elif not module.startswith(_OURS):
            break
        frame = frame.f_back
    return name
