"""Weights applied to a Dataset: which variables, along which dimensions, with which coordinates."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.errors import DatasetError
from xappa.grids.horizontal import CoordinatePair
from xappa.grids.regrid.grid import Grid
from xappa.grids.regrid.sorting import MASK, SortedVariables, find_mask
from xappa.grids.regrid.weights import Weights
from xappa.vocabulary import look_up

if TYPE_CHECKING:
    import dask.array


# Attributes that speak of the grid that was left.
STALE = ("grid_mapping", "cell_measures", "coordinates")
VECTORS = ("eastward_", "northward_")


def apply_weights(
    ds: xr.Dataset,
    source: Grid,
    target: Grid,
    scalar: Weights,
    vector: Weights | None = None,
    *,
    min_valid: float = 0.5,
    keep_integers: bool = False,
) -> xr.Dataset:
    """Fields on another grid.

    Parameters
    ----------
    ds : Dataset
        Fields on `source`, all of them, and its ``mask`` where it has one.
    source, target : Grid
    scalar : Weights
    vector : Weights, optional
        For components of horizontal vectors; default those of scalars.
    min_valid : float
        See `Weights.apply`.
    keep_integers : bool, default False
        Whether integers and booleans keep their type; otherwise they become float64.

    Returns
    -------
    Dataset
        The fields alone, with the coordinates that have nothing to do with the grid and those of `target`. Lazy where
        `ds` is: block by block, each with the whole horizontal field.

    Raises
    ------
    DatasetError
        If dimensions of the target have the names of others of the fields.
    """
    names = [name for name in ds.data_vars if name != MASK] or list(ds.data_vars)
    _require_other_names(ds[names], source, target)
    fields = {}
    for name in names:
        weights = vector if vector is not None and is_vector(name, ds[name]) else scalar
        field = ds[name]
        mask = None if name == MASK else find_mask(ds, source.dims, field.dims)
        if mask is not None:
            field = field.where(mask)
        exact = keep_integers and field.dtype.kind in "iub" and bool((scalar.total > 0.5).all())
        fields[name] = _regrid_variable(field.variable, source, target, weights, min_valid, exact)
    gone = {*source.dims, *source.coords, MASK}
    rest = ds.drop_vars([n for n, v in ds.variables.items() if gone & {n, *v.dims}])
    return rest.assign(fields).assign_coords(target.coords)


def apply_to_all(
    found: SortedVariables,
    grids: Mapping[CoordinatePair, Grid],
    target: Grid,
    weights: Mapping[CoordinatePair, tuple[Weights, Weights | None]],
    *,
    min_valid: float = 0.5,
    keep_integers: bool = False,
) -> xr.Dataset:
    """The fields of a file, each from the grid on which it lies, and what has nothing to do with grids.

    Parameters
    ----------
    found : SortedVariables
    grids : mapping
        Of each pair of coordinates.
    target : Grid
    weights : mapping
        For scalars and for components of vectors, by pair.
    min_valid, keep_integers
        As for `apply_weights`.

    Returns
    -------
    Dataset
        In the order of before.
    """
    fields: dict[Hashable, xr.Variable] = {}
    for pair, names in found.fields.items():
        part = found.ds[[*names, *([MASK] if MASK in found.ds.data_vars else [])]]
        scalar, vector = weights[pair]
        done = apply_weights(
            part, grids[pair], target, scalar, vector, min_valid=min_valid, keep_integers=keep_integers
        )
        fields |= {name: done[name].variable for name in names}
    result = found.unchanged.assign_coords(target.coords).assign(fields)
    return result[[name for name in found.ds.data_vars if name in result.data_vars]]


def apply_mask(result: xr.Dataset, target: xr.Dataset | xr.DataArray, grid: Grid) -> xr.Dataset:
    """A result where the target's ``mask`` has values, if it has one."""
    held = target.to_dataset(name="_field") if isinstance(target, xr.DataArray) else target
    mask = find_mask(held, grid.dims, grid.dims)
    if mask is None:
        return result
    on = {name: field for name, field in result.data_vars.items() if set(grid.dims) <= set(field.dims)}
    return result.assign({name: field.where(mask).transpose(*field.dims) for name, field in on.items()})


def is_vector(name: Hashable, field: xr.DataArray) -> bool:
    """Whether a field is a component of a horizontal vector."""
    known = look_up(str(name))
    if known is not None:
        return known.vector
    return str(field.attrs.get("standard_name", "")).startswith(VECTORS)


def _regrid_variable(
    field: xr.Variable, source: Grid, target: Grid, weights: Weights, min_valid: float, exact: bool
) -> xr.Variable:
    others = [dim for dim in field.dims if dim not in source.dims]
    ordered = field.transpose(*others, *source.dims)
    if ordered.chunks is None:
        data: Array | dask.array.Array = weights.apply(np.asarray(ordered.data), min_valid)
    else:
        data = _apply_blockwise(ordered.data, weights, min_valid)
    data = data.astype(field.dtype) if exact else data
    attrs = {key: value for key, value in field.attrs.items() if key not in STALE}
    made = xr.Variable([*others, *target.dims], data, attrs)
    if len(source.dims) == len(target.dims):
        follows = dict(zip(source.dims, target.dims, strict=True))
        return made.transpose(*(follows.get(dim, dim) for dim in field.dims))
    place = sum(dim not in source.dims for dim in field.dims[: min(map(field.dims.index, source.dims))])
    return made.transpose(*others[:place], *target.dims, *others[place:])


def _apply_blockwise(data: dask.array.Array, weights: Weights, min_valid: float) -> dask.array.Array:
    """Weights applied to blocks that hold whole horizontal fields."""
    import dask.array

    lead = data.ndim - len(weights.source_shape)
    whole = data.rechunk({axis: -1 for axis in range(lead, data.ndim)})
    before, after = (list(range(lead)) for _ in range(2))
    before += [-1 - k for k in range(len(weights.source_shape))]
    after += [data.ndim + k for k in range(len(weights.target_shape))]
    kept = data.dtype if data.dtype.kind == "f" else np.dtype(float)
    return dask.array.blockwise(
        _apply,
        after,
        whole,
        before,
        new_axes=dict(zip(after[lead:], weights.target_shape, strict=True)),
        concatenate=True,
        dtype=kept,
        meta=np.empty((0,) * len(after), kept),
        weights=weights,
        min_valid=min_valid,
    )


def _apply(fields: Array, weights: Weights, min_valid: float) -> Array:
    return weights.apply(fields, min_valid)


def _require_other_names(ds: xr.Dataset, source: Grid, target: Grid) -> None:
    taken = (set(ds.dims) - set(source.dims)) & set(target.dims)
    if taken:
        raise DatasetError(
            "This Dataset cannot be regridded:\n"
            f"- dimensions {', '.join(map(repr, map(str, taken)))} of the target are other dimensions of the fields; "
            "expected names of their own: rename those of the target"
        )
