"""Latents that are kept beside a store until it is complete, so that what was sampled is not sampled again."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import dask.array as da
import xarray as xr
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from xappa._compat.dask import Task
from xappa.array_files import SUFFIX, LocalFiles, RemoteFiles, pack_arrays, unpack_arrays
from xappa.sampling.latent_cache import LatentCache
from xappa.streaming.graph.lazy import SAMPLING
from xappa.streaming.graph.shared import SharedTask
from xappa.streaming.store.location import InStoreSidecar

if TYPE_CHECKING:
    from xappa.sampling.sampled import SamplingResult
    from xappa.sampling.spec import SamplingSpec

Files = LocalFiles | RemoteFiles | InStoreSidecar

_RECENT: LatentCache[SamplingResult] = LatentCache()
"""What is being decoded; the rest is in files."""


def with_checkpoints(ds: xr.Dataset, files: Files) -> xr.Dataset:
    """The same Dataset, whose sampling tasks look into `files` first, and leave there what they sampled.

    Parameters
    ----------
    ds : Dataset
    files : LocalFiles, RemoteFiles or InStoreSidecar
    """
    made: dict[str, MaterializedLayer] = {}
    most = _count_concurrent(ds)
    changed = {}
    for name, variable in ds.variables.items():
        if isinstance(variable.data, da.Array):
            data = _wrap_array(variable.data, files, made, most)
            changed[name] = xr.Variable(variable.dims, data, variable.attrs, variable.encoding, fastpath=True)
    coords = {name: changed.pop(name) for name in list(changed) if name in ds.coords}
    return ds.assign(changed).assign_coords(coords)


def clear_recent() -> None:
    """Let go of what was being decoded."""
    _RECENT.clear()


def _count_concurrent(ds: xr.Dataset) -> int:
    """Sampling tasks that are decoded at a time: each batch of members in two segments."""
    batches = {
        task.args[1]
        for variable in ds.variables.values()
        if isinstance(variable.data, da.Array)
        for layer in variable.data.dask.layers.values()
        for task in _find_sampling_tasks(layer).values()
    }
    return max(2 * len(batches), 1)


def _find_sampling_tasks(layer: Any) -> dict[Any, Task]:
    """Sampling tasks of a layer. Dask writes those that a delayed function needs into one layer with it.

    Around those of a forecast's states it puts tasks of its own, under names that begin alike.
    """
    if not layer.is_materialized():
        return {}
    return {key: task for key, task in layer.items() if isinstance(task, SharedTask) and str(key).startswith(SAMPLING)}


def _wrap_array(array: da.Array, files: Files, made: dict[str, MaterializedLayer], most: int) -> da.Array:
    graph = array.dask
    layers: dict[str, Any] = dict(graph.layers)
    for name, layer in graph.layers.items():
        if name not in made and (found := _find_sampling_tasks(layer)):
            wrapped = {key: _make_checkpointed_task(key, task, files, most) for key, task in found.items()}
            made[name] = MaterializedLayer({**layer, **wrapped})
        layers[name] = made.get(name, layer)
    return da.Array(HighLevelGraph(layers, graph.dependencies), array.name, array.chunks, array.dtype, array._meta)


def _make_checkpointed_task(key: Any, task: Task, files: Files, most: int) -> Task:
    return SharedTask(key, load_or_sample, files, most, str(key), task.func, *task.args, **task.kwargs)


def load_or_sample(
    files: Files,
    most: int,
    key: str,
    sample: Callable[..., SamplingResult],
    plan: SamplingSpec,
    members: tuple[int, ...],
    token: str,
    *args: Any,
    **options: Any,
) -> SamplingResult:
    """What a sampling task gives; from its file, where there is one. The last `most` stay in memory."""
    from xappa.sampling.sampling_tasks import SamplingResult, is_cached, spill

    def make() -> SamplingResult:
        arrays = _read(files, key + SUFFIX)
        if arrays is not None:
            return SamplingResult.from_arrays(arrays)
        before = is_cached(token, members)
        found = sample(plan, members, token, *args, **options)
        files.write(key + SUFFIX, pack_arrays(found.to_arrays()))
        if not before:
            spill(token, members)
        return found

    return _RECENT.get(f"{files}-{key}", make, most=most)


def _read(files: Files, name: str) -> Mapping[str, Any] | None:
    content = files.read(name)
    if content is None:
        return None
    try:
        return unpack_arrays(content)
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
