"""Sizes that files claim in their headers: refused before memory is taken for what they cannot hold."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xappa.errors import XappaError
from xappa.options import get_options

MOST_COMPRESSED = 1000
"""Times its bytes on the disk that an array may claim in memory; DEFLATE reaches 1032 for zeros."""

_UNKNOWN_MEMORY = 16e9
_METADATA = (".zarray", "zarr.json")
_UNKNOWN_ITEM = 8


def get_machine_memory() -> float | None:
    """Bytes of main memory, where the operating system tells."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return None


def get_reader_memory() -> float:
    """Bytes that reading a file may take: the option ``reader_memory``, or half of the machine's memory."""
    told = get_options().reader_memory
    return (get_machine_memory() or _UNKNOWN_MEMORY) / 2 if told is None else float(told)


def require_size(claimed: float, what: str, error: type[XappaError], stored: Callable[[], float] | None = None) -> None:
    """Refuse an array that would take more memory than its reader may.

    Parameters
    ----------
    claimed : float
        Bytes in memory, by the header.
    what : str
        The file and the array, for the error.
    error : type
        Kind of error to raise.
    stored : callable, optional
        Gives the bytes on the disk. With it only what those cannot hold is refused (`MOST_COMPRESSED`): for arrays
        that are read in parts. Without it, for arrays that are read as a whole.

    Raises
    ------
    XappaError
        Of the kind `error`.
    """
    limit = get_reader_memory()
    if claimed <= limit:
        return
    on_disk = None if stored is None else stored()
    if on_disk is not None and claimed <= MOST_COMPRESSED * on_disk:
        return
    held = "" if on_disk is None else f", of which {on_disk:.4g} bytes are stored"
    expected = "" if on_disk is None else f", or at most {MOST_COMPRESSED} times what is stored"
    raise error(
        f"{what} claims {claimed:.4g} bytes in memory{held}. Expected at most {limit:.4g} bytes{expected}. Fetch or "
        "write it again; if it is right, raise the limit: xappa.set_options(reader_memory=...)"
    )


def require_zarr_sizes(store: Path, error: type[XappaError], whole: bool = False) -> None:
    """Refuse a Zarr folder with an array, or a chunk, whose metadata claim more than its files can hold.

    Parameters
    ----------
    store : Path
        Folder of format 2 or 3.
    error : type
        Kind of error to raise.
    whole : bool, default False
        Whether arrays are read as a whole.

    Raises
    ------
    XappaError
        Of the kind `error`.
    """

    def stored() -> float:
        return float(sum(file.stat().st_size for file in store.rglob("*") if file.is_file()))

    for name in _METADATA:
        for file in sorted(store.rglob(name)):
            claimed = _compute_claimed_bytes(_read_json(file))
            require_size(claimed, f"{file.parent}: the array in its header", error, None if whole else stored)


def _read_json(file: Path) -> Any:
    """Metadata; what is no JSON claims nothing, and is refused by whoever reads the array."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError):
        return None


def _compute_claimed_bytes(metadata: Any) -> float:
    """Bytes of an array, or of one of its chunks, whichever is larger."""
    if not isinstance(metadata, Mapping) or "shape" not in metadata:
        return 0.0
    size = max((_multiply_shape(shape) for shape in _list_shapes(metadata)), default=0.0)
    return size * _get_item_size(metadata.get("dtype", metadata.get("data_type")))


def _list_shapes(metadata: Mapping[str, Any]) -> Iterator[Any]:
    yield metadata["shape"]
    yield metadata.get("chunks", ())
    grid = metadata.get("chunk_grid")
    configuration = grid.get("configuration") if isinstance(grid, Mapping) else None
    if isinstance(configuration, Mapping):
        yield configuration.get("chunk_shape", ())


def _multiply_shape(shape: Any) -> float:
    lengths = shape if isinstance(shape, list | tuple) else ()
    return math.prod(float(n) for n in lengths if isinstance(n, int | float))


def _get_item_size(dtype: Any) -> float:
    """Bytes of one element in memory; those of a pointer where its kind has no fixed size."""
    if isinstance(dtype, Mapping):
        configuration = dtype.get("configuration")
        length = configuration.get("length_bytes") if isinstance(configuration, Mapping) else None
        return float(length) if isinstance(length, int | float) else _UNKNOWN_ITEM
    try:
        return float(np.dtype(dtype).itemsize) if isinstance(dtype, str) else _UNKNOWN_ITEM
    except TypeError:
        return _UNKNOWN_ITEM
