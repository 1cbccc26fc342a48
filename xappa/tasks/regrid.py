"""Fields on another grid."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import xarray as xr

from xappa.alignment import with_xarray_defaults
from xappa.argument_types import check_arguments
from xappa.errors import DatasetError, OptionError, choose, is_number
from xappa.grids.axes import inspect
from xappa.grids.conventions import decode_conventions
from xappa.grids.horizontal import CoordinatePair
from xappa.grids.matching import order_output_columns, order_output_rows
from xappa.grids.regrid.backends import BACKENDS
from xappa.grids.regrid.build import METHODS, get_weights
from xappa.grids.regrid.fields import apply_mask, apply_to_all
from xappa.grids.regrid.files import read_weights
from xappa.grids.regrid.grid import RECTILINEAR, Grid
from xappa.grids.regrid.sorting import SortedVariables, sort_fields, warn_left_out
from xappa.grids.regrid.targets import make_gaussian_grid, make_grid_from_weights, make_labelled_grid, make_regular_grid
from xappa.grids.regrid.weights import Weights, check_share
from xappa.tasks.state_spec import get_state_spec

if TYPE_CHECKING:
    from xappa.model.protocol import ModelLike

Fields = TypeVar("Fields", xr.Dataset, xr.DataArray)
ALONE = "_field"
"""Name of a field without others."""
Target = xr.Dataset | xr.DataArray | float | str | Path


@check_arguments
@with_xarray_defaults
def regrid(
    ds: Fields,
    target: Target | None = None,
    method: str = "bilinear",
    *,
    backend: str | None = None,
    weights: Weights | str | Path | None = None,
    min_valid: float = 0.5,
) -> Fields:
    """Bring fields onto another grid.

    Grids are regular, Gaussian (full, or reduced as one list of points) or curvilinear (2-D latitude and
    longitude); fields of staggered grids are read where their ``coordinates`` attribute puts them. Weights are made
    once for two grids, and kept. Dask-backed fields stay lazy, with each horizontal field in one chunk. A variable
    ``mask`` (1 where the grid has values, 0 elsewhere), here or in the target, is honoured.

    Parameters
    ----------
    ds : xarray.Dataset or xarray.DataArray
        Fields.
    target : xarray.Dataset, xarray.DataArray, float, str or Path, optional
        Anything on the grid that is wanted; or so many degrees, up to 90 (rows on both poles, or, if 180 is no
        multiple, counted from the equator; a column at 0); or a Gaussian grid, such as ``"F48"``; or ``"model"``
        for the default model's grid, or a model's name or folder. May be left out where a file of weights tells it.
    method : str, default "bilinear"
        ``"bilinear"``; ``"conservative"``, which keeps area means; or ``"nearest"``.
    backend : str, optional
        ``"xesmf"``: weights made by xESMF, where it is installed. Default: our own.
    weights : Weights, str or Path, optional
        Weights of `xappa.regrid_weights`, or a file of them: of ESMF or xESMF (``row``, ``col``, ``S``), or of CDO
        or SCRIP (``src_address``, ``dst_address``, ``remap_matrix``). `method` then has no effect.
    min_valid : float, default 0.5
        Share of a target's weight that must fall on values; the values that are there then make up for those that
        are missing. 0: any value will do. 1: one missing value is enough to have none.

    Returns
    -------
    xarray.Dataset or xarray.DataArray
        As `ds`, lazy where it is; NaN where it does not reach. Types of floats are kept. What describes the old grid,
        or cannot be regridded, is left out, and listed in the attribute ``regrid_left_out``.

    Raises
    ------
    xappa.errors.DatasetError
        If there is no usable grid, or variables or weights do not fit it.
    xappa.errors.MissingDependency
        If the backend is not installed; the message says how to install it.
    xappa.errors.ModelError, xappa.errors.OptionError
        If there is no such model, method, backend or number of degrees.

    Examples
    --------
    >>> coarse = ds.appa.regrid(1.5, "conservative")  # doctest: +SKIP
    >>> same = forecast.appa.regrid(ds)  # doctest: +SKIP
    """
    if isinstance(ds, xr.DataArray):
        whole = ds.to_dataset(name=ALONE)
        alone = regrid(whole, target, method, backend=backend, weights=weights, min_valid=min_valid)
        return alone[ALONE].rename(ds.name)
    check_share(min_valid)
    choose("method", method, METHODS)
    if weights is not None and backend is not None:
        raise OptionError("Found both weights= and backend=; expected one: weights that are given need no backend")
    found = sort_fields(decode_conventions(ds))
    grids = {pair: Grid.from_coordinates(found.ds, pair.latitude, pair.longitude) for pair in found.fields}
    first = next(iter(grids))
    wanted = None if target is None else resolve_target_grid(target, found.ds, grids[first])
    made: dict[CoordinatePair, tuple[Weights, Weights | None]]
    if weights is not None:
        held, goal = _check_given_weights(weights, grids[first], wanted)
        method = held.attrs.get("method", held.attrs.get("map_method", "weights given"))
        found, made = _select_grid(found, first), {first: (held, None)}
    elif wanted is not None:
        goal = wanted
        made = {pair: _build_weights(grid, wanted, method, backend) for pair, grid in grids.items()}
    else:
        raise OptionError("Found neither target= nor weights=; expected a Dataset, a number of degrees or a model")
    exact = method == "nearest" and weights is None
    result = apply_to_all(found, grids, goal, made, min_valid=min_valid, keep_integers=exact)
    if isinstance(target, xr.Dataset | xr.DataArray):
        result = apply_mask(result, target, goal)
    warn_left_out(found.left_out)
    about = {"regrid_method": method} | ({"regrid_left_out": found.describe_left_out()} if found.left_out else {})
    return result.assign_attrs(about)


def _build_weights(source: Grid, goal: Grid, method: str, backend: str | None) -> tuple[Weights, Weights | None]:
    """Weights for scalars, and for components of vectors."""
    if backend is not None:
        return choose("backend", backend, BACKENDS)(source, goal, method), None
    return get_weights(source, goal, method), get_weights(source, goal, method, vector=True)


def _select_grid(found: SortedVariables, pair: CoordinatePair) -> SortedVariables:
    """The fields on the grid of weights that are given; those on others are left out."""
    others = [str(name) for other, names in found.fields.items() if other != pair for name in names]
    left = found.left_out | dict.fromkeys(others, "on another grid than that of the weights")
    return replace(found, fields={pair: found.fields[pair]}, left_out=left)


@check_arguments
@with_xarray_defaults
def regrid_weights(
    ds: xr.Dataset | xr.DataArray, target: Target, method: str = "bilinear", *, backend: str | None = None
) -> Weights:
    """The weights that `regrid` applies, to be kept; `xappa.write_weights` writes them as ESMF and xESMF do.

    Parameters
    ----------
    ds : Dataset or DataArray
        Anything on the source grid.
    target : Dataset, DataArray, float, str or Path
        As for `regrid`.
    method : str, default "bilinear"
        ``"bilinear"``, ``"conservative"`` or ``"nearest"``.
    backend : str, optional
        ``"xesmf"``: weights made by xESMF.

    Returns
    -------
    Weights
        ``.matrix`` is a scipy CSR array, (targets, sources); ``.apply(array)`` regrids arrays.

    Examples
    --------
    >>> weights = xappa.regrid_weights(ds, 1.0, "conservative")  # doctest: +SKIP
    >>> xappa.write_weights(weights, "to-1-degree.nc")  # doctest: +SKIP
    >>> ds.appa.regrid(weights="to-1-degree.nc")  # doctest: +SKIP
    """
    choose("method", method, METHODS)
    ds = decode_conventions(ds.to_dataset(name=ALONE) if isinstance(ds, xr.DataArray) else ds)
    source = Grid.from_dataset(ds)
    goal = resolve_target_grid(target, ds, source)
    if backend is not None:
        made = choose("backend", backend, BACKENDS)(source, goal, method)
    else:
        made = get_weights(source, goal, method)
    names = ("source_latitude", "source_longitude", "target_latitude", "target_longitude")
    return replace(made, places=dict(zip(names, (*source.points, *goal.points), strict=True)))


def regrid_to_dataset(result: xr.Dataset, ds: xr.Dataset) -> xr.Dataset:
    """A result, made on a model's grid, on the grid of the user's Dataset, lazily.

    Parameters
    ----------
    result : Dataset
    ds : Dataset
        Only its grid is looked at.

    Returns
    -------
    Dataset
        `result` itself where the grids are the same; else bilinear, NaN where `result` does not reach.
    """
    source, goal = Grid.from_dataset(result), Grid.from_dataset(ds)
    if (source.shape, source.dims) == (goal.shape, goal.dims) and np.allclose(source.points, goal.points, 0, 1e-9):
        return result
    return regrid(result, ds)


GRIDS: dict[str, Callable[[xr.Dataset, xr.Dataset], xr.Dataset]] = {
    "model": lambda result, ds: result,
    "ds": regrid_to_dataset,
}


def resolve_target_grid(target: Target, ds: xr.Dataset | xr.DataArray, source: Grid) -> Grid:
    """The grid that a target means.

    Raises
    ------
    DatasetError, ModelError, OptionError
        If it means none.
    """
    if isinstance(target, xr.Dataset | xr.DataArray):
        return Grid.from_dataset(
            decode_conventions(target.to_dataset(name=ALONE) if isinstance(target, xr.DataArray) else target)
        )
    if is_number(target) or isinstance(target, float):
        return make_regular_grid(float(target), source)
    if isinstance(target, str | Path):
        regular = make_gaussian_grid(target, source) if isinstance(target, str) else None
        return regular or _get_model_grid(None if target == "model" else target, ds, source)
    raise OptionError(
        f"target={target!r}; expected a Dataset, a number of degrees, 'model' or a model's name or folder, or a "
        "Gaussian grid such as 'F48'"
    )


def _get_model_grid(model: ModelLike | None, ds: xr.Dataset | xr.DataArray, source: Grid) -> Grid:
    spec = get_state_spec(model)
    whole = ds.to_dataset(name="field") if isinstance(ds, xr.DataArray) else ds
    regular = source.kind == RECTILINEAR and all(v.dims == (k,) for k, v in source.coords.items())
    layout = inspect(whole, need=())[0] if regular else None
    names: list[Hashable] = list(source.coords) if regular else ["latitude", "longitude"]
    return make_labelled_grid(
        names, np.array(order_output_rows(layout, spec)[1]), np.array(order_output_columns(layout, spec)[1])
    )


def _check_given_weights(weights: Weights | str | Path, source: Grid, target: Grid | None) -> tuple[Weights, Grid]:
    """Weights of the user's, checked against the grids, and the grid they lead to."""
    if not isinstance(weights, Weights):
        held = read_weights(weights, source.shape, None if target is None else target.shape)
    else:
        held = weights
        if held.shape != (held.shape[0] if target is None else target.size, source.size):
            wanted = f"{source.size} sources" + ("" if target is None else f" and {target.size} targets")
            raise DatasetError(
                f"Found weights for {held.shape[1]} sources and {held.shape[0]} targets; expected {wanted}"
            )
    goal = target or make_grid_from_weights(held)
    _require_same(held, "source", source)
    _require_same(held, "target", goal)
    if (held.source_shape, held.target_shape) != (source.shape, goal.shape):
        held = replace(held, source_shape=source.shape, target_shape=goal.shape, full=held.matrix, parts=())
    return held, goal


def _require_same(weights: Weights, which: str, grid: Grid) -> None:
    """Refuse weights whose points are not where the grid has them."""
    if f"{which}_latitude" not in weights.places:
        return
    latitude, longitude = (weights.places[f"{which}_{axis}"] for axis in ("latitude", "longitude"))
    phi, lam = grid.points
    if latitude.shape != phi.shape or longitude.shape != phi.shape:
        raise DatasetError(
            f"These weights belong to another {which}: they name {latitude.size} points, the {grid} has {phi.size}; "
            "take weights that were made for these grids"
        )
    away = np.abs((lam - longitude + 180) % 360 - 180) * np.cos(np.radians(phi))
    apart = ~((np.abs(phi - latitude) <= 1e-3) & (away <= 1e-3))  # where they are NaN, too
    if apart.any():
        i = int(apart.argmax())
        raise DatasetError(
            f"These weights belong to another {which}: its point {i} is at latitude {latitude[i]:g}, longitude "
            f"{longitude[i]:g}, that of the {grid} at {phi[i]:g}, {lam[i]:g}; expected the same points in the same "
            "order: sort the rows and columns as in the file"
        )
