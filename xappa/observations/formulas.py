"""Formulas between what is reported and what models carry.

Arrays may be NumPy's, Dask's or xarray's; shapes broadcast.

References
----------
.. [1] Ambaum (2020), Accurate, simple equation for saturated vapour pressure over water and ice, Q. J. R. Meteorol.
   Soc. 146, 4252-4258, https://doi.org/10.1002/qj.3899, equation 13.
.. [2] WMO-No. 8, Guide to Instruments and Methods of Observation, volume I: chapters on atmospheric pressure
   (reduction to mean sea level) and on humidity.
.. [3] WMO-No. 8, the same chapter, and the U.S. Standard Atmosphere, 1976 (altimeter setting).
.. [4] WMO-No. 49, Technical Regulations: standard gravity 9.80665 m s-2 in the definition of the geopotential metre.
.. [5] ICAO Doc 7488, Manual of the ICAO Standard Atmosphere, third edition, 1993.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xappa.standard_atmosphere import LAPSE_RATE, SEA_LEVEL_TEMPERATURE, TROPOPAUSE_HEIGHT, TROPOPAUSE_TEMPERATURE

STANDARD_GRAVITY = 9.80665  # m s-2
DRY_GAS = 287.0474  # J kg-1 K-1
KAPPA = 2.0 / 7.0
RATIO = 0.622  # of the molar masses of water and dry air


def saturation_vapour_pressure(temperature: Any) -> Any:
    """Saturation vapour pressure over water [1]_, as stations report humidity at all temperatures [2]_.

    Parameters
    ----------
    temperature : array
        K.

    Returns
    -------
    array
        Pa.
    """
    triple, pressure, latent = 273.16, 611.2, 2.50084e6
    vapour_gas, vapour_heat, liquid_heat = 461.5231, 1860.0784, 4219.4
    excess = liquid_heat - vapour_heat
    at_temperature = latent - excess * (temperature - triple)
    exponent = (latent / triple - at_temperature / temperature) / vapour_gas
    return pressure * (triple / temperature) ** (excess / vapour_gas) * np.exp(exponent)


def specific_humidity(dewpoint: Any, pressure: Any) -> Any:
    """Specific humidity (kg kg-1) from dew point (K) and pressure (Pa): ``q = r e / (p - (1 - r) e)`` [2]_."""
    vapour = saturation_vapour_pressure(dewpoint)
    return RATIO * vapour / (pressure - (1.0 - RATIO) * vapour)


def specific_humidity_of_relative(relative: Any, temperature: Any, pressure: Any) -> Any:
    """Specific humidity (kg kg-1) from relative humidity over water (0 to 1), temperature (K), pressure (Pa) [2]_."""
    vapour = relative * saturation_vapour_pressure(temperature)
    return RATIO * vapour / (pressure - (1.0 - RATIO) * vapour)


def temperature_of_potential(potential: Any, pressure: Any) -> Any:
    """Temperature (K) from potential temperature (K, with reference to 1000 hPa) and pressure (Pa)."""
    return potential * (pressure / 1e5) ** KAPPA


def geopotential(height: Any) -> Any:
    """Geopotential (m2 s-2) from geopotential height (m) [4]_."""
    return STANDARD_GRAVITY * height


def station_pressure(altimeter: Any, altitude: Any) -> Any:
    """Pressure (Pa) at a station of height `altitude` (m) from its altimeter setting (Pa) [3]_.

    The altimeter setting is what makes an altimeter, which is built for the standard atmosphere, show the height.
    """
    exponent = LAPSE_RATE * DRY_GAS / STANDARD_GRAVITY
    return (altimeter**exponent - 101325.0**exponent * LAPSE_RATE * altitude / 288.0) ** (1.0 / exponent)


def sea_level_pressure(pressure: Any, temperature: Any, altitude: Any) -> Any:
    """Pressure at mean sea level (Pa) from that at a station (Pa), its temperature (K) and height (m) [2]_.

    The column below the station has its temperature and half the standard lapse rate's growth; humidity, which adds
    some 0.1 hPa at 300 m, is left out.
    """
    column = temperature + LAPSE_RATE * altitude / 2.0
    return pressure * np.exp(STANDARD_GRAVITY * altitude / (DRY_GAS * column))


def standard_pressure(height: Any) -> Any:
    """Pressure (Pa) at a height (m, up to 20 km) in the standard atmosphere: a flight level as what it is [5]_."""
    troposphere = 101325.0 * (1.0 - LAPSE_RATE / SEA_LEVEL_TEMPERATURE * height) ** (
        STANDARD_GRAVITY / (287.05287 * LAPSE_RATE)
    )
    above = 22632.06 * np.exp(-STANDARD_GRAVITY * (height - TROPOPAUSE_HEIGHT) / (287.05287 * TROPOPAUSE_TEMPERATURE))
    return np.where(height < TROPOPAUSE_HEIGHT, troposphere, above)
