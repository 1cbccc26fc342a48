"""Observation operators H: from a trajectory of states to what an instrument would report."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import xarray as xr

from xappa.models.state import StateSpec
from xappa.operators.interpolate import interpolate
from xappa.operators.stencil import Stencil

__all__ = ["OPERATORS", "Geometry", "Stencil", "interpolate"]


class Geometry(Protocol):
    """What an operator of the registry does: it turns reports into the reading of a trajectory."""

    def __call__(
        self,
        obs: xr.Dataset,
        spec: StateSpec,
        times: np.ndarray,
        surface_height: np.ndarray | None = None,
        *,
        mask: np.ndarray | None = None,
    ) -> tuple[Stencil, xr.Dataset]:
        """Stencil of the reports that can be read, and the observations with their flags."""


OPERATORS: dict[str, Geometry] = {"interpolate": interpolate}
