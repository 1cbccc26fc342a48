"""From a plan to results: the Dask graph, devices, sampling, storage."""

from xappa.streaming.graph.diagnostics import diagnostics
from xappa.streaming.store.zarr import to_zarr

__all__ = ["diagnostics", "to_zarr"]
