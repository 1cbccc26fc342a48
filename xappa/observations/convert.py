r"""Quantities that models carry, from those that are reported; what was reported stays beside what was derived.

Errors follow by the derivative: with independent errors of the sources, the variance of :math:`f(x_1, x_2, ...)` is
:math:`\sum_i (\partial f / \partial x_i)^2 \sigma_i^2` (JCGM 100:2008, Guide to the expression of uncertainty in
measurement, 5.1.2), the derivatives by central differences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from xappa.observations import formulas
from xappa.observations.flags import Flag, flags_of, with_flag, with_reasons
from xappa.observations.names import QUANTITIES
from xappa.observations.schema import get_quantity_attrs, quantities, set_error

HIGHEST_REDUCTION = 750.0
"""Height (m) of a station above which its pressure is not reduced to sea level (WMO-No. 8, volume I, section 3.7.2)."""

_STEPS = {"K": 1e-2, "Pa": 1.0, "1": 1e-4, "m": 0.1}


@dataclass(frozen=True)
class Conversion:
    """A quantity from others.

    Parameters
    ----------
    target : str
        What is derived.
    sources : tuple of str
        Quantities that it takes; the first is another form of the target, and is not used beside it.
    formula : callable
        From DataArrays of the sources, and of the coordinate, to the target.
    coordinate : str or None
        ``"level"`` (given to the formula in Pa) or ``"altitude"`` (m).
    """

    target: str
    sources: tuple[str, ...]
    formula: Callable[..., xr.DataArray]
    coordinate: str | None = None

    def is_possible(self, obs: xr.Dataset) -> bool:
        """Whether `obs` has what it takes."""
        return all(name in obs for name in self.sources) and self.coordinate in (None, *obs.coords)

    def __call__(self, obs: xr.Dataset) -> xr.DataArray:
        """The target at every report; NaN where something is missing or makes no sense."""
        return self._evaluate([obs[name].astype(float) for name in self.sources], obs)

    def compute_error(self, obs: xr.Dataset) -> xr.DataArray | None:
        """Error deviations by the derivative; None if the error of a source is not known at all."""
        names = [f"{name}_error" for name in self.sources]
        if not all(name in obs for name in names):
            return None
        variance: xr.DataArray | float = 0.0
        for i, error in enumerate(names):
            variance = variance + (self.compute_slope(obs, i) * obs[error]) ** 2
        return xr.DataArray(variance) ** 0.5

    def compute_slope(self, obs: xr.Dataset, i: int) -> xr.DataArray:
        """Derivative of the target by source `i` at every report, in the vocabulary's units."""
        values = [obs[name].astype(float) for name in self.sources]
        step = _STEPS[QUANTITIES[self.sources[i]].units]
        beyond, before = ([v + s if j == i else v for j, v in enumerate(values)] for s in (step, -step))
        return (self._evaluate(beyond, obs) - self._evaluate(before, obs)) / (2.0 * step)

    def _evaluate(self, values: list[xr.DataArray], obs: xr.Dataset) -> xr.DataArray:
        place = [] if self.coordinate is None else [obs[self.coordinate] * (100.0 if self.coordinate == "level" else 1)]
        with np.errstate(all="ignore"):
            result = self.formula(*values, *place)
        return result.where(np.isfinite(result)).reset_coords(drop=True)


def _reduce_to_sea_level(pressure: xr.DataArray, temperature: xr.DataArray, altitude: xr.DataArray) -> xr.DataArray:
    reduced = formulas.sea_level_pressure(pressure, temperature, altitude)
    return reduced.where(altitude <= HIGHEST_REDUCTION)


CONVERSIONS = (
    Conversion("surface_pressure", ("altimeter_setting",), formulas.station_pressure, "altitude"),
    Conversion("mean_sea_level_pressure", ("surface_pressure", "2m_temperature"), _reduce_to_sea_level, "altitude"),
    Conversion("temperature", ("potential_temperature",), formulas.temperature_of_potential, "level"),
    Conversion("specific_humidity", ("dewpoint_temperature",), formulas.specific_humidity, "level"),
    Conversion(
        "specific_humidity", ("relative_humidity", "temperature"), formulas.specific_humidity_of_relative, "level"
    ),
    Conversion("geopotential", ("geopotential_height",), formulas.geopotential),
    Conversion("2m_specific_humidity", ("2m_dewpoint_temperature", "surface_pressure"), formulas.specific_humidity),
    Conversion(
        "2m_specific_humidity",
        ("2m_relative_humidity", "2m_temperature", "surface_pressure"),
        formulas.specific_humidity_of_relative,
    ),
)
"""In the order in which they are made: later ones may take what earlier ones gave."""


@dataclass(frozen=True)
class DerivedReports:
    """Which reports of a conversion's target were derived (bool, shape (obs,))."""

    conversion: Conversion
    rows: xr.DataArray


def derive_quantities(obs: xr.Dataset) -> tuple[xr.Dataset, list[DerivedReports]]:
    """Derive what is not reported.

    Specific humidity from dew point, or from relative humidity and temperature; temperature from potential
    temperature; geopotential from geopotential height; station pressure from the altimeter setting; pressure at mean
    sea level from that at a station not above 750 m, its height and temperature. See `formulas` for the sources.

    Parameters
    ----------
    obs : Dataset
        Observations in the schema.

    Returns
    -------
    obs : Dataset
        The same with the targets, marked by the attribute ``derived_from``, and errors where those of the sources are
        known. Values are lazy where the sources are.
    derived : list of DerivedReports
        For `flag_derived`.
    """
    made = []
    for conversion in CONVERSIONS:
        if not conversion.is_possible(obs):
            continue
        values, own = conversion(obs), obs.get(conversion.target)
        rows = values.notnull() if own is None else values.notnull() & own.isnull()
        if rows.chunks is None and not rows.any():
            continue
        filled = values if own is None else own.fillna(values)
        attrs = get_quantity_attrs(conversion.target) | ({} if own is None else own.attrs)
        sources = " ".join(dict.fromkeys([*attrs.get("derived_from", "").split(), *conversion.sources]))
        filled.attrs = attrs | {"derived_from": sources}
        obs = obs.assign({conversion.target: filled.reset_coords(drop=True)})
        obs = _set_derived_error(obs, conversion, rows)
        obs = with_reasons(obs, conversion.target, conversion.sources, rows.reset_coords(drop=True))
        made.append(DerivedReports(conversion, rows.reset_coords(drop=True)))
    return obs, made


def flag_derived_duplicates(obs: xr.Dataset, before: xr.Dataset) -> xr.Dataset:
    """Flag what was derived from values that their reader calls duplicates, such as those that were corrected later.

    Parameters
    ----------
    obs : Dataset
        With what was derived.
    before : Dataset
        The same before that, with the flags of the reader.
    """
    if not any(f"{name}_flag" in before for name in quantities(before)):
        return obs
    for name in quantities(obs):
        sources = obs[name].attrs.get("derived_from", "").split()
        # Of several the first is another form of the same; both parts of a wind are.
        forms = [s for s in sources if "wind" in s] or sources[:1]
        made = obs[name].notnull() if name not in before else obs[name].notnull() & before[name].isnull()
        for source in forms:
            obs = with_flag(obs, name, made & (flags_of(obs, source) == Flag.DUPLICATE), Flag.DUPLICATE)
    return obs


def flag_derived(obs: xr.Dataset, derived: list[DerivedReports]) -> xr.Dataset:
    """Flags of derived reports: rejected with their sources; and the sources that they stand for are unused."""
    for made in derived:
        target = made.conversion.target
        for source in made.conversion.sources:
            bad = flags_of(obs, source).isin([Flag.OUT_OF_RANGE, Flag.MISSING_PLACE])
            obs = with_flag(obs, target, made.rows & bad, Flag.OUT_OF_RANGE)
            obs = with_reasons(obs, target, [source], made.rows)
        used = made.rows & (flags_of(obs, target) == Flag.GOOD)
        obs = with_flag(obs, made.conversion.sources[0], used, Flag.UNUSED)
    return obs


def fill_derived_errors(obs: xr.Dataset) -> xr.Dataset:
    """Errors of derived reports that have none, from those of their sources."""
    for conversion in CONVERSIONS:
        sources = obs[conversion.target].attrs.get("derived_from", "").split() if conversion.target in obs else []
        if set(conversion.sources) <= set(sources) and conversion.is_possible(obs):
            obs = _set_derived_error(obs, conversion, obs[conversion.target].notnull())
    return obs


def _set_derived_error(obs: xr.Dataset, conversion: Conversion, rows: xr.DataArray) -> xr.Dataset:
    error = conversion.compute_error(obs)
    if error is None:
        return obs
    own = obs.get(f"{conversion.target}_error")
    error = error.where(rows).reset_coords(drop=True)
    return set_error(obs, conversion.target, error if own is None else own.where(own > 0).fillna(error))
