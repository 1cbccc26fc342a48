"""Interpolation and derivatives of labelled fields by xarray alone, where xarray itself leaves for scipy."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from xappa.errors import OperatorError, OptionError
from xappa.grids.bilinear import bracket

Field = TypeVar("Field", xr.DataArray, xr.Dataset)

METHODS = ("linear", "log", "nearest")


def interp(
    field: Field, coords: Mapping[Hashable, float | Sequence[float] | np.ndarray | xr.DataArray], method: str = "linear"
) -> Field:
    """Interpolate along coordinates; stands in for ``.interp``, which cannot carry gradients.

    Parameters
    ----------
    field : DataArray or Dataset
    coords : mapping
        New values of one-dimensional coordinates: numbers, sequences, or DataArrays, which interpolate point by point
        along the dimensions that they share.
    method : {"linear", "log", "nearest"}, default "linear"
        ``"log"`` is linear in the logarithm of the coordinate, as is usual for pressure; ``"nearest"`` takes,
        half-way, what stands at the smaller value of the coordinate.

    Returns
    -------
    DataArray or Dataset
        NaN beyond the ends of a coordinate.

    Raises
    ------
    OperatorError
        If `field` has no such coordinate.
    OptionError
        If the method is not one of the three.

    Examples
    --------
    >>> ds = xr.Dataset({"t": ("level", [220.0, 280.0])}, {"level": [500.0, 1000.0]})
    >>> float(interp(ds, {"level": 750.0})["t"])
    250.0
    """
    if method not in METHODS:
        raise OptionError(f"Unknown method {method!r}; expected one of {', '.join(map(repr, METHODS))}")
    index, weight, inside = {}, {}, []
    for name, wanted in coords.items():
        if name not in field.coords or field[name].ndim != 1:
            raise OperatorError(
                f"Cannot interpolate along {name!r}: found the coordinates {', '.join(map(str, field.coords))}; "
                "expected a one-dimensional one"
            )
        target = wanted if isinstance(wanted, xr.DataArray) else _to_dataarray(name, wanted)
        index[name], weight[name], there = _bracket_nodes(field[name], target, method)
        inside.append(there)
    total: Any = 0.0
    for corner in itertools.product((0, 1), repeat=len(index)):
        chosen = {field[name].dims[0]: index[name][side] for name, side in zip(index, corner, strict=True)}
        factor: Any = 1.0
        for name, side in zip(index, corner, strict=True):
            factor = factor * weight[name][side]
        part = field.isel(chosen).drop_vars(list(index), errors="ignore")
        total = total + part * factor
    for there in inside:
        if not bool(there.all()):
            total = total.where(there)
    new = {
        name: value if isinstance(value, xr.DataArray) else _to_dataarray(name, value) for name, value in coords.items()
    }
    return total.assign_coords({name: value.drop_vars(list(value.coords)) for name, value in new.items()})


def differentiate(field: Field, coord: Hashable, edge_order: int = 1, datetime_unit: str | None = None) -> Field:
    """Derivative along a coordinate, by central differences that are of second order on any nodes.

    Parameters
    ----------
    field : DataArray or Dataset
    coord : hashable
        A one-dimensional coordinate.
    edge_order : {1, 2}, default 1
        Order at the two ends.
    datetime_unit : str, optional
        Unit of time, if the coordinate is one: ``"s"``, ``"h"``…

    Returns
    -------
    DataArray or Dataset

    References
    ----------
    Fornberg (1988), Generation of finite difference formulas on arbitrarily spaced grids, Math. Comp. 51,
    https://doi.org/10.1090/S0025-5718-1988-0935077-0
    """
    return field.differentiate(coord, edge_order=edge_order, datetime_unit=datetime_unit)  # type: ignore[arg-type]


def _to_dataarray(name: Hashable, wanted: Any) -> xr.DataArray:
    values = np.asarray(wanted)
    return xr.DataArray(values, dims=(name,) if values.ndim else ())


def _bracket_nodes(nodes: xr.DataArray, target: xr.DataArray, method: str) -> tuple[list, list, xr.DataArray]:
    """Positions below and above each value, their weights, and whether the value lies between nodes."""
    x, y = np.asarray(nodes.values), np.asarray(target.values)
    if x.dtype.kind == "M":
        start = x[0]
        x, y = ((values.astype(start.dtype) - start) / np.timedelta64(1, "s") for values in (x, y))
    x, y = np.asarray(x, float), np.asarray(y, float)
    inside = (y >= x.min()) & (y <= x.max())
    y = np.where(inside, y, x.min())
    if method == "log":
        x, y = np.log(x), np.log(y)
    order = np.argsort(x)
    pair, share = bracket(x[order], y.ravel())
    if method == "nearest":
        upper = share[:, 1] > 0.5  # half-way it is the lower one, as in xarray
        share = np.stack([~upper, upper], axis=1).astype(float)
    target = target.drop_vars(list(target.coords))
    position = [target.copy(data=order[pair[:, side]].reshape(y.shape)) for side in (0, 1)]
    weight = [target.copy(data=share[:, side].reshape(y.shape)) for side in (0, 1)]
    return position, weight, target.copy(data=inside)
