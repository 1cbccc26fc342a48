"""The regions of a result computed and written, one after the other or on a cluster."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Generator, Hashable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import dask
import numpy as np
import xarray as xr

from xappa.errors import StoreError, translate_read_errors
from xappa.progress import is_bar_shown, show_counter
from xappa.streaming.graph.diagnostics import find_sampling_keys
from xappa.streaming.store.checkpoint import with_checkpoints
from xappa.streaming.store.damage import ANEW
from xappa.streaming.store.encoding import Encoding
from xappa.streaming.store.location import StoreLocation, renew_lease
from xappa.streaming.store.regions import Region, RegionGrid, Writer, find_written_regions, open_arrays
from xappa.streaming.store.room import estimate_region_bytes, require_remaining_space
from xappa.workers import explain_lost_cluster, find_client

LOG = logging.getLogger("xappa")

GRAPH = 16
"""Regions whose tasks are written out together."""
AT_ONCE, MOST = 512e6, 4
"""Bytes, and number, of the regions that are computed at once by the threads of this process."""


@dataclass(frozen=True)
class WriteJob:
    """A result, where it goes, in which regions and how encoded; the token of the result."""

    ds: xr.Dataset
    location: StoreLocation
    grid: RegionGrid
    encoding: Encoding
    owner: str


def stream(job: WriteJob, progress: bool | None) -> set[str]:
    """Write what is left; returns the keys of the sampling tasks that all of it needs."""
    done, _, _ = _find_done_regions(job)
    sampled = {key for _, _, block in _split_blocks(job.ds, done) for key in find_sampling_keys(block.__dask_graph__())}
    written = {_make_key(region) for region in done}
    left = [region for region in job.grid if _make_key(region) not in written]
    if left:
        _write_regions(job, left, progress, sampled)
    return sampled


def repair_store(job: WriteJob, progress: bool | None) -> bool:
    """Write again what is damaged or lost of a store that was complete; returns whether anything was."""
    _, damaged, missing = _find_done_regions(job)
    if missing:
        LOG.warning("%s: %d regions were lost, and are written again", job.location.name, len(missing))
    if damaged or missing:
        _write_regions(job, [*damaged, *missing], progress, set())
        job.location.flush()
    return bool(damaged or missing)


def _find_done_regions(job: WriteJob) -> tuple[list[Region], ...]:
    """Regions of the store: intact ones, damaged ones, which the log tells of, and those that are not there."""
    with translate_read_errors(job.location.name, "the store that was begun", StoreError, ANEW):
        arrays = open_arrays(job.location.store, list(job.ds.data_vars))
        done, damaged, missing = find_written_regions(job.location.store, arrays, job.grid)
    if damaged:
        count, total = len(damaged), len(job.grid)
        LOG.warning("%s: %d of %d regions were damaged, and are written again", job.location.name, count, total)
    return done, damaged, missing


def _write_regions(job: WriteJob, left: Sequence[Region], progress: bool | None, sampled: set[str]) -> None:
    """Compute and write regions; keys of the sampling tasks that they need are added to `sampled`."""
    source = with_checkpoints(job.ds, job.location.sidecar)
    writer = Writer(
        job.location.store,
        {name: v.dims for name, v in job.ds.data_vars.items()},
        {name: {} for name in job.ds.data_vars},
        {name: job.encoding[name] for name in job.ds.data_vars},
    )
    name = job.location.folder.name if job.location.folder is not None else job.location.name
    with (
        show_counter(len(job.grid), f"writing {name}", progress, initial=len(job.grid) - len(left)) as advance,
        closing(_compute_regions(job, _make_tasks(job, source, writer, left, sampled), progress)) as computed,
    ):
        bytes_before, bytes_done = job.location.get_free_bytes(), 0.0
        for count, size in computed:
            advance(count)
            renew_lease(job.location)
            if bytes_done == 0:
                require_remaining_space(job.location, bytes_before, size, count, len(left))
            bytes_done += size


def _compute_regions(
    job: WriteJob, tasks: Iterator[Any], progress: bool | None
) -> Generator[tuple[int, int], None, None]:
    """Compute and write regions; yields numbers of regions done, and their bytes."""
    client = find_client()
    at_once = int(np.clip(AT_ONCE // max(estimate_region_bytes(job.ds, job.grid.sizes), 1), 1, MOST))
    if client is None:
        while some := list(itertools.islice(tasks, at_once)):
            yield len(some), sum(dask.compute(*some))
        return
    from distributed import as_completed

    from xappa.streaming.store.cluster_progress import show_cluster_progress

    most = max(2, 2 * len(client.scheduler_info(n_workers=-1)["workers"]))
    with explain_lost_cluster(client), show_cluster_progress(client, is_bar_shown(progress)):
        running = as_completed(client.compute(list(itertools.islice(tasks, most))))
        for future in running:
            size = future.result()
            for task in itertools.islice(tasks, 1):
                running.add(client.compute(task))
            yield 1, size


def _make_tasks(
    job: WriteJob, source: xr.Dataset, writer: Writer, left: Sequence[Region], sampled: set[str]
) -> Iterator[Any]:
    """Tasks that write regions; keys of the sampling tasks that they need are added to `sampled`."""
    for some, bounds, block in _split_blocks(source, left):
        sampled |= find_sampling_keys(block.__dask_graph__())
        for region in some:
            inside = {dim: slice(p.start - bounds[dim].start, p.stop - bounds[dim].start) for dim, p in region.items()}
            names = job.grid.list_variables(region)
            part = block[names].isel(inside, missing_dims="ignore")
            values = {name: part[name].variable.data for name in names}
            yield dask.delayed(writer, pure=False)(job.grid.locate(region), values)


def _split_blocks(ds: xr.Dataset, regions: Sequence[Region]) -> Iterator[tuple[Sequence[Region], Region, xr.Dataset]]:
    """A few regions each, their bounds, and the fields within these with no other tasks than theirs.

    Dask goes through a graph whenever some of it is computed: through that of a few.
    """
    for first in range(0, len(regions), GRAPH):
        some = regions[first : first + GRAPH]
        dims = some[0].keys()
        bounds = {dim: slice(min(r[dim].start for r in some), max(r[dim].stop for r in some)) for dim in dims}
        (block,) = dask.optimize(ds.isel(bounds))
        yield some, bounds, block


def _make_key(region: Region) -> tuple[tuple[Hashable, int], ...]:
    return tuple((dim, part.start) for dim, part in region.items())
