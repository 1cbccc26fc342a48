"""Damage of an unfinished store: metadata that are no JSON, chunks that cannot be decoded."""

from __future__ import annotations

import json
import logging
import math
import warnings
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
import xarray as xr
import zarr
from zarr.abc.store import Store

from xappa.errors import StoreError, translate_read_errors
from xappa.sizes import require_size
from xappa.streaming.store.location import StoreLocation, read_key, write_key

ANEW = "Write the store anew with overwrite=True."

LOG = logging.getLogger("xappa")


def read_root_metadata(location: StoreLocation) -> dict[str, Any] | None:
    """Metadata of a store's root group; None if there are none.

    Raises
    ------
    StoreError
        If they are damaged, or the store cannot be read.
    """
    try:
        content = read_key(location.store, "zarr.json")
    except OSError as error:
        raise StoreError(f"{location.name} cannot be read ({error}); choose another place.") from error
    return None if content is None else _read_json(location.name, "zarr.json", content)


def require_metadata(
    location: StoreLocation,
    dims: Mapping[Hashable, Sequence[Hashable] | None],
    keys: Mapping[Hashable, Collection[str]] = MappingProxyType({}),
) -> None:
    """Complain about arrays of a store whose metadata are missing or damaged.

    Parameters
    ----------
    location : StoreLocation
    dims : mapping
        Dimensions of each array; None where any will do.
    keys : mapping
        Attributes that each array needs, as its values cannot be decoded without them.

    Raises
    ------
    StoreError
        With the file.
    """
    for name, expected in dims.items():
        key = f"{name}/zarr.json"
        found = _read_json(location.name, key, read_key(location.store, key) or b"")
        named = found.get("dimension_names", [])
        attrs = found.get("attributes", {})
        if not isinstance(attrs, dict):
            _refuse(location.name, key, "its attributes are no mapping")
        if lost := sorted(set(keys.get(name, ())) - set(attrs)):
            _refuse(location.name, key, f"its attributes lack {', '.join(lost)}")
        if expected is not None and (not isinstance(named, list) or named != list(map(str, expected))):
            _refuse(location.name, key, f"its dimensions are {named}, expected {list(map(str, expected))}")


def _read_json(store: str, key: str, content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        found = error
    if not isinstance(found, dict):
        _refuse(store, key, str(found))
    return found


def _refuse(store: str, key: str, problem: str) -> NoReturn:
    raise StoreError(
        f"{store}: {key} is damaged ({problem}), so that the store cannot be continued. Remove it, or write it anew "
        "with overwrite=True."
    )


def require_readable(location: StoreLocation, ds: xr.Dataset, grown: bool) -> None:
    """Complain about a store that xarray cannot open, or whose arrays have other shapes than those of `ds`.

    Parameters
    ----------
    location : StoreLocation
    ds : Dataset
        What the store holds.
    grown : bool
        Whether other calls have appended to it.

    Raises
    ------
    StoreError
        With the array.
    """
    with translate_read_errors(location.name, "the store that was begun", StoreError, ANEW), _quiet():
        opened = xr.open_zarr(location.store, consolidated=False, chunks=None)
    for name, variable in ds.variables.items():
        found = opened[name].shape if name in opened.variables else None
        if found != variable.shape and not (grown and found is not None and _contains(found, variable.shape)):
            raise StoreError(f"{location.name}: {name} has the shape {found}, expected {variable.shape}. {ANEW}")
        if variable.dtype.kind in "mM" and opened[name].dtype.kind != variable.dtype.kind:
            raise StoreError(f"{location.name}: {name} holds no times any more; its units are damaged. {ANEW}")


def _contains(shape: Sequence[int], other: Sequence[int]) -> bool:
    return len(shape) == len(other) and all(n >= m for n, m in zip(shape, other, strict=True))


def repair_consolidated_metadata(location: StoreLocation) -> None:
    """Write the consolidated metadata of a complete store again where they are not those of its arrays and groups.

    Raises
    ------
    StoreError
        If the metadata of an array or a group cannot be read.
    """
    with translate_read_errors(location.name, "a complete store", StoreError, ANEW):
        consolidated = _read_metadata(location.store, True)
        if consolidated is None:
            # Zarr finds no group at all where these cannot be read.
            root = {k: v for k, v in (read_root_metadata(location) or {}).items() if k != "consolidated_metadata"}
            write_key(location.store, "zarr.json", json.dumps(root, indent=2).encode())
        if consolidated != _read_metadata(location.store, False):
            LOG.warning("%s: the consolidated metadata were damaged, and are written again", location.name)
            consolidate(location.store)


def _read_metadata(store: Store, consolidated: bool) -> dict[str, str] | None:
    """Metadata of all arrays and groups by path; None if consolidated ones are asked for, and cannot be read."""
    try:
        with _quiet():
            group = zarr.open_group(store, mode="r", zarr_format=3, use_consolidated=consolidated)
            if consolidated and group.metadata.consolidated_metadata is None:
                return None
            return {path: _to_text(node) for path, node in group.members(max_depth=None)}
    except Exception:  # what is wrong in them is raised as anything
        if consolidated:
            return None
        raise


def _to_text(node: zarr.Array | zarr.Group) -> str:
    """All that the metadata of an array or a group say; fill values may be NaN, which is not equal to itself."""
    about = node.metadata.to_dict()
    about.pop("consolidated_metadata", None)
    return json.dumps(about, sort_keys=True, default=str)


def consolidate(store: Store) -> None:
    """Copy the metadata of all arrays and groups into the root's."""
    with _quiet():
        zarr.consolidate_metadata(store, zarr_format=3)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Zarr's warnings of consolidated metadata, which other readers pass over, and of what is beside arrays."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        warnings.filterwarnings("ignore", message=".*not recognized as a component", category=UserWarning)
        yield


def is_intact(array: zarr.Array, region: Mapping[Hashable, slice], dims: Sequence[Hashable]) -> bool:
    """Whether a region of an array can be decoded; codecs compare sizes and checksums."""
    try:
        array[tuple(region.get(dim, slice(None)) for dim in dims)]
    except Exception:  # each codec raises errors of its own
        return False
    return True


def repair_coordinates(ds: xr.Dataset, store: Store, name: str) -> None:
    """Write coordinates again that cannot be decoded, or are others than those of `ds`.

    Parameters
    ----------
    ds : Dataset
        What the store holds; its coordinates are in memory or are loaded.
    store : Store
    name : str
        Name of the store, for the log.

    Raises
    ------
    StoreError
        If it holds more than that since.
    """
    with translate_read_errors(name, "the store that was begun", StoreError, ANEW):
        _mend_coordinates(ds, store, name)


def _mend_coordinates(ds: xr.Dataset, store: Store, name: str) -> None:
    group = zarr.open_group(store, mode="r+", zarr_format=3)
    for coordinate in ds.coords.values():
        array = group[str(coordinate.name)]
        if not isinstance(array, zarr.Array):
            raise StoreError(f"{name}: the coordinate {coordinate.name!r} is no array any more. {ANEW}")
        claimed = math.prod(map(float, array.shape)) * array.dtype.itemsize
        require_size(claimed, f"{name}: the coordinate {coordinate.name!r}", StoreError)
        if coordinate.size and not (is_intact(array, {}, coordinate.dims) and _has_all(array, coordinate)):
            if array.shape != coordinate.shape:
                raise StoreError(
                    f"{name}: the coordinate {coordinate.name!r} is damaged, and other calls have appended to it, so "
                    "that it cannot be written again. Write the store anew with overwrite=True."
                )
            LOG.warning("%s: the coordinate %s was damaged, and is written again", name, coordinate.name)
            array[...] = _encode_coordinate(coordinate, array)


def _has_all(array: zarr.Array, coordinate: xr.DataArray) -> bool:
    """Whether no value is missing from a coordinate of the same shape: Zarr reads a lost file as missing values."""
    if array.shape != coordinate.shape:
        return True
    values = np.asarray(array[...])
    missing = (values == array.fill_value) | (values != values)  # NaN is not equal to itself
    if not np.any(missing):
        return True
    expected = _encode_coordinate(coordinate, array)
    return bool(np.all((values == expected) | (expected != expected) | ~missing))


def _encode_coordinate(coordinate: xr.DataArray, array: zarr.Array) -> np.ndarray:
    """Values as they are stored: times are numbers since the epoch that the array names."""
    variable = coordinate.variable.load()
    attrs = dict(array.attrs)
    encoding = {key: attrs[key] for key in ("units", "calendar") if key in attrs and variable.dtype.kind in "mM"}
    bare = xr.Variable(variable.dims, variable.values, {}, encoding | {"dtype": array.dtype})
    return np.asarray(xr.conventions.encode_cf_variable(bare, name=coordinate.name).values)
