"""Whether there is memory, and room on the disk, for what is to be written."""

from __future__ import annotations

import errno
from collections.abc import Hashable, Mapping

import numpy as np
import xarray as xr

from xappa.errors import OptionError, StoreError
from xappa.sizes import get_machine_memory as memory
from xappa.streaming.store.encoding import list_step_dimensions
from xappa.streaming.store.location import StoreLocation

BEST = 8.0
"""Compression that no fields reach."""


def estimate_region_bytes(ds: xr.Dataset, sizes: Mapping[Hashable, int]) -> float:
    """Bytes of what is computed and written together."""
    steps = list_step_dimensions(ds)
    return float(
        sum(
            v.dtype.itemsize * np.prod([min(sizes[d], n) if d in steps else n for d, n in v.sizes.items()])
            for v in ds.data_vars.values()
        )
    )


def require_memory(ds: xr.Dataset, sizes: Mapping[Hashable, int]) -> None:
    """Refuse regions of which not even two fit into memory.

    Raises
    ------
    OptionError
    """
    needed, available = estimate_region_bytes(ds, sizes), memory()
    if available is not None and needed > available / 2:
        asked = {str(name): sizes[name] for name in list_step_dimensions(ds)}
        raise OptionError(
            f"chunks={asked} cannot be honoured: what is written together takes {needed / 1e9:.3g} GB, and this "
            f"machine has {available / 1e9:.3g} GB; expected at most half of it: use fewer times or members a chunk"
        )


def require_space(location: StoreLocation, ds: xr.Dataset) -> None:
    """Refuse what has no room, even compressed.

    Raises
    ------
    StoreError
    """
    free = location.get_free_bytes()
    if free is None:
        return
    if ds.nbytes / BEST > free:
        raise StoreError(
            f"{location.name}: {ds.nbytes / 1e9:.3g} GB are to be written, and {free / 1e9:.3g} GB are free; "
            "even compressed they have no room. Choose another place, or fewer variables, times or members."
        )


def require_remaining_space(location: StoreLocation, before: float | None, size: int, count: int, left: int) -> None:
    """Refuse what remains, if by what the first regions took on the disk it has no room.

    Raises
    ------
    StoreError
    """
    now = location.get_free_bytes()
    if before is None or now is None or count >= left:
        return
    # Other programs write as well; what these regions took is at most what they hold.
    taken = min(max(before - now, 0.0), 1.2 * size) / count
    if taken * (left - count) > now:
        raise StoreError(
            f"{location.name}: {left - count} of {left} regions are still to be written, about "
            f"{taken * (left - count) / 1e9:.3g} GB, and {now / 1e9:.3g} GB are free. Make room and call again: it "
            "continues."
        )


class FileErrorTranslator:  # noqa: N801  (used like a function)
    """Errors of the file system say what became of the store."""

    def __init__(self, location: StoreLocation) -> None:
        self.location = location

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError) or isinstance(error, StoreError):
            return
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "there is no room left on the disk: make room" if full else "correct that, or choose another place"
        raise StoreError(
            f"{self.location.name} cannot be written ({error}); {reason}, and call again: it continues, "
            f"with the latents that were sampled."
        ) from error
