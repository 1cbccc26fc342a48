"""Reports read off a state: bilinear on the sphere, linear in log-pressure and in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from xappa.grids.bilinear import InterpolationWeights
from xappa.model.state import StateSpec
from xappa.operators.base import OPERATORS
from xappa.operators.composite import CompositeOperator
from xappa.operators.context import StateContext
from xappa.operators.corner_weights import HashablePlaces, get_corner_weights
from xappa.operators.geometry import Geometry, describe_geometry
from xappa.operators.heights import LAPSE_RATE, compute_standard_height
from xappa.operators.sparse import SparseOperator, concatenate

__all__ = ["LAPSE_RATE", "Interpolate", "interpolate", "compute_standard_height"]


@OPERATORS.register("interpolate")
@dataclass(frozen=True, repr=False)
class Interpolate(Geometry):
    """Bilinear on the sphere, linear in the logarithm of pressure and in time.

    Space is bilinear across the date line and over the poles, pressure linear in its logarithm, time linear between the
    two states; reports up to half a step before the first or after the last state take that state. 2 m temperature is
    brought from the model's surface to the station's height, and mean-sea-level pressure to that of a station where
    station pressure is reported and the model lacks it. Weights on cells without a value go to the other corners.

    Parameters
    ----------
    lapse_rate, extrapolate
        See `Geometry`.
    """

    def places(self, obs: xr.Dataset, spec: StateSpec) -> InterpolationWeights:
        """The four grid points round each report."""
        latitude, longitude = (np.asarray(obs[name].values, float) for name in ("latitude", "longitude"))
        return get_corner_weights(HashablePlaces(latitude, longitude), spec.latitude, spec.longitude)

    def describe(self) -> str:
        """What the operator does, in words."""
        return describe_geometry(self, "interpolated: bilinear, linear in log-pressure and in time")


def interpolate(
    obs: xr.Dataset, state: StateContext, lapse_rate: float | None = LAPSE_RATE
) -> tuple[SparseOperator, xr.Dataset]:
    """Where and how each report is read off a trajectory of states: `Interpolate` as a function.

    Parameters
    ----------
    obs, state
        See `Operator.__call__`. Without a surface height there is no height correction, with a warning.
    lapse_rate : float or None
        Decrease of temperature with height, K/m.

    Returns
    -------
    stencil : SparseOperator
        One row a report that is used; extremes over a period, which are no sums, are not among them.
    obs : Dataset
        The observations with ``<name>_flag`` for all quantities, and what was done about heights in the attrs
        ``height_correction`` and ``height_correction_unknown_altitude`` (number of reports).

    Raises
    ------
    ObservationError
        If no report lies inside the times, no quantity is one of the model's, or an error is missing.
    """
    found, seen = Interpolate(lapse_rate=lapse_rate)(obs, state)
    if isinstance(found, CompositeOperator):
        found = concatenate([part.stencil for part in found.blocks if part.extreme is None])
    return found, seen
