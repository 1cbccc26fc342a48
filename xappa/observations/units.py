"""Units of reports into units of the vocabulary: linear maps, found with pint where the spelling is not ours.

The registry is local and made at the first need; pint's application registry is not touched.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xappa.errors import UnitsError

if TYPE_CHECKING:
    import pint

WATER_DENSITY = 1000.0  # kg m-3, liquid water
STANDARD_GRAVITY = 9.80665  # m s-2, WMO

COORDINATE_UNITS = {"latitude": "degree", "longitude": "degree", "level": "hPa", "altitude": "m"}

_ALIASES: dict[str, str] = {
    "c": "degC",
    "°c": "degC",
    "celsius": "degC",
    "f": "degF",
    "°f": "degF",
    "fahrenheit": "degF",
    "°k": "K",
    "k": "K",
    "kelvin": "K",
    "kelvins": "K",
    "kt": "knot",
    "kts": "knot",
    "mb": "mbar",
    "pa": "Pa",
    "pascal": "Pa",
    "hpa": "hPa",
    "hectopascal": "hPa",
    "hectopascals": "hPa",
    "gpm": "m",
    "mps": "m/s",
    "%": "percent",
    "1": "dimensionless",
    "°": "degree",
    "deg": "degree",
}
# "degrees_Celsius", "degreeN", "degrees true": every way in which UDUNITS and CF (sections 4.1, 4.2) write a degree.
_ALIASES |= {
    f"{degree}{of}": units
    for degree in ("deg", "degree", "degrees")
    for units, names in {
        "degC": "c celsius",
        "degF": "f fahrenheit",
        "K": "k kelvin",
        "degree": "n north e east t true",
    }.items()
    for of in names.split()
}

_OFFERED = {
    "K": "K, degC or degF",
    "m s-1": "m s-1, km/h or knots",
    "Pa": "Pa, hPa or mbar",
    "m": "m, mm or kg m-2 (of water)",
    "m2 s-2": "m2 s-2 or m (geopotential height)",
    "kg kg-1": "kg kg-1 or g/kg",
    "degree": "degree or radian",
    "hPa": "hPa or Pa",
}


@dataclass(frozen=True)
class Linear:
    """The map ``factor * value + offset`` from one unit to another."""

    factor: float = 1.0
    offset: float = 0.0

    def value(self, x: Any) -> Any:
        """Values in the new units (unchanged, not copied, where the units are the same)."""
        return self.deviation(x) if self.offset == 0.0 else x * self.factor + self.offset

    def deviation(self, x: Any) -> Any:
        """Deviations in the new units: a deviation of 1 degC is one of 1 K."""
        return x if self.factor == 1.0 else x * self.factor


def _plain(units: str) -> str:
    return re.sub(r"\*\*|\^|\s+", "", units)


@functools.cache
def _registry() -> pint.UnitRegistry:
    import pint

    return pint.UnitRegistry()


def _parse(units: str) -> pint.Unit:
    # In small letters, without blanks and underscores.
    text = _ALIASES.get(re.sub(r"[\s_]+", "", units.casefold()), units.strip())
    # CF writes powers without a sign ("m s-1"), GRIB with two stars ("m s**-1").
    text = re.sub(r"(?<=[A-Za-z])\^?([+-]?\d+)", r"**\1", text)
    # Products with a dot are CF's too ("m.s-1"); pint before 0.26 alone reads them.
    text = re.sub(r"(?<=[A-Za-z0-9])\s*[.·⋅]\s*(?=[A-Za-z])", "*", text)
    return _registry().Unit(text)


@functools.cache
def linear(found: str, expected: str) -> Linear:
    """Map from units `found` to units `expected`.

    Besides what dimensions allow, water amounts (kg m-2) become thicknesses (m, density 1000 kg m-3) and geopotential
    heights (m) become geopotentials (m2 s-2, g = 9.80665 m s-2).

    Parameters
    ----------
    found, expected : str
        Units as CF, GRIB or pint write them, or common short forms (``kt``, ``celsius``).

    Raises
    ------
    UnitsError
        If `found` is not understood, or not convertible.
    """
    if _plain(found) == _plain(expected):
        return Linear()
    registry = _registry()
    try:
        unit = _parse(found)
    except Exception as error:  # pint raises errors of several libraries for text that is no unit
        raise UnitsError(f"units {found!r} are not understood") from error
    target = _parse(expected)
    if unit.dimensionality == target.dimensionality:
        zero, one = registry.Quantity(0.0, unit), registry.Quantity(1.0, unit)
        return _rounded((one - zero).to(target).magnitude, zero.to(target).magnitude)
    for bridge in (registry("m**3/kg") / WATER_DENSITY, STANDARD_GRAVITY * registry("m/s**2")):
        # A difference, since pint multiplies no temperature of a scale with another zero (degC, degF).
        converted = bridge * (registry.Quantity(1.0, unit) - registry.Quantity(0.0, unit))
        if converted.dimensionality == target.dimensionality:
            return _rounded(converted.to(target).magnitude)
    raise UnitsError(f"units {found!r} cannot be converted to {expected!r}")


def _rounded(factor: float, offset: float = 0.0) -> Linear:
    # Fifteen digits: 100 hPa are 10000 Pa, not 9999.999999999998.
    return Linear(float(f"{factor:.15g}"), float(f"{offset:.15g}"))


def conversions(requests: Iterable[tuple[str, str, str]]) -> dict[tuple[str, str], Linear]:
    """Maps for several variables, or one error that names all that cannot be converted.

    Parameters
    ----------
    requests : iterable of (name, found, expected)
        Name of the variable, units found and units expected.

    Returns
    -------
    dict
        From (name, found) to the map.

    Raises
    ------
    UnitsError
        With the variable, the units found, those expected and what to do.
    """
    maps: dict[tuple[str, str], Linear] = {}
    problems: dict[str, str] = {}
    for name, found, expected in dict.fromkeys(requests):
        try:
            maps[name, found] = linear(found, expected)
        except UnitsError as error:
            offered = _OFFERED.get(expected, expected)
            problems[f"{name}: {error}; expected {expected}, and {offered} are converted"] = expected
    if problems:
        example = next(iter(problems.values()))
        raise UnitsError(
            f"{'; '.join(problems)}. Give the right units with units={{'<name>': {example!r}}}, or, if it is another "
            "quantity, say which with rename={'<name>': '<quantity>'}"
        )
    return maps
