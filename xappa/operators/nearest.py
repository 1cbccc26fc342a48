"""Reports read off the nearest point, or off the points that they are at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import xarray as xr
from scipy.spatial import cKDTree

from xappa._typing import Array
from xappa.errors import ObservationError
from xappa.geometry import to_unit_vectors
from xappa.grids.bilinear import InterpolationWeights, compute_bilinear_weights
from xappa.model.state import StateSpec
from xappa.operators.base import OPERATORS
from xappa.operators.geometry import Geometry, describe_geometry


@OPERATORS.register("nearest")
@dataclass(frozen=True, repr=False)
class Nearest(Geometry):
    """The value of the grid point that is nearest on the sphere, of the nearest level (in log-pressure) and time.

    Parameters
    ----------
    lapse_rate, extrapolate
        See `Geometry`.
    """

    @property
    def nearest(self) -> bool:
        """Whether the nearest level and time are read."""
        return True

    def places(self, obs: xr.Dataset, spec: StateSpec) -> InterpolationWeights:
        """The nearest grid point of each report inside the grid."""
        latitude, longitude = (np.asarray(obs[name].values, float) for name in ("latitude", "longitude"))
        inside = compute_bilinear_weights(latitude, longitude, spec.latitude, spec.longitude).inside
        point = to_unit_vectors(np.nan_to_num(latitude), np.nan_to_num(longitude))
        cell = _build_tree(spec.latitude, spec.longitude).query(point)[1][:, None]
        return InterpolationWeights(cell, np.ones(cell.shape), np.zeros(cell.shape, bool), inside)

    def describe(self) -> str:
        """Description of the operator."""
        return describe_geometry(self, "the nearest grid point, level and time")


@OPERATORS.register("grid")
@dataclass(frozen=True, repr=False, kw_only=True)
class GridPoints(Geometry):
    """The field itself, for gridded observations on the model's own grid points; linear in log-pressure and in time.

    Parameters
    ----------
    lapse_rate : float or None, default None
        Gridded temperatures belong to the grid's own surface, and are not corrected.
    extrapolate
        See `Geometry`.
    """

    lapse_rate: float | None = None

    def places(self, obs: xr.Dataset, spec: StateSpec) -> InterpolationWeights:
        """The grid point that each report is at; those that are at none are masked.

        Raises
        ------
        ObservationError
            If none is at a grid point.
        """
        latitude, longitude = (np.asarray(obs[name].values, float) for name in ("latitude", "longitude"))
        row, on_row = _find_nearest_node(latitude, np.array(spec.latitude), None)
        column, on_column = _find_nearest_node(longitude, np.array(spec.longitude), 360.0)
        inside = on_row & on_column
        if len(inside) and not inside.any():
            raise ObservationError(
                f"None of {len(inside)} observations is at a point of the model's grid ({len(spec.latitude)} x "
                f"{len(spec.longitude)} points), as operator 'grid' expects: use 'interpolate' or 'footprint', or "
                "bring them onto the model's grid first"
            )
        cell = (row * len(spec.longitude) + column)[:, None]
        return InterpolationWeights(cell, np.ones(cell.shape), np.zeros(cell.shape, bool), inside)

    def describe(self) -> str:
        """Description of the operator."""
        return describe_geometry(self, "the field itself, at its grid points")


@lru_cache(maxsize=4)
def _build_tree(latitude: tuple[float, ...], longitude: tuple[float, ...]) -> cKDTree:
    rows, columns = np.meshgrid(latitude, longitude, indexing="ij")
    return cKDTree(to_unit_vectors(rows.ravel(), columns.ravel()))


def _find_nearest_node(values: Array, nodes: Array, period: float | None) -> tuple[Array, Array]:
    """Nearest node of each value, and whether it is that node to within a hundredth of the nodes' distance."""
    wrapped = nodes if period is None else nodes % period
    order = np.argsort(wrapped)
    ascending = wrapped[order]
    x = np.nan_to_num(values, nan=1e9) if period is None else np.nan_to_num(values, nan=0.0) % period
    if period is not None:
        ascending, order = np.append(ascending, ascending[0] + period), np.append(order, order[0])
    after = np.clip(np.searchsorted(ascending, x), 1, max(len(ascending) - 1, 1)) if len(ascending) > 1 else 0 * x
    after = after.astype(int)
    before = np.maximum(after - 1, 0)
    closer = np.where(np.abs(x - ascending[before]) <= np.abs(x - ascending[after]), before, after)
    tolerance = 0.01 * np.diff(ascending).min() if len(ascending) > 1 else 1e-3
    return order[closer], (np.abs(x - ascending[closer]) <= tolerance) & np.isfinite(values)
