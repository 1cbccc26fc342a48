"""Cost of a computation, found without doing it: floating-point operations, and peak memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

from xappa._compat.torch import FakeTensorMode, TorchDispatchMode, tree_leaves, unset_fake_temporarily

T = TypeVar("T")

COMPLEX = 4
"""Real products in a complex one."""


def _count_attention(query: Tensor, key: Tensor, value: Tensor, *rest: Any, **named: Any) -> int:
    return sdpa_flop_count(query.shape, key.shape, value.shape)


def _count_attention_backward(out: Tensor, query: Tensor, key: Tensor, value: Tensor, *rest: Any, **named: Any) -> int:
    return sdpa_backward_flop_count(out.shape, query.shape, key.shape, value.shape)


FORMULAS = {
    **flop_registry,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _count_attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _count_attention_backward,
}
"""Operations of a kernel, by kernel."""


@dataclass(frozen=True)
class Work:
    """Cost of a computation: operations and memory.

    Parameters
    ----------
    flop : float
        Floating-point operations of matrix products, convolutions and attention; a multiplication and an addition are
        two.
    peak : float
        Bytes of all tensors made by it that exist at one time, at most; those it begins with are not counted.
    """

    flop: float
    peak: float


@dataclass(frozen=True)
class RepeatedWork(Work):
    """Cost of a repeated computation.

    Parameters
    ----------
    flop, peak : float
        See `Work`; of any but the first time.
    first : float
        Operations of the first time, which prepares what later ones use.
    step : float
        Operations of each further step of a solver in it.
    """

    first: float
    step: float = 0.0


class Meter(TorchDispatchMode):
    """Counts what happens within it.

    Attributes
    ----------
    flop : float
        See `Work`.
    live, peak : int
        Bytes that exist now, and did at most.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flop, self.live, self.peak = 0.0, 0, 0
        self._known: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Do the operation, and count it."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if formula := FORMULAS.get(func._overloadpacket):
            product = any(isinstance(a, Tensor) and a.is_complex() for a in args)
            self.flop += formula(*args, **kwargs, out_val=out) * (COMPLEX if product else 1)
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._track(tensor.untyped_storage())
        return out

    def _track(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if (known := self._known.get(key)) is not None and known() is not None:
            return

        def gone(_: Any) -> None:
            self.live -= size
            self._known.pop(key, None)

        self._known[key] = weakref.ref(storage, gone)
        self.live += size
        self.peak = max(self.peak, self.live)


def measure_work(function: Callable[[], Any]) -> Work:
    """Cost of `function`; tensors that it uses keep their values, and it makes none.

    Raises
    ------
    RuntimeError
        If what it does depends on values that it would have to compute.
    """
    with FakeTensorMode(allow_non_fake_inputs=True), Meter() as meter:
        function()
    return Work(meter.flop, meter.peak)


def measure_repeated(function: Callable[[], Any], longer: Callable[[], Any] | None = None) -> RepeatedWork:
    """Cost of repeating it; `longer` does the same with one more step. See `measure_work`."""
    with FakeTensorMode(allow_non_fake_inputs=True), Meter() as meter:
        return count_with_meter(meter, function, longer)


def count_with_meter(
    meter: Meter, function: Callable[[], Any], longer: Callable[[], Any] | None = None
) -> RepeatedWork:
    """What a meter that is on, and has counted nothing yet, finds of it."""
    function()
    first = meter.flop
    function()
    later, step = meter.flop - first, 0.0
    if longer is not None:
        longer()
        step = meter.flop - first - 2 * later
    return RepeatedWork(later, meter.peak, first, step)


def run_with_real_values(function: Callable[[], T]) -> T:
    """Do what depends on values that exist, while something else is `measure_work`."""
    with unset_fake_temporarily():
        return function()
