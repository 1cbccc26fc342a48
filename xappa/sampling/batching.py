"""Split a batch of members in halves until it fits in the memory of the device."""

from __future__ import annotations

import gc
import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from xappa.devices import OUT_OF_MEMORY, empty_cache, extract_first_line, get_free_memory, is_out_of_memory
from xappa.errors import DeviceMemoryError
from xappa.model.protocol import GenerativeModel
from xappa.sampling.spec import SamplingSpec

LOG = logging.getLogger("xappa")

T = TypeVar("T")

Key = tuple[str, str, int]
"""What a size depends on: a model's digest, a device, the times of a trajectory."""

_SIZES: dict[Key, int] = {}
_GUARD = threading.Lock()


def forget_batch_sizes() -> None:
    """Try whole batches again."""
    with _GUARD:
        _SIZES.clear()


@dataclass(frozen=True)
class MemoryNeeds:
    """What sampling one member needs, in words.

    Parameters
    ----------
    model : GenerativeModel
    plan : SamplingSpec
    """

    model: GenerativeModel
    plan: SamplingSpec

    @property
    def device(self) -> torch.device:
        """Where it is sampled."""
        return self.model.device

    @property
    def cheaper_guidance(self) -> str:
        """Name of a guidance that does not differentiate the denoiser, and that this model has what it needs for."""
        return "jacobian-free" if self.model.static_prior else "w2c"

    def __str__(self) -> str:
        model, times = self.model, len(self.plan.times)
        size, shape = math.prod(model.latent_shape), " x ".join(map(str, model.latent_shape))
        reports = 0 if self.plan.stencil is None else len(self.plan.stencil)
        free = get_free_memory(model.device)
        room = "" if free is None else f"; {free[0] / 1e9:.2f} of {free[1] / 1e9:.2f} GB are free"
        return (
            f"{model.nbytes / 1e9:.3g} GB of weights, {times} times of latents {shape} "
            f"({4e-9 * times * size:.3g} GB a copy), {reports} reports{room}"
        )


def split_on_oom(
    run: Callable[[slice], T], count: int, key: Key, needs: MemoryNeeds, most: int | None = None
) -> list[T]:
    """Run over `count` members, together if they fit; else half of them at a time, and so on.

    The size that fits is remembered for the next batch of the same kind.

    Parameters
    ----------
    run : callable
        ``run(rows)``, a slice of the members.
    count : int
    most : int, optional
        Members that are tried together, where a budget says so.
    key : tuple
        What the size depends on.
    needs : MemoryNeeds
        For the error.

    Returns
    -------
    list
        Results, in order.

    Raises
    ------
    DeviceMemoryError
        If not even one member fits.
    """
    done, found = 0, []
    while done < count:
        size = min(_SIZES.get(key, count), most or count, count - done)
        result, full = _try(run, slice(done, done + size))
        if full is None:
            found += result
            done += size
            continue
        gc.collect()
        empty_cache(needs.device)
        if size == 1:
            raise DeviceMemoryError(
                f"Not even one member fits on {needs.device}: {full}. It needs {needs}. Use shorter segments "
                "(segments=xappa.segments.Independent(windows=6)), another device, or guidance="
                f"{needs.cheaper_guidance!r}, which keeps no graph of the denoiser; "
                "ds.appa.plan(...) says what a run needs"
            )
        _remember(key, size // 2, full, needs.device)
    return found


def _try(run: Callable[[slice], T], rows: slice) -> tuple[list[T], str | None]:
    """The result, or why memory was short; memory in use is freed with the error."""
    try:
        return [run(rows)], None
    except OUT_OF_MEMORY as error:
        if not is_out_of_memory(error):
            raise
        return [], extract_first_line(error)


def _remember(key: Key, size: int, reason: str, device: torch.device) -> None:
    with _GUARD:
        first = not any(known[:2] == key[:2] for known in _SIZES)
        _SIZES[key] = size
    if first:
        LOG.warning(
            "Out of memory on %s (%s): members are sampled %d at a time from now on, or fewer; results may differ in "
            "the last bits.", device, reason, size,
        )  # fmt: skip
