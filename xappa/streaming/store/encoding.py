"""Layout of fields in a store: chunks, codecs, CF encodings."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from xappa.errors import OptionError, is_whole_number
from xappa.state.latent_datasets import HALF, LATENT

CHUNK_BYTES = 4e6
"""Size of chunks of the largest variable, before compression, if a chunk has several times."""
SHARD_BYTES = 16e6
"""A chunk beyond which each level is a chunk of its own, in one file (shard) with the others."""
REGION_BYTES = 256e6
"""Size of all variables that are computed and written together."""
TIMES = 64
"""Times of a chunk, at most."""

Encoding = dict[Hashable, dict[str, Any]]


def choose_chunks(ds: xr.Dataset, chunks: Mapping[str, int] | None = None) -> dict[Hashable, int]:
    """Sizes of the chunks of a store, by dimension.

    Parameters
    ----------
    ds : Dataset
    chunks : mapping, optional
        What the user wants. Default: fields whole, members one by one, and times as Dask has them, or one by one.

    Raises
    ------
    OptionError
        If they cannot be honoured: all reasons.
    """
    if chunks is not None and not isinstance(chunks, Mapping):
        raise OptionError(
            f"chunks={chunks!r} cannot be honoured: expected numbers of points by dimension, such as {{'time': 4}}"
        )
    asked = dict(chunks or {})
    wrong = [f"{name!r} is no dimension" for name in asked if name not in ds.dims]
    wrong += [
        f"{name!r}: {size!r}, expected a number of points, 1 or more, or -1 for all"
        for name, size in asked.items()
        if not is_whole_number(size) or not (size >= 1 or size == -1)
    ]
    if wrong:
        raise OptionError(
            f"chunks={chunks!r} cannot be honoured: {'; '.join(wrong)}; expected points by dimension: "
            f"{', '.join(f'{name!r} ({size})' for name, size in ds.sizes.items())}"
        )
    steps = list_step_dimensions(ds)
    sizes = dict(ds.sizes)
    for name in steps:
        sizes[name] = 1
    if steps and steps[-1] not in asked:
        sizes[steps[-1]] = _find_shared_chunk(ds, steps)
    for name, size in asked.items():
        sizes[name] = ds.sizes[name] if size == -1 else min(int(size), ds.sizes[name])
    return sizes


def choose_region_sizes(
    ds: xr.Dataset, sizes: Mapping[Hashable, int], chunks: Mapping[str, int] | None = None
) -> dict[Hashable, int]:
    """Sizes of what is computed and written together: chunks of the store, as many as make a few megabytes.

    Parameters
    ----------
    ds : Dataset
    sizes : mapping
        Sizes of the store's chunks.
    chunks : mapping, optional
        What the user wants: a chunk of so many times is also what is computed together.
    """
    steps = list_step_dimensions(ds)
    found = dict(sizes)
    if steps and steps[-1] not in (chunks or {}):
        found[steps[-1]] *= int(max(_count_region_times(ds, steps) // found[steps[-1]], 1))
    return found


def _count_region_times(ds: xr.Dataset, steps: list[Hashable]) -> float:
    """Times that make a few megabytes."""
    largest = max((_count_bytes(v, steps) for v in ds.data_vars.values()), default=1)
    every = sum(_count_bytes(v, steps) for v in ds.data_vars.values())
    return min(CHUNK_BYTES // max(largest, 1), REGION_BYTES // max(every, 1), TIMES)


def _find_shared_chunk(ds: xr.Dataset, steps: list[Hashable]) -> int:
    """Times of a chunk that all chunks of Dask, and the whole, are multiples of.

    An append of xarray's to chunks that do not agree with Dask's fails once the store has been made longer.
    """
    found = {size for v in ds.data_vars.values() if v.chunks is not None for size in v.chunksizes.get(steps[-1], ())}
    shared = int(np.gcd.reduce([*found, ds.sizes[steps[-1]]])) if found else 1
    most = max(_count_region_times(ds, steps), 1)
    return next(size for size in range(shared, 0, -1) if shared % size == 0 and size <= most)


def list_step_dimensions(ds: xr.Dataset) -> list[Hashable]:
    """Dimensions along which a result is computed piece by piece: members, then times."""
    members = [name for name in ds.dims if _standard_name(ds, name) == "realization" or name == "member"]
    times = [name for name in ds.dims if name in ds.coords and ds[name].dtype.kind in "mM" or name == "time"]
    return [*members, *times]


def make_encodings(
    ds: xr.Dataset, sizes: Mapping[Hashable, int], own: Mapping[str, Mapping[str, Any]] | None
) -> Encoding:
    """Encodings of a store in Zarr's third format; absent chunks of floats read as missing, packed or not.

    Parameters
    ----------
    ds : Dataset
    sizes : mapping
        From `choose_chunks`.
    own : mapping, optional
        The user's, by variable, in xarray's words; they come first.

    Raises
    ------
    OptionError
        If one is for a variable that there is not, or sets what `choose_chunks` decides.
    """
    own = {} if own is None else own
    if not isinstance(own, Mapping) or not all(isinstance(e, Mapping) for e in own.values()):
        raise OptionError(
            f"encoding={own!r} cannot be used: expected one mapping a variable, such as "
            '{"2m_temperature": {"dtype": "int16", "scale_factor": 0.01, "add_offset": 273.15}}'
        )
    wrong = [f"{name!r}: no such variable" for name in own if name not in ds.variables]
    wrong += [
        f"{name!r}: chunks and shards are set by chunks=" for name, e in own.items() if {"chunks", "shards"} & set(e)
    ]
    wrong += [f"{name!r}: instead of _Unsigned give an unsigned dtype" for name, e in own.items() if "_Unsigned" in e]
    wrong += [f"{name!r}: {e['dtype']!r} is no dtype" for name, e in own.items() if not _is_dtype(e.get("dtype", "f4"))]
    wrong += [
        text for name, e in own.items() if _is_dtype(e.get("dtype", "f4")) for text in _find_unrepresentable(name, e)
    ]
    if wrong:
        raise OptionError(
            f"encoding= cannot be used: {'; '.join(wrong)}. Expected NumPy's dtypes and Zarr's encodings by variable; "
            f"found the variables {', '.join(map(repr, ds.data_vars))}"
        )
    from zarr.codecs import ZstdCodec

    found: Encoding = {}
    for name, variable in ds.variables.items():
        # Not Blosc: what it writes depends on its threads, and a store would not be the same each time.
        encoding: dict[str, Any] = {"compressors": (ZstdCodec(level=3, checksum=True),)}
        if name in ds.data_vars:
            encoding |= _encode_chunks(variable, sizes, ds)
        if variable.dtype.kind == "f":
            missing = _choose_fill_value(variable.dtype, own.get(str(name), {}))
            encoding |= {"fill_value": missing, "_FillValue": missing if name in ds.data_vars else None}
        if name == LATENT and variable.dtype.kind == "f" and variable.encoding.get("dtype") == HALF["dtype"]:
            encoding |= HALF
        if variable.dtype.kind == "M":
            encoding |= _encode_times(variable)
        found[name] = encoding | dict(own.get(str(name), {}))
    return found


def _is_dtype(name: Any) -> bool:
    try:
        np.dtype(name)
    except TypeError:
        return False
    return True


def _find_unrepresentable(name: str, own: Mapping[str, Any]) -> list[str]:
    """Numbers for what is missing that an integer does not hold: some releases of numpy wrap them around."""
    stored = np.dtype(own.get("dtype", "f4"))
    if stored.kind not in "iu":
        return []
    low, high = np.iinfo(stored).min, np.iinfo(stored).max
    given = {key: own[key] for key in ("_FillValue", "missing_value") if own.get(key) is not None}
    return [
        f"{name!r}: {key}={value!r} is no number from {low} to {high}, which {stored} holds"
        for key, value in given.items()
        if not isinstance(value, int | float | np.integer | np.floating)
        or value != np.clip(value, low, high)
        or value % 1
    ]


def _choose_fill_value(dtype: np.dtype, own: Mapping[str, Any]) -> Any:
    """Fill value: the user's, or NaN; for integers without one, the value farthest from 0."""
    for key in ("_FillValue", "missing_value"):
        if own.get(key) is not None:
            return own[key]
    stored = np.dtype(own.get("dtype", dtype))
    if stored.kind == "i":
        return int(np.iinfo(stored).min)
    return int(np.iinfo(stored).max) if stored.kind == "u" else dtype.type("nan")


def require_fit(name: Hashable, values: np.ndarray, encoding: Mapping[str, Any]) -> None:
    """Make sure that integers, into which floats are packed, hold them: they would wrap around, or read as missing.

    Parameters
    ----------
    name : str
        The variable's.
    values : array
    encoding : mapping
        From `make_encodings`.

    Raises
    ------
    OptionError
        If they do not.
    """
    stored = np.dtype(encoding.get("dtype", values.dtype))
    if values.dtype.kind != "f" or stored.kind not in "iu":
        return
    scale, offset, missing = encoding.get("scale_factor", 1), encoding.get("add_offset", 0), encoding.get("_FillValue")
    packed = np.around((values.astype("f8") - offset) / scale)
    low, high = np.iinfo(stored).min, np.iinfo(stored).max
    fits = (packed >= low) & (packed <= high)
    if missing is not None:
        fits = fits & (packed != missing) | np.isnan(values)
    if fits.all():
        return
    first, last = sorted(end * scale + offset for end in (low, high))
    raise OptionError(
        f"encoding={{{name!r}: …}} cannot be used: {np.sum(~fits)} of {values.size} values, such as "
        f"{values[~fits][0]:.6g}, are not among those that {stored} holds with scale_factor={scale} and "
        f"add_offset={offset}: {first:.6g} to {last:.6g}, and {missing} before scaling for what is missing. Give "
        "others, and overwrite=True to replace what was begun."
    )


def _encode_chunks(variable: xr.Variable, sizes: Mapping[Hashable, int], ds: xr.Dataset) -> dict[str, Any]:
    chunk = tuple(sizes[dim] for dim in variable.dims)
    steps = list_step_dimensions(ds)
    inner = [dim for dim in variable.dims if dim not in steps]
    whole = len(inner) > 2 and all(sizes[dim] == ds.sizes[dim] for dim in inner)
    if not whole or np.prod(chunk) * variable.dtype.itemsize <= SHARD_BYTES:
        return {"chunks": chunk}
    one = tuple(size if dim in inner[-2:] else 1 for dim, size in zip(variable.dims, chunk, strict=True))
    return {"shards": chunk, "chunks": one}


def _encode_times(variable: xr.Variable) -> dict[str, Any]:
    seconds = variable.values.astype("M8[s]").astype("i8")
    unit = "hours" if (seconds % 3600 == 0).all() else "seconds"
    return {"units": f"{unit} since 1970-01-01T00:00:00", "calendar": "proleptic_gregorian", "dtype": "int64"}


def _count_bytes(variable: xr.DataArray, steps: list[Hashable]) -> float:
    """Bytes of one step."""
    return float(np.prod([n for dim, n in variable.sizes.items() if dim not in steps]) * variable.dtype.itemsize)


def _standard_name(ds: xr.Dataset, name: Hashable) -> object:
    return ds[name].attrs.get("standard_name") if name in ds.coords else None
