"""Weights applied to a Dataset: which variables, along which dimensions, with which coordinates."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xappa.errors import DatasetError, warn
from xappa.grids.regrid.grid import Grid, unnamed_bounds
from xappa.grids.regrid.weights import Weights
from xappa.vocabulary import lookup

if TYPE_CHECKING:
    import dask.array

Array = np.ndarray

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
    """A Dataset on another grid.

    Parameters
    ----------
    ds : Dataset
        Fields on `source`; variables without horizontal dimensions are kept as they are. Coordinates of the old grid
        and bounds are dropped.
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
        Lazy where `ds` is: block by block, each with the whole horizontal field.

    Raises
    ------
    DatasetError
        If variables or dimensions stand in the way; all of them at once.
    """
    about = _about_the_grid(ds)
    left = _along_one_axis(ds, source, about)
    chosen = [n for n, field in ds.data_vars.items() if set(source.dims) <= set(field.dims) and n not in about]
    _require_possible(ds, source, target, chosen)
    rest = ds.drop_vars([n for n, v in ds.variables.items() if set(source.dims) & set(v.dims) or n in source.coords])
    fields = {}
    for name in chosen:
        weights = vector if vector is not None and is_vector(name, ds[name]) else scalar
        exact = keep_integers and ds[name].dtype.kind in "iub" and bool((scalar.total > 0.5).all())
        fields[name] = _regridded(ds[name].variable, source, target, weights, min_valid, exact)
    made = rest.assign(fields).assign_coords(target.coords)
    made = made[[name for name in ds.data_vars if name in made.data_vars]]
    if not left:
        return made
    warn(
        f"Left out, since they lie along one of the dimensions {', '.join(map(str, source.dims))} only: "
        f"{', '.join(left)}"
    )
    return made.assign_attrs(regrid_left_out=" ".join(left))


def is_vector(name: Hashable, field: xr.DataArray) -> bool:
    """Whether a field is a component of a horizontal vector."""
    known = lookup(str(name))
    if known is not None:
        return known.vector
    return str(field.attrs.get("standard_name", "")).startswith(VECTORS)


def _regridded(
    field: xr.Variable, source: Grid, target: Grid, weights: Weights, min_valid: float, exact: bool
) -> xr.Variable:
    others = [dim for dim in field.dims if dim not in source.dims]
    ordered = field.transpose(*others, *source.dims)
    if ordered.chunks is None:
        data: Array | dask.array.Array = weights.apply(np.asarray(ordered.data), min_valid)
    else:
        data = _blockwise(ordered.data, weights, min_valid)
    data = data.astype(field.dtype) if exact else data
    attrs = {key: value for key, value in field.attrs.items() if key not in STALE}
    made = xr.Variable([*others, *target.dims], data, attrs)
    if len(source.dims) == len(target.dims):
        follows = dict(zip(source.dims, target.dims, strict=True))
        return made.transpose(*(follows.get(dim, dim) for dim in field.dims))
    place = sum(dim not in source.dims for dim in field.dims[: min(map(field.dims.index, source.dims))])
    return made.transpose(*others[:place], *target.dims, *others[place:])


def _blockwise(data: dask.array.Array, weights: Weights, min_valid: float) -> dask.array.Array:
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


def _about_the_grid(ds: xr.Dataset) -> set[str]:
    """Variables that describe cells and coordinates, which a new grid has of its own."""
    roles = ("bounds", "grid_mapping", "cell_measures")
    texts = [str(v.attrs.get(r, v.encoding.get(r, ""))) for v in ds.variables.values() for r in roles]
    unnamed = {unnamed_bounds(ds, ds[name]) for name in ds.coords}
    return {word for text in texts for word in text.split()} | {name for name in unnamed if name} | {"lat_b", "lon_b"}


def _along_one_axis(ds: xr.Dataset, source: Grid, about: set[str]) -> list[str]:
    """Variables that are no fields on the grid, but lie along one of its dimensions, such as zonal means."""
    return [
        str(name)
        for name, variable in ds.data_vars.items()
        if set(source.dims) & set(variable.dims) and not set(source.dims) <= set(variable.dims) and name not in about
    ]


def _require_possible(ds: xr.Dataset, source: Grid, target: Grid, chosen: list[Hashable]) -> None:
    problems = []
    odd = [f"{name!r} ({ds[name].dtype})" for name in chosen if ds[name].dtype.kind not in "fiub"]
    if odd:
        problems.append(f"{', '.join(odd)}: found no numbers; expected fields of numbers: drop or convert them")
    taken = (set(ds.dims) - set(source.dims)) & set(target.dims)
    if taken:
        problems.append(
            f"dimensions {', '.join(map(repr, map(str, taken)))} of the target are other dimensions of the fields; "
            "expected names of their own: rename those of the target"
        )
    if not chosen:
        problems.append(f"no variable has the dimensions {source.dims}; expected fields on the grid")
    if problems:
        raise DatasetError("This Dataset cannot be regridded:" + "".join(f"\n- {text}" for text in problems))
