"""A result region by region: which there are, which are in the store, and how one is written."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
import zarr
from xarray.conventions import encode_cf_variable
from zarr.abc.store import Store

from xappa.streaming.store.damage import is_intact
from xappa.streaming.store.encoding import Encoding, require_fit, steps_of
from xappa.streaming.store.places import keys_below

Region = dict[Hashable, slice]


@dataclass(frozen=True)
class Grid:
    """Regions of a result, in the order in which they are written: all members of the first times first.

    Parameters
    ----------
    ds : Dataset
    sizes : mapping
        Sizes of the store's chunks by dimension: a region is one chunk along members and times, and all of the rest.
    """

    ds: xr.Dataset
    sizes: Mapping[Hashable, int]

    def __iter__(self) -> Iterator[Region]:
        steps = steps_of(self.ds)[::-1]
        pieces = [_pieces(self.ds.sizes[name], self.sizes[name]) for name in steps]
        for piece in itertools.product(*pieces):
            yield dict(zip(steps, piece, strict=True))

    def __len__(self) -> int:
        return int(np.prod([-(-self.ds.sizes[name] // self.sizes[name]) for name in steps_of(self.ds)], dtype=int))

    def names(self, region: Region) -> list[Hashable]:
        """Variables that are written with a region: one that lacks a dimension is written with the first along it."""
        return [
            name
            for name, variable in self.ds.data_vars.items()
            if all(part.start == 0 for dim, part in region.items() if dim not in variable.dims)
        ]


def _pieces(size: int, step: int) -> list[slice]:
    return [slice(first, min(first + step, size)) for first in range(0, size, step)]


def chunk_keys(array: zarr.Array, dims: Sequence[Hashable], region: Region) -> list[str]:
    """Keys, below the array's own, of the files of a region."""
    files = array.shards or array.chunks
    ranges = []
    for dim, size, step in zip(dims, array.shape, files, strict=True):
        part = region.get(dim, slice(0, size))
        ranges.append(range(part.start // step, -(-part.stop // step)))
    return [array.metadata.encode_chunk_key(place) for place in itertools.product(*ranges)]


def written(store: Store, arrays: Mapping[Hashable, zarr.Array], grid: Grid) -> tuple[list[Region], list[Region]]:
    """Regions of which all files are there: those that can be decoded, and those that are damaged.

    A file is whole or not there, so that no record of them is needed; but a disk may lose what was written to it.
    """
    there = {name: keys_below(store, f"{name}/c") for name in arrays}
    intact: list[Region] = []
    damaged: list[Region] = []
    for region in grid:
        names = grid.names(region)
        keys = (
            f"{name}/{key}" in there[name]
            for name in names
            for key in chunk_keys(arrays[name], grid.ds[name].dims, region)
        )
        if all(keys):
            whole = all(is_intact(arrays[name], region, grid.ds[name].dims) for name in names)
            (intact if whole else damaged).append(region)
    return intact, damaged


def open_arrays(store: Store, names: Sequence[Hashable], mode: Any = "r+") -> dict[Hashable, zarr.Array]:
    """Arrays of a store; chunks are written even where all is missing, so that what is there is known to be done."""
    group = zarr.open_group(store, mode=mode, zarr_format=3)
    return {name: _writing_all(group[str(name)]) for name in names}  # type: ignore[arg-type]


def _writing_all(array: zarr.Array) -> zarr.Array:
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
        Of each variable.
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
        for name, field in values.items():
            require_fit(name, field, self.encoding[name])
            variable = xr.Variable(self.dims[name], field, self.attrs[name], _cf(self.encoding[name]))
            encoded = encode_cf_variable(variable, name=name)
            arrays[name][tuple(region.get(dim, slice(None)) for dim in self.dims[name])] = encoded.values
        return sum(field.nbytes for field in values.values())


def _cf(encoding: Mapping[str, Any]) -> dict[str, Any]:
    """What changes numbers, without what is the store's."""
    return {k: v for k, v in encoding.items() if k not in ("compressors", "filters", "chunks", "shards", "fill_value")}
