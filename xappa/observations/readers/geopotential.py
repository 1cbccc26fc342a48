"""Geopotential or height: values called ``z`` on levels, whose units nothing tells."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xappa.errors import UnitsError
from xappa.observations.assumptions import UNITS_ASSUMED
from xappa.observations.formulas import STANDARD_GRAVITY, standard_pressure

_NAME = "geopotential"
_HIGHEST_PRESSURE = 850.0
"""hPa above which weather changes the height of a level by more than the two readings differ."""


def refuse_heights(obs: xr.Dataset) -> None:
    """Complain about a geopotential without units whose values are heights in metres.

    Both are compared with the height of their level in the standard atmosphere, from which geopotential and height
    differ by a factor of 9.8. Lazy values are not looked at, nor levels near the ground.

    Parameters
    ----------
    obs : Dataset
        Observations in the schema.

    Raises
    ------
    UnitsError
        If they fit heights better.
    """
    if _NAME not in str(obs.attrs.get(UNITS_ASSUMED, "")).split() or _NAME not in obs or obs[_NAME].chunks is not None:
        return
    high = (obs["level"] <= _HIGHEST_PRESSURE).values & obs[_NAME].notnull().values
    if not high.any():
        return
    values, level = obs[_NAME].values[high], obs["level"].values[high]
    as_height, as_geopotential = (
        np.median(np.abs(np.log(standard_pressure(height) / (100.0 * level))))
        for height in (values, values / STANDARD_GRAVITY)
    )
    if as_height < as_geopotential:
        raise UnitsError(
            f"{_NAME}: values of {values.min():g} to {values.max():g} on levels of {level.min():g} to {level.max():g} "
            "hPa are heights in m, and no units are given. Expected m2 s-2: say units={'z': 'm'}"
        )
