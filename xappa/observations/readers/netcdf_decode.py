"""NetCDF, HDF5 and Zarr to arrays as they are stored; also run as a program of its own, as their libraries can crash.

    python -P netcdf_decode.py SOURCE TARGET ENGINE LIMIT

copies the variables and attributes of all groups of SOURCE, undecoded, into the folder TARGET: ``header.json`` and one
file a variable. ENGINE is xarray's (``-`` for its choice), LIMIT the bytes that all variables may take together. It
says on standard output how many bytes it has done. It imports nothing of xappa, so that nothing else is in the process.
Exit status 3 means that a package is missing, 4 that the variables are too large, 5 that SOURCE cannot be read.

The header has, by group, ``attrs`` and ``variables`` with ``dims``, ``shape``, ``attrs``, ``coordinate`` and ``kind``:
``plain`` (a NumPy file), or ``str``, ``string`` (NumPy's StringDType), ``bytes`` or a dtype for elements of varying
length, which lie one behind another in the NumPy file ``<number>.npy``, with their lengths in ``<number>.lengths.npy``.
Numbers of attributes are hexadecimal bytes with their dtype.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

BLOCK = 1 << 26
"""Bytes that are read at once."""

_POINTER = 8


def list_group_names(root: Any) -> list[str]:
    """Paths of the groups in an open file of netCDF4, without its root."""
    return [group.path for group in _iterate_groups(root) if group is not root]


def estimate_sizes(root: Any) -> Iterator[tuple[str, float]]:
    """Variables of an open file of netCDF4, and the bytes of each, or of one of its chunks, by the header."""
    for group in _iterate_groups(root):
        for name, variable in group.variables.items():
            item, chunks = getattr(variable.dtype, "itemsize", _POINTER), variable.chunking()
            shapes = [variable.shape] if chunks in (None, "contiguous") else [variable.shape, chunks]
            yield f"{group.path.rstrip('/')}/{name}", item * max(_count_elements(shape) for shape in shapes)


def list_other_group_names(path: str | os.PathLike[str], engine: str | None) -> list[str]:
    """The same of what netCDF4 does not read, or where it is not installed, by xarray."""
    import xarray as xr

    try:
        return [str(name) for name in xr.open_groups(path, engine=engine) if name != "/"]  # type: ignore[arg-type]
    except (NotImplementedError, ValueError):  # NetCDF-3 has no groups
        return []


def has_netcdf4() -> bool:
    """Whether netCDF4 is installed."""
    return importlib.util.find_spec("netCDF4") is not None


def _count_elements(shape: Any) -> float:
    return float(np.prod([float(n) for n in shape]))


def _iterate_groups(group: Any) -> Iterator[Any]:
    yield group
    for inner in group.groups.values():
        yield from _iterate_groups(inner)


def copy_groups(source: Path, target: Path, engine: str | None, limit: float) -> dict[str, Any]:
    """The header of a copy of all groups; the copies of variables are written beside it."""
    import xarray as xr

    whole = 0 if source.is_dir() else source.stat().st_size
    groups, sizes = {}, []
    for name in ["/", *_list_groups(source, engine, limit)]:
        groups[name] = xr.open_dataset(source, engine=engine, group=name, decode_cf=False)  # type: ignore[arg-type]
        sizes += [(f"{name.rstrip('/')}/{key}", float(v.nbytes)) for key, v in groups[name].variables.items()]
    _require_sizes(sizes, limit)
    number, header = 0, {}
    share = whole / max(sum(size for _, size in sizes), 1.0)
    for name, ds in groups.items():
        variables = {}
        for key, variable in ds.variables.items():
            kind = _copy(variable, target / str(number), share)
            about = {
                "dims": list(map(str, variable.dims)),
                "shape": variable.shape,
                "attrs": encode_attrs(variable.attrs),
            }
            variables[str(key)] = {**about, "kind": kind, "file": str(number), "coordinate": key in ds.coords}
            number += 1
        header[name] = {"attrs": encode_attrs(ds.attrs), "variables": variables}
        ds.close()
    return header


def _list_groups(source: Path, engine: str | None, limit: float) -> list[str]:
    """Groups of a file, whose variables fit by its header, before any is opened."""
    if engine is not None or not has_netcdf4():
        return list_other_group_names(source, engine)
    import netCDF4

    with netCDF4.Dataset(source) as root:
        _require_sizes(list(estimate_sizes(root)), limit)
        return list_group_names(root)


def _require_sizes(sizes: list[tuple[str, float]], limit: float) -> None:
    total = sum(size for _, size in sizes)
    if total > limit:
        name, largest = max(sizes, key=lambda pair: pair[1])
        raise MemoryError(f"its variables claim {total:.4g} bytes, {name} alone {largest:.4g}; at most {limit:.4g} fit")


def _copy(variable: Any, target: Path, share: float) -> str:
    """Write the values of a variable, block by block; returns their kind."""
    blocks = _iterate_blocks(variable)
    first = next(blocks)
    blocks = itertools.chain([first], blocks)
    # The dtype of the values counts: variables of varying length call themselves that of their elements.
    if first.dtype.kind not in "OT":
        _copy_plain(blocks, _strip_dtype_metadata(first.dtype), variable.shape, target, share)
        return "plain"
    elements = [element for block in blocks for element in np.asarray(block, object).ravel()]
    kind, parts = _encode_elements(elements)
    kind = "string" if first.dtype.kind == "T" else kind
    np.save(f"{target}.npy", np.concatenate([np.empty(0, parts[0].dtype if parts else np.uint8), *parts]))
    np.save(f"{target}.lengths.npy", np.array([len(part) for part in parts], np.int64))
    print(round(variable.nbytes * share), flush=True)
    return kind


def _copy_plain(
    blocks: Iterable[np.ndarray], dtype: np.dtype, shape: tuple[int, ...], target: Path, share: float
) -> None:
    with open(f"{target}.npy", "wb") as file:
        about = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(file, about)
        for block in blocks:
            if dtype.hasobject or _strip_dtype_metadata(block.dtype) != dtype:
                raise TypeError(f"values of the dtype {block.dtype} where {dtype} are expected")
            file.write(np.ascontiguousarray(block).tobytes())
            print(round(block.nbytes * share), flush=True)


def _strip_dtype_metadata(dtype: np.dtype) -> np.dtype:
    return dtype if dtype.names else np.dtype(dtype.str)


def _iterate_blocks(variable: Any) -> Iterator[np.ndarray]:
    if not variable.ndim or not variable.nbytes:
        yield np.asarray(variable.values)
        return
    step = max(1, int(BLOCK // max(variable.nbytes // variable.shape[0], 1)))
    for start in range(0, variable.shape[0], step):
        yield np.asarray(variable[start : start + step].values)


def _encode_elements(elements: list[Any]) -> tuple[str, list[np.ndarray]]:
    """Elements of varying length as arrays of one kind."""
    if all(isinstance(element, str) for element in elements):
        return "str", [np.frombuffer(element.encode("utf-8", "surrogatepass"), np.uint8) for element in elements]
    if all(isinstance(element, bytes) for element in elements):
        return "bytes", [np.frombuffer(element, np.uint8) for element in elements]
    parts = [np.asarray(element).ravel() for element in elements]
    dtypes = {part.dtype for part in parts}
    if len(dtypes) != 1 or dtypes == {np.dtype(object)}:
        raise TypeError(
            f"values of the types {', '.join(sorted({type(e).__name__ for e in elements}))} in one variable"
        )
    return dtypes.pop().str, parts


def encode_attrs(attrs: Any) -> list[list[Any]]:
    """Attributes for JSON: (name, kind, value); numbers with all of their bits."""
    return [[str(name), *_encode_value(value)] for name, value in attrs.items()]


def _encode_value(value: Any) -> list[Any]:
    if isinstance(value, str) or value is None or type(value) in (bool, int, float):
        return ["as it is", value]
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufcSUMm":
        kind = "array" if isinstance(value, np.ndarray) else "scalar"
        return [kind, [value.dtype.str, list(value.shape), np.ascontiguousarray(value).tobytes().hex()]]
    if isinstance(value, list | tuple | np.ndarray):
        kind = "list" if isinstance(value, list) else "tuple" if isinstance(value, tuple) else "objects"
        return [kind, [_encode_value(item) for item in value]]
    if isinstance(value, dict):
        return ["dict", encode_attrs(value)]
    raise TypeError(f"an attribute of the type {type(value).__name__}")


def main(source: str, target: str, engine: str, limit: str) -> int:
    """Copy `source` into `target`; returns the exit status."""
    Path(target).mkdir()
    try:
        header = copy_groups(Path(source), Path(target), None if engine == "-" else engine, float(limit))
    except MemoryError:
        raise
    except Exception as error:  # the libraries raise whatever they come across
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return 3 if isinstance(error, ImportError) or "not be installed" in str(error) else 5
    (Path(target) / "header.json").write_text(json.dumps(header), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
