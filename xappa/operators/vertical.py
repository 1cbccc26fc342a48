r"""Levels round a pressure: linear in its logarithm, and hydrostatic beyond the ends where that is wanted.

Below the lowest level :math:`p_b` temperature grows with the standard lapse rate :math:`\Gamma`, above the highest
:math:`p_t` it stays; wind and humidity stay at both ends. With :math:`\kappa = R \Gamma / g`, geopotential follows,

.. math::
   T(p) = T_b \, (p / p_b)^\kappa, \qquad
   \Phi(p) = \Phi_b - \frac{g T_b}{\Gamma} \left( (p / p_b)^\kappa - 1 \right), \qquad
   \Phi(p) = \Phi_t + R T_t \ln (p_t / p),

all linear in the state.

References
----------
Wallace and Hobbs (2006), Atmospheric Science, 2nd ed., section 3.2.2 (hypsometric equation).
"""

from __future__ import annotations

import numpy as np

from xappa._typing import Array
from xappa.grids.bilinear import bracket
from xappa.model.state import StateSpec
from xappa.observations.formulas import DRY_GAS, STANDARD_GRAVITY
from xappa.standard_atmosphere import LAPSE_RATE

EXTRAPOLATIONS = ("refuse", "hydrostatic")
LOWEST = 1100.0  # hPa; below that there is no atmosphere


def interpolate_levels(
    spec: StateSpec, name: str, pressure: Array, extrapolate: str = "refuse", nearest: bool = False
) -> tuple[Array, Array, Array]:
    """Channels and weights that make up a variable at pressures.

    Parameters
    ----------
    spec : StateSpec
    name : str
        Variable on pressure levels.
    pressure : array of float, (N,)
        hPa; NaN where unknown.
    extrapolate : {"refuse", "hydrostatic"}
        What happens beyond the levels. Hydrostatic values end at 1100 hPa, and at half the pressure of the top level.
    nearest : bool
        Take the nearest level alone.

    Returns
    -------
    channel : array of int, (N, K)
    weight : array of float, (N, K)
    inside : array of bool, (N,)
    """
    channels, levels = np.array(spec.of(name)), np.array(spec.levels_of(name), float)
    order = np.argsort(levels)
    channels, levels = channels[order], levels[order]
    top, bottom = levels[0], levels[-1]
    inside = (pressure >= top * (1 - 1e-6)) & (pressure <= bottom * (1 + 1e-6))
    index, weight = bracket(np.log(levels), np.log(np.where(np.isfinite(pressure) & (pressure > 0), pressure, top)))
    channel, weight = channels[index], np.round(weight) if nearest else weight
    if extrapolate == "refuse" or nearest:
        return channel, weight, inside
    below = (pressure > bottom * (1 + 1e-6)) & (pressure <= LOWEST)
    above = (pressure < top * (1 - 1e-6)) & (pressure >= top / 2)
    ratio = np.where(below, pressure / bottom, 1.0) ** (DRY_GAS * LAPSE_RATE / STANDARD_GRAVITY)
    if name == "temperature":
        return channel, weight * ratio[:, None], inside | below | above
    if name == "geopotential":
        ends = [
            ("temperature", int(level)) if level == int(level) else ("temperature", level) for level in (bottom, top)
        ]
        if not all(end in spec.channels for end in ends):
            return channel, weight, inside
        lower, upper = (spec.channels.index(end) for end in ends)  # type: ignore[arg-type]
        thickness = np.where(below, -STANDARD_GRAVITY / LAPSE_RATE * (ratio - 1), 0.0)
        thickness = np.where(above, DRY_GAS * np.log(top / np.where(above, pressure, top)), thickness)
        channel = np.column_stack([channel, np.where(below, lower, upper)])
        weight = np.column_stack([weight, thickness])
    return channel, weight, inside | below | above
