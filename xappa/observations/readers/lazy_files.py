"""Datasets of files, lazily; later errors, in a worker too, name the file and the variable."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from dask.base import tokenize
from xarray.backends import BackendArray
from xarray.core.indexing import IndexingSupport, LazilyIndexedArray, explicit_indexing_adapter

from xappa.errors import ObservationError, translate_read_errors

REMEDY = (
    "Expected a whole file: fetch or write it again. If only attributes are wrong, open it with "
    "xarray.open_dataset(path, decode_cf=False), correct them, and give the Dataset"
)


def open_lazily(path: Path, kind: str, store: Any = None, **options: Any) -> xr.Dataset:
    """A group of a file in the chunks that the file has, as ``xarray.open_dataset(path, chunks={})`` opens it.

    Parameters
    ----------
    path : Path
        NetCDF file or Zarr store.
    kind : str
        Which of them, for messages.
    store : data store, optional
        Of xarray's, to open in place of the path, with a Dask token of its own.
    **options
        Of `xarray.open_dataset`.

    Returns
    -------
    Dataset
        Values that cannot be read raise an `ObservationError` when they are computed.

    Raises
    ------
    ObservationError
        If the file cannot be opened.
    """
    with translate_read_errors(f"{path}:", kind, ObservationError, REMEDY, passes=ImportError):
        ds = xr.open_dataset(path if store is None else store, chunks=None, cache=False, **options)
        source = (str(path), path.stat().st_mtime_ns) if store is None else store
        token = tokenize(source, sorted(options.items(), key=str))
        lazy = {name: _open_variable(path, kind, name, ds.variables[name], token) for name in ds.variables}
        return ds.assign({name: variable for name, variable in lazy.items() if variable is not None})


def _open_variable(path: Path, kind: str, name: Hashable, variable: xr.Variable, token: str) -> xr.Variable | None:
    """A variable as a Dask array; None for those in memory (indexes)."""
    if variable._in_memory:
        return None
    guarded = LazilyIndexedArray(_LazyFileArray(path, kind, str(name), variable))
    preferred = variable.encoding.get("preferred_chunks", {})
    chunks = {dim: preferred.get(dim, size) for dim, size in variable.sizes.items()}
    whole = xr.Variable(variable.dims, guarded, variable.attrs, variable.encoding)
    return whole.chunk(chunks, name=f"open-{name}-{token}")


class _LazyFileArray(BackendArray):
    """Values of a variable of a file."""

    def __init__(self, path: Path, kind: str, name: str, variable: xr.Variable):
        self.path, self.kind, self.name, self.variable = path, kind, name, variable
        self.shape, self.dtype = variable.shape, variable.dtype

    def __getitem__(self, key: Any) -> Any:
        return explicit_indexing_adapter(key, self.shape, IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        with translate_read_errors(f"{self.path}, variable {self.name!r}:", self.kind, ObservationError, REMEDY):
            values = self.variable[key].to_numpy()
            if values.dtype.kind != self.dtype.kind and not {values.dtype.kind, self.dtype.kind} <= set("OUST"):
                # Times are decoded by the first and the last of them: others may lie beyond what numpy has.
                raise ValueError(f"some values are {values.dtype}, others {self.dtype}")
            return values
