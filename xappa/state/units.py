"""How a Dataset's numbers become a model's: units, heights and geopotentials, rates and sums of precipitation."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable

import numpy as np
import xarray as xr

from xappa.errors import UnitsError
from xappa.grids.axes import Layout, recognise
from xappa.grids.variable_encoding import PRECIPITATION, VariableEncoding
from xappa.model.state import StateSpec
from xappa.observations.units import STANDARD_GRAVITY, UnitConversion, find_conversion
from xappa.vocabulary import VARIABLES

SKEWED = set(PRECIPITATION)
"""Quantities that are 0 at most places, so that the largest value is looked at and not the middle one."""


def check_units(ds: xr.Dataset, spec: StateSpec, layout: Layout | None = None) -> None:
    """Refuse a Dataset with variables whose units cannot be converted to the model's.

    Raises
    ------
    UnitsError
        Listing all of them.
    """
    refuse_units(find_unit_problems(ds, spec, layout or recognise(ds, need=())))


def find_unit_problems(ds: xr.Dataset, spec: StateSpec, layout: Layout) -> list[str]:
    """Variables whose units cannot be converted to the model's."""
    return make_conversions(layout, spec.variables)[1]


def make_conversions(layout: Layout, variables: Collection[Hashable]) -> tuple[dict[str, UnitConversion], list[str]]:
    """The user's names of `variables` -> maps to the vocabulary's units, and what cannot be converted."""
    maps, problems = {}, []
    for user, name in layout.names.items():
        if name not in variables:
            continue
        try:
            maps[user] = make_conversion(layout.notation.get(user, VariableEncoding()), name)
        except UnitsError as error:
            mend = "" if "set " in str(error) else f": set ds[{user!r}].attrs['units']"
            problems.append(f"variable {user!r} ({name}): {error}{mend}".replace("ds[...]", f"ds[{user!r}]"))
    return maps, problems


def make_conversion(written: VariableEncoding, name: str) -> UnitConversion:
    """Map from numbers as they are written to the units of the vocabulary.

    Parameters
    ----------
    written : VariableEncoding
    name : str
        WeatherBench name.

    Raises
    ------
    UnitsError
        If the units are not understood or not convertible, or precipitation is summed over other hours.
    """
    expected = VARIABLES[name].units
    units = expected if written.units is None else written.units
    if name in PRECIPITATION:
        return _make_precipitation_conversion(written, units, PRECIPITATION[name])
    try:
        return find_conversion(units, expected)
    except UnitsError as error:
        raise UnitsError(f"{error}; expected {expected}") from error


def invert_conversion(forward: UnitConversion) -> UnitConversion:
    """The map back."""
    return UnitConversion(1 / forward.factor, -forward.offset / forward.factor)


def _make_precipitation_conversion(written: VariableEncoding, units: str, hours: float) -> UnitConversion:
    """Map to metres of water in `hours`, of an amount or a mean rate over the same hours."""
    try:
        amount, rate = find_conversion(units, "m"), None
    except UnitsError as error:
        try:
            amount, rate = None, find_conversion(units, "m s-1")
        except UnitsError:
            raise UnitsError(f"{error}; expected m, mm, kg m-2, or a rate such as mm/h or kg m-2 s-1") from error
    kind = "a sum" if rate is None else "a mean rate"
    mend = (
        f"set ds[...].attrs['cell_methods'] = 'time: {'sum' if rate is None else 'mean'} (interval: {hours:g} hours)'"
    )
    if written.whole_forecast:
        raise UnitsError(
            f"it is summed from the start of a forecast; expected sums of {hours:g} h: take differences along the "
            f"steps with ds[...].diff('step'), and set their cell_methods, or use analyses"
        )
    if written.hours == 0:
        raise UnitsError(
            f"it is the rate of an instant ('time: point'); expected {kind} of {hours:g} h: use sums or mean rates, "
            f"or, if it is a mean, {mend}"
        )
    if written.hours is not None and written.hours != hours:
        more = f"sum them with ds[...].rolling(time={hours / written.hours:g}).sum()"
        less = f"use data every {hours:g} h"
        raise UnitsError(
            f"it is {kind} of {written.hours:g} h; expected {kind} of {hours:g} h: "
            f"{more if hours % written.hours == 0 else less}, or, if it is one of {hours:g} h already, {mend}"
        )
    if rate is not None and written.hours is None:
        raise UnitsError(f"nothing tells over how many hours the rate is a mean; expected {hours:g} h: {mend}")
    return amount if rate is None and amount is not None else _scale_conversion(rate or UnitConversion(), 3600 * hours)


def _scale_conversion(forward: UnitConversion, factor: float) -> UnitConversion:
    return UnitConversion(float(f"{forward.factor * factor:.15g}"), forward.offset * factor)


def refuse_units(problems: Iterable[str]) -> None:
    """Raise one UnitsError that lists all `problems`; do nothing if there are none."""
    if listed := list(problems):
        raise UnitsError("Units cannot be used:" + "".join(f"\n- {problem}" for problem in listed))


def find_implausible_values(user: str, name: str, values: np.ndarray, levels: Iterable[float] = ()) -> list[str]:
    """A variable without units whose values are out of the range of the quantity.

    Parameters
    ----------
    user, name : str
        The user's name and the WeatherBench name.
    values : array, (time, level, latitude, longitude)
        As they stand.
    levels : iterable of float
        hPa.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return []
    known = VARIABLES[name]
    middle, word = (float(finite.max()), "maximum") if name in SKEWED else (float(np.median(finite)), "median")
    problem = f"variable {user!r} has no units, and a {word} of {middle:.4g}; expected {name} in {known.units}, "
    mend = f": set ds[{user!r}].attrs['units']"
    if not known.valid_min <= middle <= known.valid_max:
        return [f"{problem}between {known.valid_min:g} and {known.valid_max:g}{mend}"]
    if name == "geopotential":
        for index, level in enumerate(levels):
            there = np.isfinite(values[:, index])
            if level > 700 or not there.any():
                continue
            usual, found = STANDARD_GRAVITY * _estimate_standard_height(level), np.median(values[:, index][there])
            if not 0.5 < found / usual < 2:
                return [f"{problem}about {usual:.0f} at {level:g} hPa, where it is {found:.4g}{mend}, such as 'm'"]
    return []


def _estimate_standard_height(level: float) -> float:
    """Height of a pressure (hPa) in the standard atmosphere, m, to within some percent up to 20 hPa.

    References
    ----------
    ICAO, Manual of the Standard Atmosphere, Doc 7488 (1993): 6.5 K a km up to 226.32 hPa, 216.65 K above.
    """
    if level >= 226.32:
        return 44330.77 * (1 - (level / 1013.25) ** 0.190263)
    return 11000 + 6341.62 * float(np.log(226.32 / level))
