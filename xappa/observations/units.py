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
    "kn": "knot",
    "kmh": "km/h",
    "inhg": "inHg",
    "in.hg": "inHg",
    "fraction": "dimensionless",
    "masl": "m",
    "mamsl": "m",
    "mb": "mbar",
    "pa": "Pa",
    "pascal": "Pa",
    "hpa": "hPa",
    "hectopascal": "hPa",
    "hectopascals": "hPa",
    "gpm": "m",
    "mps": "m/s",
    "%": "percent",
    "pct": "percent",
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
class UnitConversion:
    """The map ``factor * value + offset`` from one unit to another."""

    factor: float = 1.0
    offset: float = 0.0

    def convert(self, x: Any) -> Any:
        """Values in the new units (unchanged, not copied, where the units are the same)."""
        return self.convert_deviation(x) if self.offset == 0.0 else x * self.factor + self.offset

    def convert_deviation(self, x: Any) -> Any:
        """Deviations in the new units: a deviation of 1 degC is one of 1 K."""
        return x if self.factor == 1.0 else x * self.factor


# A number before a unit ("0.1 degC", "1e-2 m", "1/10 K", "10^-3 kg/kg"), words for one, or a number that divides one.
_NUMBER = re.compile(r"(\d*\.?\d+(?:e[+-]?\d+)?)(?:\s*(\^|\*\*|/)\s*([+-]?\d+))?\s*[*·x]?\s*(?=[^\W\d]|[%°]|$)", re.I)
_WORD = re.compile(r"(tenth|hundredth|thousandth|ten(?=s)|10(?='?s))'?s?(?:\s+of(?:\s+an?)?)?[\s_]+", re.I)
_DIVISOR = re.compile(r"\s*/\s*(10+)$")
_WORDS = {"ten": 10.0, "10": 10.0, "tenth": 0.1, "hundredth": 0.01, "thousandth": 0.001}


def _normalise_units(units: str) -> str:
    return re.sub(r"\*\*|\^|\s+", "", units)


def split_scale(units: str) -> tuple[float, str]:
    """Factor and the unit that it scales, of units such as ``0.1 degC`` (UDUNITS), ``tenths of mm`` or ``hPa/10``.

    Parameters
    ----------
    units : str

    Returns
    -------
    factor : float
        1 where there is none.
    unit : str
        What is left; ``"1"`` where that is nothing.
    """
    text = units.strip()
    if (found := _WORD.match(text)) is not None:
        return _WORDS[found[1].casefold()], text[found.end() :]
    if (found := _DIVISOR.search(text)) is not None and found.start():
        return 1.0 / float(found[1]), text[: found.start()]
    if (found := _NUMBER.match(text)) is None:
        return 1.0, text
    number, sign, other = float(found[1]), found[2], found[3]
    number = number / float(other) if sign == "/" and float(other) else number ** float(other) if sign else number
    return number, text[found.end() :].strip() or "1"


@functools.cache
def _build_registry() -> pint.UnitRegistry:
    import pint

    return pint.UnitRegistry()


def _parse(units: str) -> tuple[float, pint.Unit]:
    """Factor and unit."""
    number, units = split_scale(units)
    if not (0.0 < number < float("inf")):
        raise UnitsError(f"a factor of {number:g}")
    # In small letters, without blanks and underscores.
    text = _ALIASES.get(re.sub(r"[\s_]+", "", units.casefold()), units.strip())
    # CF writes powers without a sign ("m s-1"), GRIB with two stars ("m s**-1").
    text = re.sub(r"(?<=[A-Za-z])\^?([+-]?\d+)", r"**\1", text)
    # Products with a dot are CF's too ("m.s-1"); pint before 0.26 alone reads them.
    text = re.sub(r"(?<=[A-Za-z0-9])\s*[.·⋅]\s*(?=[A-Za-z])", "*", text)
    return number, _build_registry().Unit(text)


@functools.cache
def find_conversion(found: str, expected: str) -> UnitConversion:
    """Map from units `found` to units `expected`.

    Besides what dimensions allow, water amounts (kg m-2) become thicknesses (m, density 1000 kg m-3) and geopotential
    heights (m) become geopotentials (m2 s-2, g = 9.80665 m s-2).

    Parameters
    ----------
    found, expected : str
        Units as CF, GRIB or pint write them, or common short forms (``kt``, ``celsius``). A number before a unit scales
        it, as in UDUNITS: 81 in ``0.1 degC`` are 8.1 degC.

    Raises
    ------
    UnitsError
        If `found` is not understood, or not convertible.
    """
    if _normalise_units(found) == _normalise_units(expected):
        return UnitConversion()
    registry = _build_registry()
    try:
        number, unit = _parse(found)
    except Exception as error:  # pint raises errors of several libraries for text that is no unit
        raise UnitsError(f"units {found!r} are not understood") from error
    divisor, target = _parse(expected)
    number /= divisor
    if unit.dimensionality == target.dimensionality:
        step = _make_unit_step(unit).to(_make_unit_step(target).units).magnitude
        return _round_conversion(number * step, registry.Quantity(0.0, unit).to(target).magnitude / divisor)
    for bridge in (registry("m**3/kg") / WATER_DENSITY, STANDARD_GRAVITY * registry("m/s**2")):
        converted = bridge * _make_unit_step(unit)
        if converted.dimensionality == target.dimensionality:
            return _round_conversion(number * converted.to(target).magnitude)
    raise UnitsError(f"units {found!r} cannot be converted to {expected!r}")


def _make_unit_step(unit: pint.Unit) -> pint.Quantity:
    """One unit as a difference, since pint multiplies no temperature of a scale with another zero (degC, degF)."""
    return _build_registry().Quantity(1.0, unit) - _build_registry().Quantity(0.0, unit)


@functools.cache
def is_unit(text: str) -> bool:
    """Whether a text is a unit that is understood, of whatever."""
    if not text.strip():
        return False
    try:
        _parse(text)
    except Exception:  # pint raises errors of several libraries for text that is no unit
        return False
    return True


@functools.cache
def is_convertible(found: str, expected: str) -> bool:
    """Whether values in units `found` can be converted to units `expected`."""
    try:
        find_conversion(found, expected)
    except UnitsError:
        return False
    return True


def _round_conversion(factor: float, offset: float = 0.0) -> UnitConversion:
    # Fifteen digits: 100 hPa are 10000 Pa, not 9999.999999999998.
    return UnitConversion(float(f"{factor:.15g}"), float(f"{offset:.15g}"))


def find_conversions(requests: Iterable[tuple[str, str, str]]) -> dict[tuple[str, str], UnitConversion]:
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
    maps: dict[tuple[str, str], UnitConversion] = {}
    problems: dict[str, str] = {}
    for name, found, expected in dict.fromkeys(requests):
        try:
            maps[name, found] = find_conversion(found, expected)
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
