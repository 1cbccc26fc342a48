"""A store that grows: what is appended is written beside what is there, and becomes visible at once at the end.

Chunks beyond an array's shape are not read. They are written first, with metadata that are kept in memory; then these
metadata replace those of the store, the consolidated ones last.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
import zarr
from zarr.storage import WrapperStore

from xappa._compat.zarr import default_buffer_prototype, sync
from xappa.errors import DatasetError, OptionError, StoreError
from xappa.streaming.store.damage import is_intact, read_root_metadata, require_metadata
from xappa.streaming.store.encoding import Encoding, list_step_dimensions
from xappa.streaming.store.location import StoreLocation, list_keys, read_key, write_key
from xappa.streaming.store.regions import encode_variable

if TYPE_CHECKING:
    from zarr.abc.store import Store

JOURNAL = "append.json"
"""File beside a store: which result is being appended, and how long the store was before."""
APPENDED = "xappa_appended"
"""Attribute of a store: what was appended, as JSON."""
OF_VALUES = ("dtype", "scale_factor", "add_offset", "_FillValue", "missing_value", "units", "calendar", "_Unsigned")
"""Encodings that change numbers."""


class GrownStore(WrapperStore):
    """A store seen with other metadata than its own.

    Parameters
    ----------
    store : Store
    metadata : mapping of str to bytes
        By key.
    """

    def __init__(self, store: Store, metadata: Mapping[str, bytes]) -> None:
        super().__init__(store)
        self.metadata = dict(metadata)

    def _with_store(self, store: Store) -> GrownStore:
        return GrownStore(store, self.metadata)

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """Contents of a key."""
        prototype = prototype or default_buffer_prototype()
        if key in self.metadata:
            return prototype.buffer.from_bytes(self.metadata[key])
        return await self._store.get(key, prototype, byte_range)


@dataclass(frozen=True)
class Growth:
    """Result that is appended, and its store.

    Parameters
    ----------
    location : StoreLocation
    dim : str
        Along which the store grows.
    old_length : int
        Its length before.
    fields : Dataset
        The variables along it, in the store's order of dimensions.
    existing : Dataset
        The store, as it was.
    done : bool
        Whether it has grown by that already.
    """

    location: StoreLocation
    dim: str
    old_length: int
    fields: xr.Dataset
    existing: xr.Dataset
    done: bool = False

    @property
    def growing_names(self) -> list[Hashable]:
        """Variables and coordinates along the dimension."""
        return [name for name, variable in self.existing.variables.items() if self.dim in variable.dims]

    @property
    def encoding(self) -> Encoding:
        """Encoding of the values in the store."""
        return {name: _select_value_encoding(self.existing.variables[name]) for name in self.growing_names}

    @property
    def sizes(self) -> dict[Hashable, int]:
        """Points of the store's files, by dimension: common multiples of those of all variables."""
        sizes: dict[Hashable, int] = {}
        for name in self.fields.data_vars:
            variable = self.existing.variables[name]
            files = variable.encoding.get("shards") or variable.encoding["chunks"]
            for dim, size in zip(variable.dims, files, strict=True):
                sizes[dim] = int(np.lcm(sizes.get(dim, 1), size))
        return sizes

    def build_metadata(self) -> dict[str, bytes]:
        """Metadata of the arrays with their new shapes, and of the root without a copy of the old ones."""
        found: dict[str, bytes] = {}
        for name in self.growing_names:
            found |= _resize_metadata(
                self.location.store, str(name), self.dim, self.old_length + self.fields.sizes[self.dim]
            )
        root = json.loads(read_key(self.location.store, "zarr.json") or b"{}")
        root.pop("consolidated_metadata", None)
        return found | {"zarr.json": json.dumps(root).encode()}


def plan_growth(ds: xr.Dataset, location: StoreLocation, dim: str, token: str) -> Growth:
    """Growth of a store by a result, planned or already made.

    What another append has begun and not finished is taken back.

    Parameters
    ----------
    ds : Dataset
    location : StoreLocation
    dim : str
    token : str
        Token of the result.

    Raises
    ------
    StoreError
        If there is no store of Zarr's third format, or what it needs of one is damaged.
    DatasetError
        If the result does not continue it: all reasons.
    OptionError
        If nothing grows along `dim`.
    """
    root = read_root_metadata(location) or {}
    if root.get("node_type") != "group":
        raise StoreError(f"{location.name} holds no Zarr group of format 3; expected one: choose another name")
    _require_intact(ds, location)
    entries = json.loads(root.get("attributes", {}).get(APPENDED, "[]"))
    for number, entry in enumerate(entries):
        if entry["token"] == token:
            return _find_finished_growth(ds, location, entries[number:])
    if dim not in list_step_dimensions(ds):
        raise OptionError(
            f"append_dim={dim!r}; expected one of {', '.join(map(repr, list_step_dimensions(ds))) or 'no dimension'}"
        )
    journal = json.loads(location.sidecar.read(JOURNAL) or b"{}")
    if journal:
        _roll_back(location, journal, clean=journal["token"] != token)
    existing = _open_dataset(location)
    problems = _find_problems(ds, existing, dim)
    if problems:
        raise DatasetError(f"This Dataset does not continue {location.name}:" + "".join(f"\n- {p}" for p in problems))
    return Growth(location, dim, existing.sizes[dim], _select_along(ds, existing, dim), existing)


def _find_finished_growth(ds: xr.Dataset, location: StoreLocation, entries: Sequence[Mapping[str, Any]]) -> Growth:
    """Growth of a store, from the entries of that append and of later ones."""
    existing, dim = _open_dataset(location), str(entries[0]["dimension"])
    later = sum(int(entry["length"]) for entry in entries if entry["dimension"] == dim)
    return Growth(location, dim, existing.sizes[dim] - later, _select_along(ds, existing, dim), existing, done=True)


def _open_dataset(location: StoreLocation) -> xr.Dataset:
    return xr.open_zarr(location.store, consolidated=False, chunks=None)


def _select_along(ds: xr.Dataset, existing: xr.Dataset, dim: str) -> xr.Dataset:
    """The variables along a dimension, with their dimensions in the order of the store."""
    fields = ds[[name for name, v in ds.data_vars.items() if dim in v.dims]]
    return fields.assign({name: v.transpose(*existing[name].dims) for name, v in fields.data_vars.items()})


def _require_intact(ds: xr.Dataset, location: StoreLocation) -> None:
    """Complain about damaged metadata and coordinates of a store, which is read before it grows."""
    names = [str(name) for name in ds.variables if read_key(location.store, f"{name}/zarr.json") is not None]
    require_metadata(location, dict.fromkeys(names))
    group = zarr.open_group(location.store, mode="r", zarr_format=3)
    for name in names:
        array = group[name]
        if name in ds.coords and isinstance(array, zarr.Array) and array.size and not is_intact(array, {}, ()):
            raise StoreError(
                f"{location.name}: the coordinate {name!r} is damaged, so that nothing can be appended. Make the call "
                "again that wrote the store, which repairs it, or write the store anew with overwrite=True."
            )


def begin_append(growth: Growth, token: str) -> None:
    """Note beside the store what is being appended."""
    location = growth.location
    if location.sidecar.read(JOURNAL) is None:
        names = [str(name) for name in growth.growing_names]
        _remove_beyond(location.store, names, growth.dim, growth.old_length)
        journal = {"token": token, "dim": growth.dim, "old": growth.old_length, "names": names}
        location.sidecar.write(JOURNAL, json.dumps(journal).encode())


def write_coordinates(growth: Growth, store: Store) -> None:
    """Coordinates along the dimension, where nobody reads them yet."""
    group = zarr.open_group(store, mode="r+", zarr_format=3)
    for name in growth.growing_names:
        if name in growth.existing.coords:
            variable = growth.fields.coords[name].variable
            where = tuple(slice(growth.old_length, None) if dim == growth.dim else slice(None) for dim in variable.dims)
            group[str(name)][where] = encode_variable(name, variable, growth.encoding[name])  # type: ignore[index]


def publish_lengths(growth: Growth) -> None:
    """Give the arrays their new lengths; readers of consolidated metadata see these once they are consolidated."""
    for key, content in growth.build_metadata().items():
        if key != "zarr.json":
            write_key(growth.location.store, key, content)


def describe_append(growth: Growth, attrs: Mapping[str, Any], token: str) -> str:
    """Entries on this and former appends, for the store's attribute."""
    values = growth.fields[growth.dim].values if growth.dim in growth.fields.coords else np.zeros(0)
    about = {"token": token, "dimension": growth.dim, "length": growth.fields.sizes[growth.dim]}
    about |= {"first": str(values[0]), "last": str(values[-1])} if len(values) else {}
    own = growth.fields.attrs
    about |= {key: str(own[key]) for key in ("xappa_seed", "xappa_run", "xappa_version") if key in own}
    return json.dumps([*json.loads(attrs.get(APPENDED, "[]")), about])


def _find_problems(ds: xr.Dataset, existing: xr.Dataset, dim: str) -> list[str]:
    """Why a Dataset does not continue another."""
    problems = []
    here, old = set(map(str, ds.data_vars)), set(map(str, existing.data_vars))
    if here != old:
        problems.append(
            f"variables: found {_format_names(here - old)} and no {_format_names(old - here)}; expected the same ones"
        )
    for name in sorted(here & old):
        if set(ds[name].dims) != set(existing[name].dims):
            problems.append(f"{name!r} has the dimensions {ds[name].dims}; expected {existing[name].dims}")
        elif ds[name].attrs.get("units") != existing[name].attrs.get("units"):
            problems.append(
                f"{name!r} has the units {ds[name].attrs.get('units')!r}; expected "
                f"{existing[name].attrs.get('units')!r}"
            )
        elif dim not in ds[name].dims and not _is_same(ds[name], existing[name]):
            problems.append(f"{name!r}, which has no {dim!r}, has other values; expected the same")
    for name in sorted({*map(str, ds.coords), *map(str, existing.coords)}):
        if name not in ds.coords or name not in existing.coords:
            which = "the store" if name not in existing.coords else "the Dataset"
            problems.append(f"coordinate {name!r} is missing in {which}; expected it in both, or in neither")
        elif dim not in existing[name].dims and not _is_same(ds[name], existing[name]):
            problems.append(
                f"coordinate {name!r} differs; expected {_describe_ends(existing[name])}, found "
                f"{_describe_ends(ds[name])}"
            )
    if dim not in existing.dims:
        problems.append(f"the store has no dimension {dim!r}; it has {_format_names(set(map(str, existing.dims)))}")
    elif (
        dim in ds.coords
        and dim in existing.coords
        and existing.sizes[dim]
        and not ds[dim].values.min() > existing[dim].values.max()
    ):
        problems.append(
            f"{dim!r} goes from {ds[dim].values.min()}; expected later than {existing[dim].values.max()}, where the "
            "store "
            f"ends: select with ds.sel({dim}=slice(...))"
        )
    digest = "xappa_model_digest"
    if ds.attrs.get(digest) != existing.attrs.get(digest):
        problems.append(
            f"it comes from the model {ds.attrs.get(digest, 'none')!s:.12}, the store from "
            f"{existing.attrs.get(digest, 'none')!s:.12}; expected the same"
        )
    return problems


def _is_same(one: xr.DataArray, other: xr.DataArray) -> bool:
    if set(one.dims) != set(other.dims) or dict(one.sizes) != dict(other.sizes):
        return False
    a, b = one.transpose(*other.dims).values, other.values
    if a.dtype.kind in "fc" and b.dtype.kind in "fciub":
        return bool(np.allclose(a, b, rtol=1e-6, atol=1e-9, equal_nan=True))
    return bool(np.array_equal(a, b))


def _format_names(names: set[str]) -> str:
    return ", ".join(map(repr, sorted(names))) or "others"


def _describe_ends(coord: xr.DataArray) -> str:
    flat = coord.values.ravel()
    return f"{flat.size} values from {flat[0]} to {flat[-1]}" if flat.size else "no values"


def _select_value_encoding(variable: xr.Variable) -> dict[str, Any]:
    return {key: variable.encoding[key] for key in OF_VALUES if key in variable.encoding}


def _resize_metadata(store: Store, name: str, dim: str, length: int) -> dict[str, bytes]:
    """Metadata of an array with another length along a dimension."""
    key = f"{name}/zarr.json"
    content = json.loads(read_key(store, key) or b"{}")
    content["shape"][content["dimension_names"].index(dim)] = length
    return {key: json.dumps(content, indent=2).encode()}


def _roll_back(location: StoreLocation, journal: Mapping[str, Any], clean: bool) -> None:
    """Give arrays the length that they had, where that was about to change; remove what is beyond, if asked."""
    for name in journal["names"]:
        for key, content in _resize_metadata(location.store, name, journal["dim"], journal["old"]).items():
            write_key(location.store, key, content)
    if clean:
        _remove_beyond(location.store, journal["names"], journal["dim"], journal["old"])
        location.remove_sidecar()


def _remove_beyond(store: Store, names: list[str], dim: str, length: int) -> None:
    """Remove chunks of which nothing is shown: of another append that was not finished."""
    for name in names:
        content = json.loads(read_key(store, f"{name}/zarr.json") or b"{}")
        axis = content["dimension_names"].index(dim)
        step = content["chunk_grid"]["configuration"]["chunk_shape"][axis]
        for key in list_keys(store, f"{name}/c"):
            index = re.findall(r"\d+", key.removeprefix(f"{name}/c"))
            if len(index) == len(content["shape"]) and int(index[axis]) >= -(-length // step):
                sync(store.delete(key))
