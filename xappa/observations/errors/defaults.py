r"""Error deviations of last resort: of the default table, and of what is implied by it.

What is reported in another form than the table's has the error that makes the table's of it, by the derivative of the
formula between them (JCGM 100:2008, 5.1.2):

.. math:: \sigma_x = \sigma_{f(x)} / |\partial f / \partial x| .

Near the ground, dew point and specific humidity have the error of the relative humidity at the reported temperature; of
a dew point without one, the humidity is taken as 0.7. What nothing is known of gets no error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import numpy as np
import xarray as xr

from xappa.errors import MissingErrorWarning, warn
from xappa.observations import formulas
from xappa.observations.convert import CONVERSIONS, fill_derived_errors
from xappa.observations.errors.tables import Errors, interpolate_deviation, observation_errors, with_errors
from xappa.observations.flags import Flag, flags_of
from xappa.observations.names import find_quantity
from xappa.observations.schema import quantities, set_error

DEFAULT_ERRORS = "ecmwf-like"
"""Table that is taken where neither reports nor the caller tell."""

TYPICAL_HUMIDITY = 0.7
"""Relative humidity of a dew point whose temperature is not reported: an order of magnitude."""

_DEWPOINT, _TEMPERATURE, _PRESSURE = "2m_dewpoint_temperature", "2m_temperature", "surface_pressure"
_HUMIDITY, _RELATIVE = "2m_specific_humidity", "2m_relative_humidity"


def with_default_errors(obs: xr.Dataset, error: Errors | None = None) -> xr.Dataset:
    """Errors that the reports bring, then those of `error`, of the default table, and implied by that.

    Parameters
    ----------
    obs : Dataset
        Observations in the schema.
    error : mapping, str or float, optional
        See `with_errors`.

    Returns
    -------
    Dataset
        The same with ``<name>_error`` for every quantity of which something is known.
    """
    obs = with_errors(obs, DEFAULT_ERRORS if error is None else error)
    if error is not None and error != DEFAULT_ERRORS:
        obs = with_errors(obs, DEFAULT_ERRORS)
    table = observation_errors(DEFAULT_ERRORS)
    for conversion in CONVERSIONS:
        name, *others = conversion.sources
        if not others and conversion.target in table and conversion.is_possible(obs):
            target = interpolate_deviation(obs, table[conversion.target])
            obs = _fill_errors(obs, name, target / np.abs(conversion.compute_slope(obs, 0)))
    if _DEWPOINT in obs:
        obs = _fill_errors(obs, _DEWPOINT, _convert_humidity_error(obs, table[_RELATIVE]))
    obs = fill_derived_errors(obs)
    if {_HUMIDITY, _TEMPERATURE, _PRESSURE} <= set(obs):
        most = formulas.specific_humidity_of_relative(1.0, obs[_TEMPERATURE], obs[_PRESSURE])
        obs = _fill_errors(obs, _HUMIDITY, interpolate_deviation(obs, table[_RELATIVE]) * most)
    return obs


def format_errors(error: Errors) -> str:
    """Error deviations as JSON, for the attributes of an analysis; `fill_errors_from_text` reads it."""
    return json.dumps(error, default=float)


def fill_errors_from_text(obs: xr.Dataset, text: str) -> xr.Dataset:
    """Observations with the deviations that this text of `format_errors` states, where they bring none."""
    error = json.loads(text)
    known = quantities(obs)
    if isinstance(error, Mapping):
        error = {name: by for name, by in error.items() if name in known or find_quantity(name) in known}
    elif not isinstance(error, str) and len(known) != 1:
        return obs
    return with_default_errors(obs, error)


def _convert_humidity_error(obs: xr.Dataset, humidity: float | Mapping[float, float]) -> xr.DataArray:
    """Error of a dew point that is one of `humidity` in relative humidity, e(Td) / e(T)."""
    dewpoint = obs[_DEWPOINT]
    pressure, step = formulas.saturation_vapour_pressure, 1e-2
    slope = (pressure(dewpoint + step) - pressure(dewpoint - step)) / (2 * step)
    saturated = pressure(dewpoint) / TYPICAL_HUMIDITY
    if _TEMPERATURE in obs:
        saturated = pressure(obs[_TEMPERATURE]).fillna(saturated)
    return interpolate_deviation(obs, humidity) * saturated / slope


def _fill_errors(obs: xr.Dataset, name: str, error: xr.DataArray) -> xr.Dataset:
    error, own = error.where(obs[name].notnull()).reset_coords(drop=True), obs.get(f"{name}_error")
    return set_error(obs, name, error if own is None else own.where(own > 0).fillna(error))


def count_without_error(obs: xr.Dataset) -> dict[str, int]:
    """Number of reports by quantity that are left out because no error of them is known."""
    counts = {name: int((flags_of(obs, name) == Flag.NO_ERROR).sum()) for name in quantities(obs)}
    return {name: count for name, count in counts.items() if count}


def warn_without_error(obs: xr.Dataset, names: Iterable[str], already_warned: set[str] | None = None) -> None:
    """Say, in one warning, which quantities are left out because no error of them is known.

    Parameters
    ----------
    obs : Dataset
        Observations in the schema.
    names : iterable of str
        The quantities.
    already_warned : set of str, optional
        Quantities of which it was said before; those of which it is said now are added.
    """
    already_warned = set() if already_warned is None else already_warned
    left = [name for name in names if name not in already_warned]
    already_warned.update(left)
    if left:
        units = {name: obs[name].attrs.get("units", "its units") for name in left}
        listed = ", ".join(f"{name} (in {unit})" for name, unit in units.items())
        warn(
            f"Reports are left out, flagged no_error, as nothing tells the deviations of their errors: {listed}. Give "
            f"them: error={{{left[0]!r}: ...}}, or a variable {left[0]}_error",
            MissingErrorWarning,
        )
