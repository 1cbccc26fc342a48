"""A result region by region: which there are, which are in the store, and how one is written."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
import zarr
from xarray.conventions import encode_cf_variable
from zarr.abc.store import Store

from xappa.errors import DatasetError, StoreError
from xappa.streaming.store.damage import is_intact
from xappa.streaming.store.encoding import Encoding, list_step_dimensions, require_fit
from xappa.streaming.store.location import list_keys

Region = dict[Hashable, slice]


@dataclass(frozen=True)
class RegionGrid:
    """Regions of a result, in the order in which they are written: all members of the first times first.

    Parameters
    ----------
    ds : Dataset
    sizes : mapping
        Sizes of regions along members and times, whole numbers of the store's chunks; a region has all of the rest.
    offset : mapping, optional
        First index of the result in the store, by dimension; default 0.
    """

    ds: xr.Dataset
    sizes: Mapping[Hashable, int]
    offset: Mapping[Hashable, int] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Region]:
        steps = list_step_dimensions(self.ds)[::-1]
        for piece in itertools.product(*map(self._split_dimension, steps)):
            yield dict(zip(steps, piece, strict=True))

    def __len__(self) -> int:
        return int(np.prod([len(self._split_dimension(name)) for name in list_step_dimensions(self.ds)], dtype=int))

    def _split_dimension(self, dim: Hashable) -> list[slice]:
        """Pieces of a dimension that end where chunks of the store end."""
        size, step = self.ds.sizes[dim], self.sizes[dim]
        first = step - self.offset.get(dim, 0) % step
        ends = [*range(first, size, step), size]
        return [slice(start, stop) for start, stop in zip([0, *ends], ends, strict=False)]

    def locate(self, region: Region) -> Region:
        """Position of a region of the result in the store."""
        return {
            dim: slice(part.start + self.offset.get(dim, 0), part.stop + self.offset.get(dim, 0))
            for dim, part in region.items()
        }

    def shares_chunk(self, region: Region) -> bool:
        """Whether a region begins within a chunk of which the store has the first part already."""
        return any(part.start == 0 and self.offset.get(dim, 0) % self.sizes[dim] for dim, part in region.items())

    def list_variables(self, region: Region) -> list[Hashable]:
        """Variables that are written with a region: one that lacks a dimension is written with the first along it."""
        return [
            name
            for name, variable in self.ds.data_vars.items()
            if all(part.start == 0 for dim, part in region.items() if dim not in variable.dims)
        ]


def list_chunk_keys(array: zarr.Array, dims: Sequence[Hashable], region: Region) -> list[str]:
    """Keys, below the array's own, of the files of a region."""
    files = array.shards or array.chunks
    ranges = []
    for dim, size, step in zip(dims, array.shape, files, strict=True):
        part = region.get(dim, slice(0, size))
        ranges.append(range(part.start // step, -(-part.stop // step)))
    return [array.metadata.encode_chunk_key(index) for index in itertools.product(*ranges)]


def find_written_regions(
    store: Store, arrays: Mapping[Hashable, zarr.Array], grid: RegionGrid
) -> tuple[list[Region], ...]:
    """Regions whose files can be decoded, those that are damaged, and those of which files are missing.

    A file is whole or not there, so that no record of them is needed; but a disk may lose what was written to it.

    Raises
    ------
    StoreError
        If what is damaged holds values of others too.
    """
    present = {name: list_keys(store, f"{name}/c") for name in arrays}
    intact: list[Region] = []
    damaged: list[Region] = []
    missing: list[Region] = []
    for region in grid:
        names, placed = grid.list_variables(region), grid.locate(region)
        for name in names:
            _require_edges(arrays[name], grid.ds[name].dims, placed)
        keys = (
            f"{name}/{key}" in present[name]
            for name in names
            for key in list_chunk_keys(arrays[name], grid.ds[name].dims, placed)
        )
        if not all(keys):
            missing.append(region)
        elif not all(is_intact(arrays[name], placed, grid.ds[name].dims) for name in names):
            damaged.append(region)
        elif not grid.shares_chunk(region):
            intact.append(region)
    return intact, damaged, missing


def _require_edges(array: zarr.Array, dims: Sequence[Hashable], region: Region) -> None:
    """Complain about damaged files at the edges of a region that hold others' values too, which are lost with them.

    Raises
    ------
    StoreError
    """
    files = array.shards or array.chunks
    for dim, size, step in zip(dims, array.shape, files, strict=True):
        part = region.get(dim, slice(0, size))
        first, last = part.start // step * step, (part.stop - 1) // step * step
        edges = [first] if part.start > first else []
        edges += [last] if part.stop < min(last + step, size) else []
        for edge in edges:
            inside = slice(max(edge, part.start), min(edge + step, part.stop))
            if not is_intact(array, {**region, dim: inside}, dims):
                raise StoreError(
                    f"{array.path!r} is damaged from {dim!r} {edge} on, in a chunk that several calls write, so that "
                    "this one cannot repair it. If it is the end of the store, make the call again that wrote it; "
                    "otherwise write the store anew with overwrite=True."
                )


def open_arrays(store: Store, names: Sequence[Hashable], mode: Any = "r+") -> dict[Hashable, zarr.Array]:
    """Arrays of a store; chunks are written even where all is missing, so that what is there is known to be done."""
    group = zarr.open_group(store, mode=mode, zarr_format=3)
    return {name: _with_empty_chunks(group[str(name)]) for name in names}  # type: ignore[arg-type]


def _with_empty_chunks(array: zarr.Array) -> zarr.Array:
    """The array with a configuration of its own: zarr's options belong to all threads of a process."""
    config = {"write_empty_chunks": True}
    return zarr.Array(zarr.AsyncArray(array.metadata, array.store_path, config))  # type: ignore[call-overload]


@dataclass(frozen=True)
class Writer:
    """Writes regions; goes to workers.

    Parameters
    ----------
    store : Store
    dims : mapping of str to tuple
        Dimensions of each variable.
    attrs : mapping of str to dict
    encoding : mapping of str to dict
    """

    store: Store
    dims: Mapping[Hashable, tuple[Hashable, ...]]
    attrs: Mapping[Hashable, dict]
    encoding: Encoding

    def __call__(self, region: Region, values: Mapping[Hashable, np.ndarray]) -> int:
        """Write the variables of a region; returns their bytes.

        Raises
        ------
        OptionError
            If integers do not hold what is packed into them.
        """
        arrays = open_arrays(self.store, list(values))
        for name, part in values.items():
            require_fit(name, part, self.encoding[name])
            found = encode_variable(name, xr.Variable(self.dims[name], part, self.attrs[name]), self.encoding[name])
            arrays[name][tuple(region.get(dim, slice(None)) for dim in self.dims[name])] = found
        return sum(part.nbytes for part in values.values())


def encode_variable(name: Hashable, variable: xr.Variable, encoding: Mapping[str, Any]) -> np.ndarray:
    """Values as a store has them.

    Raises
    ------
    DatasetError
        If they are times that its units do not hold: xarray would write others.
    """
    made = encode_cf_variable(
        xr.Variable(variable.dims, variable.values, variable.attrs, _select_cf_encoding(encoding)), name=name
    )
    if "units" in encoding and made.attrs.get("units") != encoding["units"]:
        raise DatasetError(
            f"The store keeps {name!r} in {encoding['units']!r}, which cannot hold these values; expected whole "
            "numbers of them: write another store"
        )
    return made.values


def _select_cf_encoding(encoding: Mapping[str, Any]) -> dict[str, Any]:
    """What changes numbers, without what is the store's."""
    return {k: v for k, v in encoding.items() if k not in ("compressors", "filters", "chunks", "shards", "fill_value")}
