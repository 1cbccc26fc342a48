"""Latents that are kept beside a store until it is complete, so that what was sampled is not sampled again."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import dask.array as da
import xarray as xr
from dask._task_spec import Task
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from xappa.streaming.files import SUFFIX, Local, Remote, packed, unpacked
from xappa.streaming.stores import Inside

if TYPE_CHECKING:
    from xappa.streaming.sampling import Sampled

SAMPLING = "xappa-sample-"
"""How the keys of sampling tasks begin."""

Files = Local | Remote | Inside


def keeping(ds: xr.Dataset, files: Files) -> xr.Dataset:
    """The same Dataset, whose sampling tasks look into `files` first, and leave there what they sampled.

    Parameters
    ----------
    ds : Dataset
    files : Local, Remote or Inside
    """
    made: dict[str, MaterializedLayer] = {}
    changed = {}
    for name, variable in ds.variables.items():
        if isinstance(variable.data, da.Array):
            data = _array(variable.data, files, made)
            changed[name] = xr.Variable(variable.dims, data, variable.attrs, variable.encoding, fastpath=True)
    coords = {name: changed.pop(name) for name in list(changed) if name in ds.coords}
    return ds.assign(changed).assign_coords(coords)


def _array(array: da.Array, files: Files, made: dict[str, MaterializedLayer]) -> da.Array:
    graph = array.dask
    layers: dict[str, Any] = dict(graph.layers)
    for name in layers:
        if str(name).startswith(SAMPLING):
            if name not in made:
                made[name] = MaterializedLayer({key: _kept(key, task, files) for key, task in layers[name].items()})
            layers[name] = made[name]
    return da.Array(HighLevelGraph(layers, graph.dependencies), array.name, array.chunks, array.dtype, array._meta)


def _kept(key: Any, task: Any, files: Files) -> Any:
    if not isinstance(task, Task) or not str(key).startswith(SAMPLING):
        return task
    return Task(key, sampled_or_kept, files, str(key), task.func, *task.args, **task.kwargs)


def sampled_or_kept(files: Files, key: str, sample: Callable[..., Sampled], *args: Any, **options: Any) -> Sampled:
    """What a sampling task gives; from its file, where there is one."""
    from xappa.streaming.sampling import _CACHE, Sampled

    def make() -> Sampled:
        arrays = _read(files, key + SUFFIX)
        if arrays is not None:
            return Sampled.restored(arrays)
        found = sample(*args, **options)
        files.write(key + SUFFIX, packed(found.stored()))
        return found

    return _CACHE.get(f"kept-{key}", make)


def _read(files: Files, name: str) -> Mapping[str, Any] | None:
    content = files.read(name)
    if content is None:
        return None
    try:
        return unpacked(content)
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
