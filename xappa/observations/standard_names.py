"""CF standard names of quantities and coordinates, with the older and the common forms of them.

References
----------
CF standard name table, version 79: entries and aliases.
"""

from __future__ import annotations

from xappa.observations.readers.cf.cell_methods import find_period_method
from xappa.observations.variables import REPORTED
from xappa.vocabulary import VARIABLES, Variable

ALIASES = {
    "air_pressure_at_sea_level": "air_pressure_at_mean_sea_level",
    "atmosphere_water_vapor_content": "atmosphere_mass_content_of_water_vapor",
    "station_description": "platform_name",
    "station_wmo_id": "platform_id",
}
"""Aliases of the table."""

COMMON = {
    "sea_level_pressure": "air_pressure_at_mean_sea_level",
    "mean_sea_level_pressure": "air_pressure_at_mean_sea_level",
    "mean_sea_level_air_pressure": "air_pressure_at_mean_sea_level",
    "pressure_at_mean_sea_level": "air_pressure_at_mean_sea_level",
    "pressure_reduced_to_mean_sea_level": "air_pressure_at_mean_sea_level",
    "air_pressure_at_surface": "surface_air_pressure",
    "surface_pressure": "surface_air_pressure",
    "dewpoint_temperature": "dew_point_temperature",
    "air_dew_point_temperature": "dew_point_temperature",
    "potential_temperature": "air_potential_temperature",
}
"""Names that files have in the attribute although the table does not."""

COORDINATES = {
    "time": "time",
    "latitude": "latitude",
    "longitude": "longitude",
    "altitude": "altitude",
    "surface_altitude": "altitude",
    "height_above_mean_sea_level": "altitude",
    "height_above_geopotential_datum": "altitude",
    "platform_id": "station",
    "platform_name": "station",
}
"""Standard names that mean one coordinate wherever they are; ``air_pressure`` also names a quantity."""

_WATER = ("precipitation_amount", "lwe_thickness_of_precipitation_amount")
_HOURS = {"total_precipitation": "1 hour", "total_precipitation_6hr": "6 hour"}
_EXTREMES = ("maximum", "minimum")
_QUANTITIES = VARIABLES | REPORTED


def resolve_standard_name(name: object) -> str:
    """The standard name of the table that a name is, or is an older or common form of."""
    text = str(name or "").strip()
    return ALIASES.get(text, COMMON.get(text, text))


def find_by_standard_name(standard_name: object, cell_methods: str, aloft: bool) -> str | None:
    """Quantity with a standard name, or None.

    Parameters
    ----------
    standard_name : str
        Of the table, or an older or common form.
    cell_methods : str
        CF cell methods: amounts of water need "time: sum", and extremes are recognised by them.
    aloft : bool
        Whether it lies on pressure levels; otherwise it is near the surface.
    """
    name = resolve_standard_name(standard_name)
    if name in _WATER:
        own = (quantity for quantity, hours in _HOURS.items() if f"interval: {hours}" in cell_methods)
        return next(own, "total_precipitation" if "time: sum" in cell_methods else None)
    same = [quantity for quantity in _QUANTITIES.values() if quantity.standard_name == name and name]
    same.sort(key=lambda quantity: (_differs_in_method(quantity, cell_methods), (quantity.height is not None) == aloft))
    return same[0].name if same else None


def _differs_in_method(quantity: Variable, methods: str) -> bool:
    """Whether a quantity is an extreme and the variable is not, or the other way round."""
    found, usual = (find_period_method(text) for text in (methods, quantity.cell_methods))
    return any((m is not None and m.method in _EXTREMES) for m in (found, usual)) and (
        (found.method if found else "") != (usual.method if usual else "")
    )
