"""Standard atmosphere up to 20 km: a troposphere with a constant lapse rate, and an isothermal layer above it.

References
----------
ICAO, Manual of the ICAO Standard Atmosphere, Doc 7488, 3rd ed., 1993; U.S. Standard Atmosphere, 1976, NASA-TM-X-74335,
equations 33a and 33b. Up to 32 km both are the same.
"""

from __future__ import annotations

import numpy as np

from xappa._typing import Array

GRAVITY = 9.80665
"""Acceleration of gravity, m s-2."""
GAS_CONSTANT = 287.053
"""Specific gas constant of dry air, J kg-1 K-1."""
LAPSE_RATE = 0.0065
"""Decrease of temperature with height in the troposphere, K m-1."""
SEA_LEVEL_TEMPERATURE = 288.15
"""K."""
SEA_LEVEL_PRESSURE = 1013.25
"""hPa."""
TROPOPAUSE_HEIGHT = 11000
"""m."""
TROPOPAUSE_TEMPERATURE = 216.65
"""K."""
TROPOPAUSE_PRESSURE = 226.32
"""hPa."""
LOWEST_HEIGHT = -1000
"""m; pressures of lower places are those of this height."""


def compute_standard_height(pressure: Array) -> Array:
    """Height of a pressure in the standard atmosphere.

    Parameters
    ----------
    pressure : array
        hPa.

    Returns
    -------
    array
        m; above 20 km too low, as the stratosphere is taken isothermal throughout.
    """
    gas_over_gravity = GAS_CONSTANT / GRAVITY
    ratio = pressure / SEA_LEVEL_PRESSURE
    troposphere = SEA_LEVEL_TEMPERATURE / LAPSE_RATE * (1 - ratio ** (LAPSE_RATE * gas_over_gravity))
    above = TROPOPAUSE_TEMPERATURE * gas_over_gravity * np.log(TROPOPAUSE_PRESSURE / pressure)
    return np.where(pressure > TROPOPAUSE_PRESSURE, troposphere, TROPOPAUSE_HEIGHT + above)


def compute_standard_pressure(height: Array) -> Array:
    """Pressure (hPa) at heights (m) below 11 km: the inverse of `compute_standard_height`."""
    exponent = GRAVITY / (LAPSE_RATE * GAS_CONSTANT)
    inside = np.clip(height, LOWEST_HEIGHT, TROPOPAUSE_HEIGHT)
    return SEA_LEVEL_PRESSURE * (1 - LAPSE_RATE * inside / SEA_LEVEL_TEMPERATURE) ** exponent
