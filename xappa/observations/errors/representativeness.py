r"""Errors of representativeness, by grid spacing: a report holds scales that a model's grid cannot.

Between two places at a distance r a quantity differs by :math:`D(r) = E[(x_1 - x_2)^2] = a \, (r / 300 km)^p`. What
remains of it in a square of side L after its best linear fit (which a bilinear reading recovers) has the variance
:math:`k(p) \, a \, (L / 300 km)^p`, with k from the double integral of D over the square, projected off planes.

a and p were fitted to pairs of reports 5 to 500 km apart (150 to 900 km aloft), after range checks, with differences
beyond four robust deviations left out and a constant for the instruments' errors near the ground: temperature (reduced
to sea level by 6.5 K/km, stations below 1000 m), pressure, wind and humidity of 7,800 SYNOP reports (global,
2018-11-02 12 UTC) and 420 radiosondes (global, 2008-12-08 12 UTC). They are of two dates and mostly of land: take
them as scales, within some 30 %.

References
----------
.. [1] Janjic et al. (2018), On the representation error in data assimilation, Q. J. R. Meteorol. Soc. 144, 1257-1278,
   https://doi.org/10.1002/qj.3130.
.. [2] Representativeness from structure functions is after Frehlich (2006), Adaptive data assimilation including the
   effect of spatial variations in observation error, Q. J. R. Meteorol. Soc. 132; the numbers here are not his.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.argument_types import check_arguments
from xappa.errors import OptionError
from xappa.observations.schema import quantities, set_error

KM_PER_DEGREE = 111.2
_REFERENCE = 300.0  # km

# p, and k(p) on a grid of 24 x 24 points.
_EXPONENTS = (0.5, 0.67, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0)
_REMAINDERS = (0.2424, 0.1898, 0.1552, 0.1128, 0.0795, 0.0529, 0.0315, 0.0142, 0.0)

_LEVELS = (1000.0, 850.0, 700.0, 500.0, 300.0, 250.0, 100.0)
_NEAR: dict[str, tuple[float, float]] = {
    "2m_temperature": (9.4, 1.01),
    "maximum_2m_temperature": (9.4, 1.01),
    "minimum_2m_temperature": (9.4, 1.01),
    "2m_dewpoint_temperature": (14.9, 1.15),
    "2m_specific_humidity": (2.1e-6, 0.98),
    "mean_sea_level_pressure": (8.4e4, 1.62),
    "surface_pressure": (8.4e4, 1.62),
    "10m_u_component_of_wind": (4.3, 0.97),
    "10m_v_component_of_wind": (4.3, 0.97),
    "10m_wind_speed": (4.3, 0.97),
}
_WIND = ((12.7, 27.7, 23.9, 33.6, 76.0, 73.6, 26.2), (0.80, 0.99, 1.06, 1.44, 1.40, 1.43, 0.90))
# Of humidity the fitted exponents are those of noise: two thirds at least.
_ALOFT: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "temperature": ((18.2, 10.4, 9.05, 7.31, 4.51, 5.29, 6.46), (1.17, 1.63, 1.33, 1.38, 1.33, 1.12, 1.07)),
    "u_component_of_wind": _WIND,
    "v_component_of_wind": _WIND,
    "wind_speed": _WIND,
    "geopotential": (
        (7.29e4, 7.18e4, 1.17e5, 3.0e5, 7.04e5, 7.56e5, 4.26e5),
        (1.70, 1.68, 1.72, 1.58, 1.55, 1.57, 1.64),
    ),
    "specific_humidity": (
        (3.3e-6, 1.4e-6, 1.2e-6, 2.0e-7, 2.3e-9, 3.7e-10, 3.1e-10),
        (0.67, 0.95, 0.67, 0.73, 0.67, 0.67, 0.67),
    ),
}


def estimate_representativeness(name: str, spacing: float | Array, level: float | Array | None = None) -> Array:
    """Standard deviation of the error of representativeness.

    Parameters
    ----------
    name : str
        Quantity.
    spacing : float or array
        Side of a grid cell, km.
    level : float or array, optional
        Pressure, hPa, of upper-air quantities.

    Returns
    -------
    array
        In the units of the vocabulary; 0 for quantities of which nothing is known here.
    """
    if name in _NEAR:
        scale, exponent = _NEAR[name]
    elif name in _ALOFT and level is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            where, nodes = np.log(np.asarray(level, float)), np.log(_LEVELS[::-1])
        scales, exponents = _ALOFT[name]
        scale = np.exp(np.interp(where, nodes, np.log(scales[::-1])))
        exponent = np.interp(where, nodes, exponents[::-1])
    else:
        return np.zeros(np.broadcast(spacing, 0.0 if level is None else level).shape)
    remainder = np.interp(exponent, _EXPONENTS, _REMAINDERS)
    return np.sqrt(remainder * scale * (np.asarray(spacing, float) / _REFERENCE) ** exponent)


def compute_grid_spacing(grid: float | xr.Dataset | xr.DataArray, latitude: Array) -> Array:
    """Side, km, of the grid's cells at latitudes: the square root of their area.

    Parameters
    ----------
    grid : float, Dataset or DataArray
        Degrees between grid points, or a grid with one-dimensional latitude and longitude.
    latitude : array
        Degrees north.
    """
    if isinstance(grid, xr.Dataset | xr.DataArray):
        steps = []
        for names in (("latitude", "lat"), ("longitude", "lon")):
            axis = next((grid[name] for name in names if name in grid.coords), None)
            if axis is None or axis.ndim != 1 or axis.size < 2:
                raise OptionError(f"The grid needs a one-dimensional {names[0]} of two points and more; found {axis}")
            steps.append(float(np.median(np.abs(np.diff(axis.to_numpy())))))
    else:
        if not grid > 0:
            raise OptionError(f"A grid spacing of {grid} degrees; expected a number above 0, or a Dataset")
        steps = [float(grid)] * 2
    narrowing = np.cos(np.deg2rad(np.clip(np.abs(latitude), 0.0, 80.0)))
    return KM_PER_DEGREE * np.sqrt(steps[0] * steps[1] * narrowing)


@check_arguments
def with_representativeness(
    obs: xr.Dataset, grid: float | xr.Dataset | xr.DataArray, *, included: float = 0.0
) -> xr.Dataset:
    r"""Add the error of representativeness for a grid to errors that are there.

    Parameters
    ----------
    obs : Dataset
        Observations in the schema, with errors.
    grid : float, Dataset or DataArray
        Degrees between grid points, or the grid.
    included : float, default 0.0
        km: side of the cells whose error of representativeness the errors have already (40 for ``"ecmwf-like"``).

    Returns
    -------
    Dataset
        The same with :math:`\sqrt{\sigma^2 + r(L)^2 - r(included)^2}`, never less than :math:`\sigma`, and the
        attribute ``representativeness_km`` on each error that changed.

    Raises
    ------
    OptionError
        If the grid makes no sense, or an error has it already.
    """
    side = compute_grid_spacing(grid, np.asarray(obs["latitude"], float))
    level = np.asarray(obs["level"], float) if "level" in obs.coords else None
    for name in quantities(obs):
        error = obs.get(f"{name}_error")
        if error is None or not (name in _NEAR or (name in _ALOFT and level is not None)):
            continue
        if "representativeness_km" in error.attrs:
            raise OptionError(f"{name}_error has its error of representativeness already; expected errors without")
        more = (
            estimate_representativeness(name, side, level) ** 2
            - estimate_representativeness(name, included, level) ** 2
        )
        total = (error**2 + np.nan_to_num(np.maximum(more, 0.0))) ** 0.5
        obs = set_error(obs, name, total)
        obs[f"{name}_error"].attrs["representativeness_km"] = float(np.nanmedian(side))
    return obs


def inflate_errors(
    table: Mapping[str, float | dict[float, float]], grid: float, included: float
) -> dict[str, float | dict[float, float]]:
    """A table of deviations with representativeness added, at 45 degrees of latitude."""
    side = float(compute_grid_spacing(grid, np.array(45.0)))

    def add(name: str, deviation: float, level: float | None) -> float:
        more = (
            estimate_representativeness(name, side, level) ** 2
            - estimate_representativeness(name, included, level) ** 2
        )
        return float(np.sqrt(deviation**2 + max(float(more), 0.0)))

    result: dict[str, float | dict[float, float]] = {}
    for name, deviation in table.items():
        if isinstance(deviation, Mapping):
            result[name] = {level: add(name, value, level) for level, value in deviation.items()}
        else:
            result[name] = add(name, deviation, None)
    return result
