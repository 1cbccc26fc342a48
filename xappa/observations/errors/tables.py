"""Error deviations of reports: named tables, and whatever the caller says."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np
import xarray as xr

from xappa.argument_types import check_arguments
from xappa.errors import OptionError, UnitsError, is_number, suggest_names
from xappa.observations.convert import fill_derived_errors
from xappa.observations.derive import list_winds, set_component_error
from xappa.observations.errors.representativeness import inflate_errors
from xappa.observations.names import QUANTITIES, find_quantity
from xappa.observations.schema import quantities, set_error
from xappa.observations.units import find_conversion

Deviation = float | str | Mapping[float, float] | Mapping[int, float]
"""A deviation in the vocabulary's units, one with units (``"1 K"``), or deviations by level (hPa)."""

Errors = Mapping[str, Deviation] | Mapping[str, float] | Deviation
"""Deviations by quantity, the name of a table, or one deviation for one quantity."""

_LEVELS = (1000, 850, 700, 500, 400, 300, 250, 200, 150, 100, 70, 50, 30, 20, 10)
_WIND = (2.3, 2.3, 2.5, 3.0, 3.5, 3.7, 3.5, 3.5, 3.4, 3.3, 3.2, 3.2, 3.3, 3.6, 4.5)
_TEMPERATURE = (1.7, 1.5, 1.3, 1.2, 1.2, 1.4, 1.5, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.2, 2.5)
_GEOPOTENTIAL = (42, 43, 51, 82, 96, 105, 116, 129, 149, 178, 191, 221, 245, 314, 392)
_HUMIDITY_LEVELS = (1000, 925, 850, 700, 600, 500, 400, 300)
_HUMIDITY = (1.7e-3, 1.4e-3, 1.1e-3, 7e-4, 4e-4, 2.5e-4, 1.1e-4, 7e-5)

TABLES: dict[str, dict[str, float | dict[float, float]]] = {
    "ecmwf-like": {
        "2m_temperature": 2.0,
        "maximum_2m_temperature": 2.0,
        "minimum_2m_temperature": 2.0,
        "10m_u_component_of_wind": 3.0,
        "10m_v_component_of_wind": 3.0,
        "10m_wind_speed": 3.0,
        "mean_sea_level_pressure": 100.0,
        "surface_pressure": 100.0,
        "temperature": dict(zip(_LEVELS, _TEMPERATURE, strict=True)),
        "u_component_of_wind": dict(zip(_LEVELS, _WIND, strict=True)),
        "v_component_of_wind": dict(zip(_LEVELS, _WIND, strict=True)),
        "wind_speed": dict(zip(_LEVELS, _WIND, strict=True)),
        "geopotential": dict(zip(_LEVELS, _GEOPOTENTIAL, strict=True)),
        "specific_humidity": dict(zip(_HUMIDITY_LEVELS, _HUMIDITY, strict=True)),
        "relative_humidity": {400: 0.17, 300: 0.28},
        "2m_relative_humidity": 0.17,
    },
    "speedy-twin": {
        "2m_temperature": 1.0,
        "10m_u_component_of_wind": 1.0,
        "10m_v_component_of_wind": 1.0,
        "10m_wind_speed": 1.0,
        "mean_sea_level_pressure": 100.0,
        "surface_pressure": 100.0,
        "temperature": 1.0,
        "u_component_of_wind": 1.0,
        "v_component_of_wind": 1.0,
        "wind_speed": 1.0,
        "specific_humidity": 1e-3,
    },
}


INCLUDED = {"ecmwf-like": 40.0}
"""km: side of the grid cells whose representativeness a table has already."""


@check_arguments
def observation_errors(name: str, *, grid: float | None = None) -> dict[str, float | dict[float, float]]:
    """A table of error deviations, in the units of the vocabulary.

    Parameters
    ----------
    name : str
        ``"ecmwf-like"``: land stations and radiosondes as ECMWF prescribed them in 2002, without representativeness for
        a coarser grid: 2 m temperature 2 K (taken for its extremes too), 10 m wind components 3 m/s, pressure 100 Pa (7
        gpm, about 80 Pa, rounded up), radiosondes by level (geopotential from gpm, rounded to 1 m2 s-2). A wind speed
        has the error of the components. Humidity was prescribed as relative humidity, 0.17 (0.28 below 233 K, here from
        300 hPa upwards; 0.17 is taken at 2 m too): for specific humidity times the saturation humidity of the standard
        atmosphere, rounded.
        ``"speedy-twin"``: what is usual in twin experiments with the SPEEDY model: 1 K, 1 m/s, 1 g/kg, 1 hPa.
    grid : float, optional
        Degrees between grid points of the model: adds what they cannot represent, beyond the 40 km of ECMWF's model of
        that time (nothing for the twin). See `representativeness`.

    Returns
    -------
    dict
        Quantity to deviation, or to deviations by level (hPa); a copy, to be changed at will.

    Raises
    ------
    OptionError
        If there is no such table.

    References
    ----------
    ECMWF (2003), IFS Documentation CY25R1, Part I: Observation processing, chapter 2 (Observations: types, variables
    and error statistics).
    Miyoshi (2005), Ensemble Kalman filter experiments with a primitive-equation global model, University of Maryland.
    """
    if name not in TABLES:
        raise OptionError(
            f"Unknown table of observation errors {name!r}; expected one of {', '.join(map(repr, TABLES))}"
            f"{suggest_names(name, TABLES)}"
        )
    table = {key: dict(value) if isinstance(value, dict) else value for key, value in TABLES[name].items()}
    return inflate_errors(table, grid, INCLUDED[name]) if grid is not None and name in INCLUDED else table


def with_errors(obs: xr.Dataset, error: Errors) -> xr.Dataset:
    """Fill in error deviations where the reports bring none.

    Parameters
    ----------
    obs : Dataset
        Observations in the schema.
    error : mapping, str or float
        Deviation by quantity (any known spelling; your own by their names), the name of a table, or one deviation if
        there is one quantity. A deviation is a number in the quantity's units, text with units (``"1 K"``), or a
        mapping from level (hPa) to numbers, taken linear in log-pressure and constant beyond its ends. One for a wind
        speed holds for the components that were derived from it, unless they have their own.

    Returns
    -------
    Dataset
        The same with ``<name>_error``; those that the reports brought are kept.

    Raises
    ------
    OptionError
        If a deviation is not above zero, a quantity or table is unknown, or one deviation is given for several.
    """
    for name, deviation in _resolve_deviations(obs, error).items():
        if name not in quantities(obs):
            continue
        filled = interpolate_deviation(obs, deviation).where(obs[name].notnull())
        own = obs.get(f"{name}_error")
        obs = set_error(obs, name, filled if own is None else own.where(own > 0).fillna(filled))
    return _fill_derived_errors(obs)


def _fill_derived_errors(obs: xr.Dataset) -> xr.Dataset:
    """Errors of derived reports that have none of their own, from those of what they were derived from."""
    for wind in list_winds(obs):
        for name in wind.components:
            if name in obs and wind.speed in obs[name].attrs.get("derived_from", "").split():
                obs = set_component_error(obs, wind, name, obs[name].notnull())
    return fill_derived_errors(obs)


def _resolve_deviations(obs: xr.Dataset, error: Errors) -> dict[str, float | Mapping[float, float]]:
    if isinstance(error, str) and not re.match(r"\s*[-+.\d]", error):
        return dict(observation_errors(error))
    if not isinstance(error, Mapping):
        reported = [name for name in quantities(obs) if "derived_from" not in obs[name].attrs] or quantities(obs)
        if len(reported) != 1:
            raise OptionError(
                f"error={error!r} is one deviation for {len(reported)} quantities ({', '.join(reported)}), which is "
                f"ambiguous. Give one each, as in error={{'{reported[0]}': {error!r}}}, or the name of a table"
            )
        error = {reported[0]: error}
    problems: list[str] = []
    result: dict[str, float | Mapping[float, float]] = {}
    for key, deviation in error.items():
        name = str(key) if str(key) in quantities(obs) else find_quantity(str(key))
        if name is None:
            problems.append(f"{key!r} is no known quantity{suggest_names(str(key), QUANTITIES)}")
            continue
        try:
            units = QUANTITIES[name].units if name in QUANTITIES else str(obs[name].attrs.get("units", ""))
            result[name] = _parse_deviations(deviation, units)
        except (OptionError, UnitsError) as problem:
            problems.append(f"{key}: {problem}")
    if problems:
        raise OptionError(f"error= is not understood: {'; '.join(problems)}")
    return result


def _parse_deviations(deviation: Deviation, units: str) -> float | Mapping[float, float]:
    if isinstance(deviation, Mapping):
        return {float(level): _parse_deviation(value, units) for level, value in sorted(deviation.items())}
    return _parse_deviation(deviation, units)


def _parse_deviation(deviation: float | str, expected: str) -> float:
    value: object = deviation
    if isinstance(deviation, str) and (match := re.fullmatch(r"\s*([-+.\deE]+)\s*(.*)", deviation)):
        number, units = match.groups()
        try:
            value = find_conversion(units.strip() or expected, expected).convert_deviation(float(number))
        except ValueError as error:
            raise OptionError(f"{deviation!r} ({error})") from error
    if not (is_number(value) or isinstance(value, float)):
        raise OptionError(f"{deviation!r} is no deviation; expected a number, text such as '1 K', or numbers by level")
    if not (math.isfinite(value) and value > 0):
        raise OptionError(f"{deviation!r} is no deviation; expected a number above zero")
    return float(value)


def interpolate_deviation(obs: xr.Dataset, deviation: float | Mapping[float, float]) -> xr.DataArray:
    """A deviation, or one by level (hPa, linear in log-pressure), at each report: shape (obs,)."""
    if isinstance(deviation, Mapping):
        levels = np.array(sorted(deviation))
        values = np.array([deviation[level] for level in levels])
        level = np.asarray(obs["level"]) if "level" in obs.coords else np.full(obs.sizes["obs"], np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            return xr.DataArray(np.interp(np.log(level), np.log(levels), values), dims="obs")
    return xr.DataArray(np.full(obs.sizes["obs"], deviation), dims="obs")
