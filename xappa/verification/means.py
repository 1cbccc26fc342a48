"""Means over points: of what is not missing, weighted by the area of grid cells.

On latitudes of even (or nearly even, as Gaussian) spacing the area is proportional to the cosine of latitude.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np
import xarray as xr

Dims = Hashable | Iterable[Hashable] | None

_LATITUDES = ("latitude", "lat", "nav_lat", "XLAT")


def area_weights(latitude: xr.DataArray) -> xr.DataArray:
    """Cosine of latitude, never negative.

    Parameters
    ----------
    latitude : DataArray
        Degrees north, any shape.
    """
    cosine = xr.DataArray(np.cos(np.deg2rad(latitude.astype("f8"))))
    return cosine.clip(min=0.0).rename("weights").drop_attrs()


def default_weights(field: xr.DataArray) -> xr.DataArray | None:
    """Area weights of a gridded field (one with an axis of latitude); None for points, which count alike."""
    for dim in field.dims:
        coord = field.coords.get(dim)
        if coord is not None and (dim in _LATITUDES or coord.attrs.get("standard_name") == "latitude"):
            return area_weights(coord)
    return None


def mean(field: xr.DataArray, dim: Dims = None, weights: xr.DataArray | None = None) -> xr.DataArray:
    """Weighted mean of what is not missing.

    Parameters
    ----------
    field : DataArray
    dim : str or sequence of str, optional
        Dimensions to average over; all but ``level`` unless told.
    weights : DataArray, optional
        Weights along some of the dimensions; `default_weights` unless told.
    """
    over = resolve_dims(field, dim)
    if not over:
        return field
    weights = default_weights(field) if weights is None else weights
    weights = None if weights is None or not set(weights.dims) & set(over) else weights
    if weights is None:
        return field.mean(over, skipna=True)
    return field.weighted(weights.fillna(0.0)).mean(over, skipna=True)


def count(field: xr.DataArray, dim: Dims = None) -> xr.DataArray:
    """Number of points that are not missing."""
    return field.notnull().sum(resolve_dims(field, dim)).astype("f8")


def resolve_dims(field: xr.DataArray, dim: Dims) -> list[Hashable]:
    """Dimensions of a field that a mean is over: all but ``level`` unless told."""
    if dim is None:
        return [d for d in field.dims if d != "level"]
    named = [dim] if isinstance(dim, str) or not isinstance(dim, Iterable) else list(dim)
    return [d for d in named if d in field.dims]
