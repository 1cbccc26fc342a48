"""The height of the surface that fields lie on: their own, or that of the model that made them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.errors import XappaError
from xappa.grids.axes import Layout
from xappa.grids.bilinear import compute_bilinear_weights
from xappa.grids.matching import find_positions
from xappa.state.fields import derive_spec, get_surface_height

MODEL_ATTRS = ("xappa_model_address", "xappa_model")
"""Attributes of an analysis that name the model which made it."""


def find_surface_height(ds: xr.Dataset, layout: Layout) -> xr.DataArray | None:
    """Height of a Dataset's surface: its own field of it, or else that of the model which its attributes name.

    Parameters
    ----------
    ds : Dataset
    layout : Layout
        Of `ds`.

    Returns
    -------
    DataArray or None
        (latitude, longitude), m; between the model's grid points bilinear. None where it is not known.
    """
    if not layout.latitudes or not layout.longitudes:
        return None
    height = get_surface_height(ds, derive_spec(ds, layout), layout)
    height = read_model_height(ds, layout) if height is None else height
    if height is None:
        return None
    grid = {"latitude": np.array(layout.latitudes), "longitude": np.array(layout.longitudes)}
    return xr.DataArray(height, grid, ("latitude", "longitude"))


def read_model_height(ds: xr.Dataset, layout: Layout) -> Array | None:
    """Height of the surface of the model that made an analysis, on the analysis's grid (latitude, longitude), m."""
    for name in dict.fromkeys(str(ds.attrs.get(key, "")) for key in MODEL_ATTRS):
        found = _load_height(name, str(ds.attrs.get("xappa_model_digest", ""))) if name else None
        if found is None:
            continue
        height, latitude, longitude = found
        rows, columns = find_positions(layout.latitudes, latitude), find_positions(layout.longitudes, longitude, 360)
        if rows is not None and columns is not None:
            return height[np.ix_(rows, columns)]
        phi, lam = np.meshgrid(layout.latitudes, layout.longitudes, indexing="ij")
        around = compute_bilinear_weights(phi.ravel(), lam.ravel(), latitude, longitude)
        between = (height.ravel()[around.cell] * around.weight).sum(axis=1)
        return np.where(around.inside, between, np.nan).reshape(phi.shape)
    return None


@lru_cache(maxsize=8)
def _load_height(name: str, digest: str) -> tuple[Array, tuple[float, ...], tuple[float, ...]] | None:
    from xappa.model.registry import load

    try:
        prior = load(name)
    except (XappaError, OSError):
        return None  # it was made with a model that is not here; the operator warns that the height is unknown
    if prior.surface_height is None or (digest and prior.digest != digest):
        return None
    return np.asarray(prior.surface_height, float), prior.spec.latitude, prior.spec.longitude


def select_on_grid(height: xr.DataArray | None, latitude: Array, longitude: Array) -> Array | None:
    """The part of a height field with these rows and columns (latitude, longitude); None where it lacks some."""
    if height is None:
        return None
    rows = find_positions(latitude, height["latitude"].values.tolist())
    columns = find_positions(longitude, height["longitude"].values.tolist(), 360)
    if rows is None or columns is None:
        return None
    return np.asarray(height.values[np.ix_(rows, columns)], float)
