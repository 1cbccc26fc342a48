"""Entries of arrays along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import dask.array
import numpy as np

from xappa._typing import Array

Fields = np.ndarray | dask.array.Array
F = TypeVar("F", np.ndarray, dask.array.Array, Fields)


def take_entries(fields: F, index: Array | Sequence[int], axis: int) -> F:
    """Entries `index` along an axis, as a view where they are equally spaced."""
    index = np.asarray(index, int)
    step = int(index[1] - index[0]) if len(index) > 1 else 1
    if len(index) and step and np.array_equal(index, index[0] + step * np.arange(len(index))):
        stop = int(index[-1]) + (1 if step > 0 else -1)
        entries: slice | Array = slice(int(index[0]), stop if stop >= 0 else None, step)
    else:
        entries = index
    return fields[(slice(None),) * axis + (entries,)]
