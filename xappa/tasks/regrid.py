"""Fields on another grid."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr

from xappa.checked import checked
from xappa.errors import DatasetError, OptionError, choose
from xappa.grids.axes import inspect
from xappa.grids.matching import output_columns, output_rows
from xappa.grids.regrid.backends import BACKENDS
from xappa.grids.regrid.build import METHODS, weights_between
from xappa.grids.regrid.fields import apply_weights
from xappa.grids.regrid.files import read
from xappa.grids.regrid.grid import RECTILINEAR, Grid
from xappa.grids.regrid.targets import by_degrees, gaussian, labelled, of_weights
from xappa.grids.regrid.weights import Weights, check_share
from xappa.tasks.prior import state_spec

Target = xr.Dataset | xr.DataArray | float | str | Path


@checked
def regrid(
    ds: xr.Dataset,
    target: Target | None = None,
    method: str = "bilinear",
    *,
    backend: str | None = None,
    weights: Weights | str | Path | None = None,
    min_valid: float = 0.5,
) -> xr.Dataset:
    """A Dataset on another grid; the twin of ``ds.appa.regrid``, which documents the parameters.

    Parameters
    ----------
    ds : Dataset
        Fields on a rectilinear (regular or Gaussian), reduced Gaussian or curvilinear grid.
    target, method, backend, weights, min_valid
        See `xappa.accessor.AppaAccessor.regrid`.

    Returns
    -------
    Dataset
        Lazy where `ds` is.
    """
    check_share(min_valid)
    choose("method", method, METHODS)
    source = Grid.of(ds)
    if weights is not None:
        if backend is not None:
            raise OptionError("Found both weights= and backend=; expected one: weights that are given need no backend")
        held, goal = _given(weights, source, None if target is None else target_grid(target, ds, source))
        made = apply_weights(ds, source, goal, held, min_valid=min_valid)
        return made.assign_attrs(regrid_method=held.attrs.get("method", held.attrs.get("map_method", "weights given")))
    if target is None:
        raise OptionError("Found neither target= nor weights=; expected a Dataset, a number of degrees or a model")
    goal = target_grid(target, ds, source)
    nearest = method == "nearest"
    if backend is not None:
        scalar, vector = choose("backend", backend, BACKENDS)(source, goal, method), None
    else:
        scalar = weights_between(source, goal, method)
        vector = weights_between(source, goal, method, vector=True)
    made = apply_weights(ds, source, goal, scalar, vector, min_valid=min_valid, keep_integers=nearest)
    return made.assign_attrs(regrid_method=method)


@checked
def regrid_weights(
    ds: xr.Dataset | xr.DataArray, target: Target, method: str = "bilinear", *, backend: str | None = None
) -> Weights:
    """The weights that `regrid` applies, to be kept: ``.to_netcdf(path)`` writes them as ESMF and xESMF do.

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
    >>> weights.to_netcdf("to-1-degree.nc")  # doctest: +SKIP
    >>> ds.appa.regrid(weights="to-1-degree.nc")  # doctest: +SKIP
    """
    choose("method", method, METHODS)
    source = Grid.of(ds)
    goal = target_grid(target, ds, source)
    if backend is not None:
        made = choose("backend", backend, BACKENDS)(source, goal, method)
    else:
        made = weights_between(source, goal, method)
    names = ("source_latitude", "source_longitude", "target_latitude", "target_longitude")
    return replace(made, places=dict(zip(names, (*source.points, *goal.points), strict=True)))


def onto(result: xr.Dataset, ds: xr.Dataset) -> xr.Dataset:
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
    source, goal = Grid.of(result), Grid.of(ds)
    if (source.shape, source.dims) == (goal.shape, goal.dims) and np.allclose(source.points, goal.points, 0, 1e-9):
        return result
    return regrid(result, ds)


GRIDS: dict[str, Callable[[xr.Dataset, xr.Dataset], xr.Dataset]] = {"model": lambda result, ds: result, "ds": onto}


def target_grid(target: Target, ds: xr.Dataset | xr.DataArray, source: Grid) -> Grid:
    """The grid that a target means.

    Raises
    ------
    DatasetError, ModelError, OptionError
        If it means none.
    """
    if isinstance(target, xr.Dataset | xr.DataArray):
        return Grid.of(target)
    if isinstance(target, int | float | np.number) and not isinstance(target, bool):
        return by_degrees(float(target), source)
    if isinstance(target, str | Path):
        regular = gaussian(target, source) if isinstance(target, str) else None
        return regular or _of_model(None if target == "model" else target, ds, source)
    raise OptionError(
        f"target={target!r}; expected a Dataset, a number of degrees, 'model' or a model's name or folder, or a "
        "Gaussian grid such as 'F48'"
    )


def _of_model(model: str | Path | None, ds: xr.Dataset | xr.DataArray, source: Grid) -> Grid:
    spec = state_spec(model)
    whole = ds.to_dataset(name="field") if isinstance(ds, xr.DataArray) else ds
    regular = source.kind == RECTILINEAR and all(v.dims == (k,) for k, v in source.coords.items())
    layout = inspect(whole, need=())[0] if regular else None
    names: list[Hashable] = list(source.coords) if regular else ["latitude", "longitude"]
    return labelled(names, np.array(output_rows(layout, spec)[1]), np.array(output_columns(layout, spec)[1]))


def _given(weights: Weights | str | Path, source: Grid, target: Grid | None) -> tuple[Weights, Grid]:
    """Weights of the user's, checked against the grids, and the grid they lead to."""
    if not isinstance(weights, Weights):
        held = read(weights, source.shape, None if target is None else target.shape)
    else:
        held = weights
        if held.shape != (held.shape[0] if target is None else target.size, source.size):
            wanted = f"{source.size} sources" + ("" if target is None else f" and {target.size} targets")
            raise DatasetError(
                f"Found weights for {held.shape[1]} sources and {held.shape[0]} targets; expected {wanted}"
            )
    goal = target or of_weights(held)
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
    away = np.abs((lam - longitude + 180) % 360 - 180) * np.cos(np.radians(phi))
    apart = (np.abs(phi - latitude) > 1e-3) | (away > 1e-3)
    if apart.any():
        i = int(apart.argmax())
        raise DatasetError(
            f"These weights belong to another {which}: its point {i} is at latitude {latitude[i]:g}, longitude "
            f"{longitude[i]:g}, that of the {grid} at {phi[i]:g}, {lam[i]:g}; expected the same points in the same "
            "order: sort the rows and columns as in the file"
        )
