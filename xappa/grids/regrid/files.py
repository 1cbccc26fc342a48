"""Weights in files: the layout of ESMF and xESMF, written and read, and that of SCRIP and CDO, read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from xappa._compat.netcdf import NETCDF_LOCK, load_netcdf, make_file_manager
from xappa._files import can_be_path, is_file, replace_atomically
from xappa._typing import Array
from xappa.argument_types import check_arguments, format_value
from xappa.errors import DatasetError, is_whole_number, translate_read_errors
from xappa.grids.regrid.rows import build_matrix
from xappa.grids.regrid.weights import Weights
from xappa.sizes import require_size

REMEDY = "Make the weights again, or copy the whole file."

LARGEST = 1e3
"""Magnitude of weights; those of interpolation are near 1, those of areas that are not normalised at most 4 pi."""
ESMF = ("row", "col", "S")
SCRIP = ("dst_address", "src_address", "remap_matrix")
PLACES = {
    "source_latitude": ("yc_a", "src_grid_center_lat"),
    "source_longitude": ("xc_a", "src_grid_center_lon"),
    "target_latitude": ("yc_b", "dst_grid_center_lat"),
    "target_longitude": ("xc_b", "dst_grid_center_lon"),
}


@check_arguments
def write_weights(weights: Weights, path: str | Path) -> None:
    """Write weights as ESMF and xESMF keep them: netCDF, ``row``, ``col`` (counted from 1) and ``S``.

    Beside these, which is all that xESMF reads, the sizes of both grids are kept (``src_grid_dims`` and
    ``dst_grid_dims``, fastest first, as in ESMF) and, where they are known, their points in degrees (``yc_a``,
    ``xc_a``, ``yc_b``, ``xc_b``).

    Parameters
    ----------
    weights : Weights
    path : str or Path
        Replaced when complete.

    Raises
    ------
    DatasetError
        If the path can be no file's.
    OSError
        If the file cannot be written; what was there before stays.

    Examples
    --------
    >>> xappa.write_weights(xappa.regrid_weights(ds, 1.0), "to-1-degree.nc")  # doctest: +SKIP
    >>> ds.appa.regrid(weights="to-1-degree.nc")  # doctest: +SKIP
    """
    made = weights.matrix.tocoo()
    ds = xr.Dataset(
        {
            "row": ("n_s", (made.coords[0] + 1).astype(np.int32), {"long_name": "target, counted from 1"}),
            "col": ("n_s", (made.coords[1] + 1).astype(np.int32), {"long_name": "source, counted from 1"}),
            "S": ("n_s", made.data, {"long_name": "weight"}),
            "src_grid_dims": ("src_grid_rank", np.array(weights.source_shape[::-1], np.int32)),
            "dst_grid_dims": ("dst_grid_rank", np.array(weights.target_shape[::-1], np.int32)),
        },
        attrs={"title": "regridding weights", "normalize": int(weights.normalize), **weights.attrs},
    )
    for key, (name, _) in PLACES.items():
        if key in weights.places:
            ds[name] = (f"n_{name[-1]}", weights.places[key], {"units": "degrees"})
    path = Path(path)
    if not can_be_path(path):
        raise DatasetError(f"path={format_value(str(path))} can be no file; choose another name.")
    with replace_atomically(path) as part:
        ds.to_netcdf(part, engine="netcdf4", encoding={name: {"zlib": True} for name in ESMF})


def read_weights(
    path: str | Path, source_shape: Sequence[int] | None = None, target_shape: Sequence[int] | None = None
) -> Weights:
    """Read weights of ESMF, xESMF, SCRIP or CDO.

    Parameters
    ----------
    path : str or Path
        NetCDF file with ``row``, ``col`` and ``S``, or with ``src_address``, ``dst_address`` and ``remap_matrix``.
    source_shape, target_shape : sequence of int, optional
        Sizes of both grids, slowest dimension first; needed where the file doesn't have them, as those of xESMF don't.

    Returns
    -------
    Weights
        As they are in the file: a target that is partly covered gets the sum that its row makes.

    Raises
    ------
    DatasetError
        If the file has no weights in a layout that is known, they belong to other grids, or take more memory than the
        option ``reader_memory`` allows.
    """
    if not is_file(path):
        raise DatasetError(f"{path}: no such file; expected weights in netCDF, or xappa.regrid_weights(...)")
    with translate_read_errors(path, "weights in netCDF", DatasetError, REMEDY):
        _require_sizes(path)
        return _read_file(path, source_shape, target_shape)


def _read_file(path: str | Path, source_shape: Sequence[int] | None, target_shape: Sequence[int] | None) -> Weights:
    ds = load_netcdf(str(path))
    names = next((names for names in (ESMF, SCRIP) if all(name in ds for name in names)), None)
    if names is None:
        raise DatasetError(
            f"{path} has no weights: found the variables {', '.join(map(str, ds.variables)) or 'none'}; expected "
            f"{', '.join(ESMF)} (ESMF, xESMF) or {', '.join(SCRIP)} (SCRIP, CDO)"
        )
    row, column = (_read_addresses(ds[name], path) for name in names[:2])
    weight = np.asarray(ds[names[2]].values, float)
    weight = weight if weight.ndim == 1 else weight[:, 0]  # others multiply gradients: second order, not applied here
    if not len(row) == len(column) == len(weight) or not np.isfinite(weight).all():
        raise DatasetError(
            f"{path} has {len(row)} rows, {len(column)} columns and {len(weight)} weights, of which "
            f"{int((~np.isfinite(weight)).sum())} are not finite; expected as many of each, all finite. {REMEDY}"
        )
    if (largest := np.abs(weight).max(initial=0)) > LARGEST:
        raise DatasetError(f"{path} has a weight of magnitude {largest:.3g}; expected at most {LARGEST:g}. {REMEDY}")
    source = _resolve_shape("source", source_shape, ds, "src_grid_dims", column, path)
    target = _resolve_shape("target", target_shape, ds, "dst_grid_dims", row, path)
    kept = {"title", "map_method", "method", "normalization"}
    return Weights(
        source,
        target,
        full=build_matrix(row, column, weight, (math.prod(target), math.prod(source))),
        normalize=bool(ds.attrs.get("normalize", 0)),
        attrs={str(k): str(v) for k, v in ds.attrs.items() if k in kept} | {"file": Path(path).name},
        places={key: place for key, pair in PLACES.items() if (place := _read_coordinate(ds, pair)) is not None},
    )


def _read_addresses(values: xr.DataArray, path: str | Path) -> Array:
    """Addresses counted from 0."""
    found = values.values
    if found.ndim != 1 or found.dtype.kind not in "iuf" or not (found == np.floor(found)).all():
        raise DatasetError(f"{path}: {values.name} is no list of whole numbers; expected addresses. {REMEDY}")
    return found.astype(int) - 1


def _require_sizes(path: str | Path) -> None:
    """Refuse variables that take more memory than reading may; all of them are read as a whole."""
    with NETCDF_LOCK, make_file_manager(str(path)).acquire_context() as file:
        for name, variable in file.variables.items():
            claimed = float(np.prod(variable.shape, dtype=float)) * getattr(variable.dtype, "itemsize", 8)
            require_size(claimed, f"{path}: {name}", DatasetError)


def _resolve_shape(
    which: str, asked: Sequence[int] | None, ds: xr.Dataset, name: str, index: Array, path: str | Path
) -> tuple[int, ...]:
    """Sizes of a grid, as asked for if the file agrees, else as in the file."""
    held = tuple(int(n) for n in ds[name].values[::-1]) if name in ds else None
    held = held[-1:] if held is not None and len(held) == 2 and held[0] == 1 else held
    shape = tuple(asked) if asked is not None else held
    if shape is None:
        raise DatasetError(f"{path} does not say how large the {which} grid is: give {which}_shape=")
    if not shape or not all(is_whole_number(n) and n > 0 for n in shape):
        raise DatasetError(f"{path}: {which}_shape is {shape}; expected whole numbers above 0. {REMEDY}")
    size, most = math.prod(map(int, shape)), int(index.max(initial=-1)) + 1
    # The matrix has a number a target, whether it is in the file or not.
    require_size(8.0 * size, f"{path}: the {which} grid {' x '.join(map(str, shape))}", DatasetError)
    wrong = held is not None and math.prod(held) != size
    if wrong or most > size or index.min(initial=0) < 0:
        found = " x ".join(map(str, held)) if wrong and held else f"addresses up to {most}"
        raise DatasetError(
            f"{path} belongs to other grids: its {which} has {found}; expected {' x '.join(map(str, shape))} "
            f"({size} points): take weights that were made for these grids"
        )
    return shape


def _read_coordinate(ds: xr.Dataset, names: Sequence[str]) -> Array | None:
    for name in names:
        if name in ds:
            values = np.asarray(ds[name].values, float).ravel()
            return np.degrees(values) if str(ds[name].attrs.get("units", "")).startswith("rad") else values
    return None
