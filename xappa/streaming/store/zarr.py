"""Write a result to a Zarr store, region by region; an interrupted write is continued."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Hashable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import xarray as xr
import zarr

from xappa.alignment import with_xarray_defaults
from xappa.argument_types import check_arguments
from xappa.errors import DatasetError, OptionError, StoreError
from xappa.streaming.graph.diagnostics import collect_diagnostics
from xappa.streaming.store.append import (
    APPENDED,
    JOURNAL,
    GrownStore,
    begin_append,
    describe_append,
    plan_growth,
    publish_lengths,
    write_coordinates,
)
from xappa.streaming.store.checkpoint import clear_recent, with_checkpoints
from xappa.streaming.store.damage import (
    ANEW,
    consolidate,
    read_root_metadata,
    repair_consolidated_metadata,
    repair_coordinates,
    require_metadata,
    require_readable,
)
from xappa.streaming.store.encoding import Encoding, choose_chunks, choose_region_sizes, make_encodings
from xappa.streaming.store.location import StoreLocation, locate_store, write_key
from xappa.streaming.store.regions import RegionGrid
from xappa.streaming.store.room import FileErrorTranslator, require_memory, require_space
from xappa.streaming.store.sources import find_sources
from xappa.streaming.store.writing import WriteJob, repair_store, stream
from xappa.workers import require_workers

if TYPE_CHECKING:
    from zarr.abc.store import Store

LOG = logging.getLogger("xappa")

OWNER, UNFINISHED = "xappa_store", "xappa_unfinished"
"""Attributes of a store: which result it holds, and whether regions are still to come."""
BEGUN = "begun"
"""File beside a store that is not known by its attributes yet."""


@check_arguments
@with_xarray_defaults
def to_zarr(
    result: xr.Dataset,
    store: str | os.PathLike[str] | Store,
    *,
    chunks: Mapping[str, int] | None = None,
    encoding: Mapping[str, Mapping[str, Any]] | None = None,
    overwrite: bool = False,
    append_dim: str | None = None,
    progress: bool | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Any:
    """Compute a result and write it to a Zarr store (format 3), with its diagnostics as a group.

    The result is computed and written region by region: some times of a member, of all variables. What is not written
    yet reads as missing. If the process ends, for whatever reason, the same call continues: latents that
    were sampled are kept beside the store until it is complete, and the finished store has the same bits as one that
    was never interrupted.

    The diagnostics are those of the members and segments of time that were sampled for it; of fields in memory, which
    need no sampling, those of their members over all times. What is put together from several runs has none, which is
    logged.

    Parameters
    ----------
    result : Dataset
        Result of `assimilate`, or anything selected or computed from it.
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
    append_dim : str, optional
        Dimension, such as ``"time"``, along which a store that is there is continued, with its chunks and encodings.
        The result has the same variables, coordinates and units, comes from the same model, and begins after the store
        ends. What is appended becomes visible at the end, all at once; interrupted, the same call
        continues. Where there is no store, one is written. Diagnostics go to a group ``diagnostics_1``, and so on.
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
        If `result` is no Dataset, has a dimension without points, or something that Zarr cannot store; or does not
        continue what is there.
    StoreError
        If there is another store, which is not replaced unasked, or is what the result is read from; if another process
        writes it; if it cannot be written, or there is no room for it. What was written is continued by the next call.
    OptionError
        If `chunks` cannot be honoured, or an encoding not be used, such as an integer that does not hold the values.

    Examples
    --------
    >>> xappa.to_zarr(analysis, "analysis.zarr")  # doctest: +SKIP
    >>> xappa.to_zarr(next_week, "analysis.zarr", append_dim="time")  # doctest: +SKIP
    """
    _require_fields(result)
    if append_dim is not None and overwrite:
        raise OptionError("Found both append_dim= and overwrite=True; expected one: a store is continued or replaced")
    sizes = choose_chunks(result, chunks)
    how = make_encodings(result, sizes, encoding)
    together = choose_region_sizes(result, sizes, chunks)
    require_memory(result, together)
    require_workers()
    bare = result.drop_encoding()
    bare.attrs = {key: value for key, value in bare.attrs.items() if key not in (OWNER, UNFINISHED)}
    owner = dask.base.tokenize(bare, sorted(map(str, sizes.items())), repr(encoding))
    location = locate_store(store, dict(storage_options or {}))
    _require_storable(bare, how, encoding)
    with location.lock():
        try:
            job = WriteJob(bare, location, RegionGrid(bare, together), how, owner)
            if append_dim is not None and _classify_store(job) == "other":
                _append(job, append_dim, chunks or encoding, progress)
            else:
                _write(job, overwrite, progress)
        finally:
            clear_recent()
    return Path(location.folder) if location.folder is not None else store


def _write(job: WriteJob, overwrite: bool, progress: bool | None) -> None:
    try:
        state = _classify_store(job)
    except StoreError:
        if not overwrite:
            raise
        state = "other"
    if state == "other" and not overwrite:
        raise StoreError(
            f"{job.location.name} exists; pass overwrite=True (--overwrite on the command line) to replace it, or "
            "choose "
            f"another name.{_describe_difference(job)}"
        )
    if overwrite and state != "none":
        _require_apart(job)
        job.location.remove()
        state = "none"
    if state in ("unfinished", "complete"):
        require_metadata(job.location, {name: v.dims for name, v in job.ds.variables.items()}, _list_decoding_keys(job))
        if state == "complete":
            repair_consolidated_metadata(job.location)
        repair_coordinates(job.ds, job.location.store, job.location.name)
        attrs = (read_root_metadata(job.location) or {}).get("attributes", {})
        require_readable(job.location, job.ds, grown=APPENDED in attrs)
    if state == "complete":
        with FileErrorTranslator(job.location):
            # What another call keeps beside the store, to go on with an append, is not for this one to remove.
            if repair_store(job, progress) and job.location.sidecar.read(JOURNAL) is None:
                job.location.remove_sidecar()
        return
    job.location.remove_partial_files()
    with FileErrorTranslator(job.location):
        if state in ("none", "begun"):
            require_space(job.location, job.ds)
            _begin(job)
        _finish(job, stream(job, progress))


def _list_decoding_keys(job: WriteJob) -> dict[Hashable, set[str]]:
    """Attributes without which values of the store are others: how they are packed, and what times count."""
    packed = {name: {"scale_factor", "add_offset"} & {*job.encoding.get(name, {})} for name in job.ds.data_vars}
    return packed | {name: {"units"} for name, v in job.ds.variables.items() if v.dtype.kind in "mM"}


def _classify_store(job: WriteJob) -> str:
    """``none``, ``begun`` (without all coordinates), ``unfinished``, ``complete``, or ``other``."""
    content = read_root_metadata(job.location)
    attrs = {} if content is None else content.get("attributes", {})
    if not isinstance(attrs, dict):
        raise StoreError(f"{job.location.name}: its attributes are no mapping any more. {ANEW}")
    if OWNER not in attrs and job.location.sidecar.read(BEGUN) == job.owner.encode():
        return "begun"
    folder = job.location.folder
    if content is None:
        return "other" if folder is not None and folder.exists() and any(folder.iterdir()) else "none"
    if attrs.get(OWNER) != job.owner:
        return "other"
    return {None: "complete", "begun": "begun"}.get(attrs.get(UNFINISHED), "unfinished")


def _describe_difference(job: WriteJob) -> str:
    """In which attributes another run's store differs."""
    stored = (read_root_metadata(job.location) or {}).get("attributes", {})
    if not isinstance(stored, dict) or OWNER not in stored:
        return ""
    names = [k for k, v in job.ds.attrs.items() if k.startswith("xappa_") and stored.get(k) != v and len(str(v)) < 60]
    names = [k for k in names if k != "xappa_run"]
    listed = "; ".join(f"{k.removeprefix('xappa_')}: {stored.get(k)} there, {job.ds.attrs[k]} here" for k in names)
    hint = " An interrupted run is continued with the same seed." if "xappa_seed" in names else ""
    return f" It belongs to another run ({listed or 'of other observations, times, variables or chunks'}).{hint}"


def _require_apart(job: WriteJob) -> None:
    """A store that is removed cannot be read; what is missing in it would be written as missing."""
    if any(job.location.contains(source) for source in find_sources(job.ds)):
        raise StoreError(
            f"{job.location.name} cannot be replaced: what is to be written is still to be read from it. Choose "
            "another "
            "name, or load it into memory first, with .load()."
        )


def _begin(job: WriteJob) -> None:
    """Coordinates, and variables without a chunk."""
    job.location.sidecar.write(BEGUN, job.owner.encode())
    _write_empty(job.ds.assign_attrs({OWNER: job.owner, UNFINISHED: "begun"}), job.location.store, job.encoding)
    _set_attrs(job.location, {UNFINISHED: "regions are still to come"})


def _write_empty(ds: xr.Dataset, store: Store, encoding: Encoding) -> None:
    empty = {
        name: (v.dims, da.zeros(v.shape, chunks=-1, dtype=v.dtype, name=f"xappa-empty-{name}"), v.attrs)
        for name, v in ds.data_vars.items()
    }
    template = xr.Dataset(empty, {name: v.variable.load() for name, v in ds.coords.items()}, ds.attrs)
    template.to_zarr(
        store, mode="w", compute=False, zarr_format=3, consolidated=False, encoding=encoding, safe_chunks=False
    )


def _finish(job: WriteJob, sampled: Collection[str]) -> None:
    _write_diagnostics(job, sampled, "diagnostics")
    consolidate(job.location.store)
    # What is not on the disk yet must not be taken for complete, nor lose the latents that it is made from.
    job.location.flush()
    _set_attrs(job.location, {UNFINISHED: None})
    job.location.flush()
    job.location.remove_sidecar()


def _write_diagnostics(job: WriteJob, sampled: Collection[str], group: str) -> None:
    if "xappa_run" not in job.ds.attrs:
        return
    try:
        found = collect_diagnostics(job.ds, sampled)
    except DatasetError as error:  # of another session, or of several runs
        LOG.warning("%s holds no diagnostics: %s", job.location.name, error)
        return
    found = with_checkpoints(found, job.location.sidecar).compute()
    found.to_zarr(job.location.store, group=group, mode="w", zarr_format=3, consolidated=False)


def _append(job: WriteJob, dim: str, own: object, progress: bool | None) -> None:
    """Continue a store by a result."""
    if own:
        raise OptionError(f"chunks= and encoding= cannot be used: {job.location.name} is there, and keeps its own")
    attrs = (read_root_metadata(job.location) or {}).get("attributes", {})
    if UNFINISHED in attrs:
        raise StoreError(
            f"{job.location.name} is not complete; expected one that is: finish it with the call that began it"
        )
    with FileErrorTranslator(job.location):
        growth = plan_growth(job.ds, job.location, dim, job.owner)
        sizes = choose_region_sizes(growth.fields, growth.sizes)
        grid = RegionGrid(growth.fields, sizes, {growth.dim: growth.old_length})
        if growth.done:
            repair_consolidated_metadata(job.location)
            if repair_store(WriteJob(growth.fields, job.location, grid, growth.encoding, job.owner), progress):
                job.location.remove_sidecar()
            return
        require_memory(growth.fields, sizes)
        require_space(job.location, growth.fields)
        job.location.remove_partial_files()
        begin_append(growth, job.owner)
        grown = GrownStore(job.location.store, growth.build_metadata())
        part = WriteJob(growth.fields, replace(job.location, store=grown), grid, growth.encoding, job.owner)
        write_coordinates(growth, grown)
        sampled = stream(part, progress)
        number = len(json.loads(attrs.get(APPENDED, "[]"))) + 1
        _write_diagnostics(job, sampled, f"diagnostics_{number}")
        job.location.flush()
        publish_lengths(growth)
        consolidate(job.location.store)
        _set_attrs(job.location, {APPENDED: describe_append(growth, attrs, job.owner)})
        job.location.flush()
        job.location.remove_sidecar()


def _set_attrs(location: StoreLocation, attrs: Mapping[str, str | None]) -> None:
    """Set or remove attributes of the root, at once."""
    content = read_root_metadata(location) or {}
    merged = {**content.get("attributes", {}), **attrs}
    content["attributes"] = {key: value for key, value in merged.items() if value is not None}
    write_key(location.store, "zarr.json", json.dumps(content, indent=2).encode())


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
