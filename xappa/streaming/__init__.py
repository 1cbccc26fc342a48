"""From a plan to results: the Dask graph, devices, sampling, storage."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xappa.streaming.graph.diagnostics import diagnostics
    from xappa.streaming.store.zarr import to_zarr

__all__ = ["diagnostics", "to_zarr"]

_HOMES = {"diagnostics": "xappa.streaming.graph.diagnostics", "to_zarr": "xappa.streaming.store.zarr"}


def __getattr__(name: str) -> Any:
    # At the first use: `sampling`, which these two need, needs other modules of this package.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
