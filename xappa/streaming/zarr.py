"""Write a result to a Zarr store, complete or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import xarray as xr

from xappa.errors import DatasetError
from xappa.streaming.diagnostics import diagnostics


def to_zarr(result: xr.Dataset, store: str | Path, *, overwrite: bool = False) -> Path:
    """Compute a result and write it, with its diagnostics as a group.

    The store is written beside its name and renamed when it is complete: what has the name is whole.

    Parameters
    ----------
    result : Dataset
        What `assimilate` returned, or anything selected from it.
    store : str or Path
        Folder to be made.
    overwrite : bool
        Whether an existing store is replaced (default False).

    Returns
    -------
    Path
        The store.

    Raises
    ------
    DatasetError
        If the store exists and `overwrite` is False.
    """
    path = Path(store)
    if path.exists() and not overwrite:
        raise DatasetError(f"{path} exists; pass overwrite=True to replace it, or choose another name.")
    part = path.with_name(path.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    fields = result.chunk({d: -1 for d in ("level", "latitude", "longitude") if d in result.dims})
    fields.to_zarr(part, mode="w", zarr_format=3, consolidated=False)
    if "xappa_run" in result.attrs:
        diagnostics(result).compute().to_zarr(part, group="diagnostics", mode="w", zarr_format=3, consolidated=False)
    if path.exists():
        shutil.rmtree(path)
    part.rename(path)
    return path
