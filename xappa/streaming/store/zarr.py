"""Write a result to a Zarr store, region by region; what was interrupted goes on where it was."""

from __future__ import annotations

import errno
import itertools
import json
import logging
import os
import warnings
from collections.abc import Collection, Generator, Hashable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
import zarr

from xappa.checked import checked
from xappa.errors import DatasetError, OptionError, StoreError
from xappa.streaming.graph.diagnostics import learned, sampling_keys
from xappa.streaming.graph.workers import connected, current_client, require_workers
from xappa.streaming.progress import counting, shown
from xappa.streaming.store.encoding import Encoding, encodings, layout, steps_of
from xappa.streaming.store.kept import forget, keeping
from xappa.streaming.store.places import Place, place_of, read_key, renew, write_key
from xappa.streaming.store.regions import Grid, Region, Writer, open_arrays, written
from xappa.streaming.store.sources import sources

if TYPE_CHECKING:
    from zarr.abc.store import Store

LOG = logging.getLogger("xappa")

OWNER, UNFINISHED = "xappa_store", "xappa_unfinished"
"""Attributes of a store: which result it holds, and whether regions are still to come."""
BEGUN = "begun"
"""File beside a store that is not known by its attributes yet."""
BEST = 8.0
"""Compression that no fields reach."""
GRAPH = 16
"""Regions whose tasks are written out together."""
AT_ONCE, MOST = 512e6, 4
"""Bytes, and number, of the regions that are computed at once by the threads of this process."""


@checked
def to_zarr(
    result: xr.Dataset,
    store: str | os.PathLike[str] | Store,
    *,
    chunks: Mapping[str, int] | None = None,
    encoding: Mapping[str, Mapping[str, Any]] | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Any:
    """Compute a result and write it to a Zarr store (format 3), with its diagnostics as a group.

    The result is computed and written region by region: some times of a member, of all variables. What is not written
    yet reads as missing. If the process ends, for whatever reason, the same call goes on where it was: latents that
    were sampled are kept beside the store until it is complete, and the finished store has the same bits as one that
    was never interrupted.

    The diagnostics are those of the members and segments of time that were sampled for it; of fields in memory, which
    need no sampling, those of their members over all times. What is put together from several runs has none, which is
    logged.

    Parameters
    ----------
    result : Dataset
        What `assimilate` returned, or anything selected or computed from it.
    store : path, str or zarr Store
        Folder, address that fsspec understands (``"s3://bucket/analysis.zarr"``), or a store of Zarr's, such as
        ``zarr.storage.ObjectStore`` over obstore.
    chunks : mapping, optional
        Points of a chunk by dimension, -1 for all; those that are not named keep the default: fields whole, members
        one by one, and as many times as make some 4 MB. Fields of many levels have a chunk a level, in one file.
    encoding : mapping, optional
        By variable, in xarray's words, such as ``{"2m_temperature": {"dtype": "int16", "scale_factor": 0.01,
        "add_offset": 273.15}}``. Of an integer the lowest number (the highest, if unsigned) is for missing values,
        unless ``_FillValue`` says otherwise.
    overwrite : bool, default False
        Replace what is there, even where it could be continued. It is removed first, and refused where the result is
        still to be read from it.
    progress : bool, optional
        Show a bar with the time left. Default: the option ``progress``.
    storage_options : mapping, optional
        For fsspec.

    Returns
    -------
    Path, str or Store
        The store; a Path where it is a local folder.

    Raises
    ------
    DatasetError
        If `result` is no Dataset, has a dimension without points, or something that Zarr cannot store.
    StoreError
        If there is another store, which is not replaced unasked, or is what the result is read from; if another process
        writes it; if it cannot be written, or there is no room for it. What was written is continued by the next call.
    OptionError
        If `chunks` cannot be honoured, or an encoding not be used, such as an integer that does not hold the values.

    Examples
    --------
    >>> xappa.to_zarr(analysis, "analysis.zarr")  # doctest: +SKIP
    """
    _require_fields(result)
    sizes = layout(result, chunks)
    how = encodings(result, sizes, encoding)
    _require_memory(result, sizes)
    require_workers()
    bare = result.drop_encoding()
    bare.attrs = {key: value for key, value in bare.attrs.items() if key not in (OWNER, UNFINISHED)}
    owner = dask.base.tokenize(bare, sorted(map(str, sizes.items())), repr(encoding))
    place = place_of(store, dict(storage_options or {}))
    _require_storable(bare, how, encoding)
    with place.held():
        try:
            _write(_Job(bare, place, Grid(bare, sizes), how, owner), overwrite, progress)
        finally:
            forget()
    return Path(place.folder) if place.folder is not None else store


@dataclass(frozen=True)
class _Job:
    ds: xr.Dataset
    place: Place
    grid: Grid
    encoding: Encoding
    owner: str


def _write(job: _Job, overwrite: bool, progress: bool | None) -> None:
    state = _state(job)
    if state == "other" and not overwrite:
        raise StoreError(
            f"{job.place.name} exists; pass overwrite=True to replace it, or choose another name.{_difference(job)}"
        )
    if overwrite and state != "none":
        _require_apart(job)
        job.place.remove()
        state = "none"
    if state == "complete":
        return
    job.place.tidy()
    with _explained(job):
        if state in ("none", "begun"):
            _require_room(job)
            _begin(job)
        _finish(job, _stream(job, progress))


def _state(job: _Job) -> str:
    """``none``, ``begun`` (without all coordinates), ``unfinished``, ``complete``, or ``other``."""
    try:
        content = read_key(job.place.store, "zarr.json")
    except OSError as error:
        raise StoreError(f"{job.place.name} cannot be read ({error}); choose another place.") from error
    attrs = {} if content is None else json.loads(content).get("attributes", {})
    if OWNER not in attrs and job.place.beside.read(BEGUN) == job.owner.encode():
        return "begun"
    folder = job.place.folder
    if content is None:
        return "other" if folder is not None and folder.exists() and any(folder.iterdir()) else "none"
    if attrs.get(OWNER) != job.owner:
        return "other"
    return {None: "complete", "begun": "begun"}.get(attrs.get(UNFINISHED), "unfinished")


def _difference(job: _Job) -> str:
    """In which attributes another run's store differs."""
    content = read_key(job.place.store, "zarr.json")
    there = {} if content is None else json.loads(content).get("attributes", {})
    if OWNER not in there:
        return ""
    names = [k for k, v in job.ds.attrs.items() if k.startswith("xappa_") and there.get(k) != v and len(str(v)) < 60]
    names = [k for k in names if k != "xappa_run"]
    listed = "; ".join(f"{k.removeprefix('xappa_')}: {there.get(k)} there, {job.ds.attrs[k]} here" for k in names)
    mend = " An interrupted run is continued with the same seed." if "xappa_seed" in names else ""
    return f" It belongs to another run ({listed or 'of other observations, times, variables or chunks'}).{mend}"


def _require_apart(job: _Job) -> None:
    """A store that is removed cannot be read; what is missing in it would be written as missing."""
    if any(job.place.holds(source) for source in sources(job.ds)):
        raise StoreError(
            f"{job.place.name} cannot be replaced: what is to be written is still to be read from it. Choose another "
            "name, or load it into memory first, with .load()."
        )


def _begin(job: _Job) -> None:
    """Coordinates, and variables without a chunk."""
    job.place.beside.write(BEGUN, job.owner.encode())
    _write_empty(job.ds.assign_attrs({OWNER: job.owner, UNFINISHED: "begun"}), job.place.store, job.encoding)
    _set_attrs(job.place, {UNFINISHED: "regions are still to come"})


def _write_empty(ds: xr.Dataset, store: Store, encoding: Encoding) -> None:
    empty = {
        name: (v.dims, da.zeros(v.shape, chunks=-1, dtype=v.dtype, name=f"xappa-empty-{name}"), v.attrs)
        for name, v in ds.data_vars.items()
    }
    template = xr.Dataset(empty, {name: v.variable.load() for name, v in ds.coords.items()}, ds.attrs)
    template.to_zarr(
        store, mode="w", compute=False, zarr_format=3, consolidated=False, encoding=encoding, safe_chunks=False
    )


def _stream(job: _Job, progress: bool | None) -> set[str]:
    """Write what is left; returns the keys of the sampling tasks that all of it needs."""
    arrays = open_arrays(job.place.store, list(job.ds.data_vars))
    done = written(job.place.store, arrays, job.grid)
    sampled = {key for _, _, block in _blocks(job.ds, done) for key in sampling_keys(block.__dask_graph__())}
    there = {_key(region) for region in done}
    left = [region for region in job.grid if _key(region) not in there]
    if not left:
        return sampled
    source = keeping(job.ds, job.place.beside)
    writer = Writer(
        job.place.store,
        {name: v.dims for name, v in job.ds.data_vars.items()},
        {name: {} for name in job.ds.data_vars},
        {name: job.encoding[name] for name in job.ds.data_vars},
    )
    name = job.place.folder.name if job.place.folder is not None else job.place.name
    with (
        counting(len(job.grid), f"writing {name}", progress, initial=len(job.grid) - len(left)) as advance,
        closing(_computed(job, _tasks(job, source, writer, left, sampled), progress)) as computed,
    ):
        bytes_before, bytes_done = job.place.free(), 0.0
        for count, size in computed:
            advance(count)
            renew(job.place)
            if bytes_done == 0:
                _require_rest(job, bytes_before, size, count, len(left))
            bytes_done += size
    return sampled


def _computed(job: _Job, tasks: Iterator[Any], progress: bool | None) -> Generator[tuple[int, int], None, None]:
    """Compute and write regions; yields numbers of regions done, and their bytes."""
    client = current_client()
    at_once = int(np.clip(AT_ONCE // max(_region_bytes(job.ds, job.grid.sizes), 1), 1, MOST))
    if client is None:
        while some := list(itertools.islice(tasks, at_once)):
            yield len(some), sum(dask.compute(*some))
        return
    from distributed import as_completed

    from xappa.streaming.store.in_hand import in_hand

    most = max(2, 2 * len(client.scheduler_info(n_workers=-1)["workers"]))
    with connected(client), in_hand(client, shown(progress)) as hand:
        first = client.compute(list(itertools.islice(tasks, most)))
        hand.add(*first)
        running = as_completed(first)
        del first  # what is done is let go
        for future in running:
            size = future.result()
            hand.remove(future)
            for task in itertools.islice(tasks, 1):
                more = client.compute(task)
                hand.add(more)
                running.add(more)
            yield 1, size


def _tasks(job: _Job, source: xr.Dataset, writer: Writer, left: Sequence[Region], sampled: set[str]) -> Iterator[Any]:
    """Tasks that write regions; keys of the sampling tasks that they need are added to `sampled`."""
    for some, bounds, block in _blocks(source, left):
        sampled |= sampling_keys(block.__dask_graph__())
        for region in some:
            inside = {dim: slice(p.start - bounds[dim].start, p.stop - bounds[dim].start) for dim, p in region.items()}
            names = job.grid.names(region)
            part = block[names].isel(inside, missing_dims="ignore")
            values = {name: part[name].variable.data for name in names}
            yield dask.delayed(writer, pure=False)(dict(region), values)


def _blocks(ds: xr.Dataset, regions: Sequence[Region]) -> Iterator[tuple[Sequence[Region], Region, xr.Dataset]]:
    """A few regions each, their bounds, and the fields within these with no other tasks than theirs.

    Dask goes through a graph whenever some of it is computed: through that of a few.
    """
    for first in range(0, len(regions), GRAPH):
        some = regions[first : first + GRAPH]
        dims = some[0].keys()
        bounds = {dim: slice(min(r[dim].start for r in some), max(r[dim].stop for r in some)) for dim in dims}
        (block,) = dask.optimize(ds.isel(bounds))
        yield some, bounds, block


def _finish(job: _Job, sampled: Collection[str]) -> None:
    store = job.place.store
    if "xappa_run" in job.ds.attrs:
        try:
            found = learned(job.ds, sampled)
        except DatasetError as error:  # of another session, or of several runs
            LOG.warning("%s holds no diagnostics: %s", job.place.name, error)
        else:
            found = keeping(found, job.place.beside).compute()
            found.to_zarr(store, group="diagnostics", mode="w", zarr_format=3, consolidated=False)
    with warnings.catch_warnings():
        # Readers that do not know consolidated metadata pass over them.
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        zarr.consolidate_metadata(store, zarr_format=3)
    _set_attrs(job.place, {UNFINISHED: None})
    job.place.remove_beside()


def _set_attrs(place: Place, attrs: Mapping[str, str | None]) -> None:
    """Set or remove attributes of the root, at once."""
    content = json.loads(read_key(place.store, "zarr.json") or b"{}")
    merged = {**content.get("attributes", {}), **attrs}
    content["attributes"] = {key: value for key, value in merged.items() if value is not None}
    write_key(place.store, "zarr.json", json.dumps(content, indent=2).encode())


def _key(region: Region) -> tuple[tuple[Hashable, int], ...]:
    return tuple((dim, part.start) for dim, part in region.items())


def _require_fields(result: xr.Dataset) -> None:
    if isinstance(result, xr.DataArray):
        raise DatasetError(
            f"Found a DataArray; expected a Dataset, which has the attributes of the run as well: "
            f"analysis[[{result.name or '2m_temperature'!r}]]"
        )
    if not isinstance(result, xr.Dataset):
        raise DatasetError(f"Found {type(result).__name__}; expected a Dataset, such as ds.appa.assimilate returns")
    if empty := [str(name) for name, size in result.sizes.items() if size == 0]:
        raise DatasetError(
            f"There is nothing to write: {', '.join(map(repr, empty))} has no points; expected one or more of each "
            "dimension. Look at what was selected."
        )


def _require_storable(ds: xr.Dataset, how: Encoding, own: Mapping[str, Mapping[str, Any]] | None) -> None:
    """What cannot be stored is found in memory, before anything is begun, or replaced."""
    try:
        _write_empty(ds, zarr.storage.MemoryStore(), how)
    except (TypeError, ValueError, OverflowError, NotImplementedError) as error:
        if not own:
            raise DatasetError(f"This Dataset cannot be stored: {error}. Leave that out, or change it.") from error
        raise OptionError(f"encoding={own!r} cannot be used: {error}") from error


def _region_bytes(ds: xr.Dataset, sizes: Mapping[Hashable, int]) -> float:
    steps = steps_of(ds)
    return float(
        sum(
            v.dtype.itemsize * np.prod([min(sizes[d], n) if d in steps else n for d, n in v.sizes.items()])
            for v in ds.data_vars.values()
        )
    )


def _require_memory(ds: xr.Dataset, sizes: Mapping[Hashable, int]) -> None:
    needed, there = _region_bytes(ds, sizes), _memory()
    if there is not None and needed > there / 2:
        asked = {str(name): sizes[name] for name in steps_of(ds)}
        raise OptionError(
            f"chunks={asked} cannot be honoured: what is written together takes {needed / 1e9:.3g} GB, and this "
            f"machine has {there / 1e9:.3g} GB; expected at most half of it: use fewer times or members a chunk"
        )


def _memory() -> float | None:
    """Bytes of main memory, where the operating system tells."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return None


def _require_room(job: _Job) -> None:
    free = job.place.free()
    if free is None:
        return
    if job.ds.nbytes / BEST > free:
        raise StoreError(
            f"{job.place.name}: {job.ds.nbytes / 1e9:.3g} GB are to be written, and {free / 1e9:.3g} GB are free; "
            "even compressed they have no room. Choose another place, or fewer variables, times or members."
        )


def _require_rest(job: _Job, before: float | None, size: int, count: int, left: int) -> None:
    """What remains, by what the first regions took on the disk."""
    now = job.place.free()
    if before is None or now is None or count >= left:
        return
    # Other programs write as well; what these regions took is at most what they hold.
    taken = min(max(before - now, 0.0), 1.2 * size) / count
    if taken * (left - count) > now:
        raise StoreError(
            f"{job.place.name}: {left - count} of {left} regions are still to be written, about "
            f"{taken * (left - count) / 1e9:.3g} GB, and {now / 1e9:.3g} GB are free. Make room and call again: it "
            "goes on where it was."
        )


class _explained:  # noqa: N801  (used like a function)
    """Errors of the file system say what became of the store."""

    def __init__(self, job: _Job) -> None:
        self.job = job

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError) or isinstance(error, StoreError):
            return
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "there is no room left on the disk: make room" if full else "mend that, or choose another place"
        raise StoreError(
            f"{self.job.place.name} cannot be written ({error}); {reason}, and call again: it goes on where it was, "
            f"with the latents that were sampled."
        ) from error
