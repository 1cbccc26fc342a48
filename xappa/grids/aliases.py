"""Other names of fields, used by centres and archives."""

from __future__ import annotations

import difflib

from xappa.vocabulary import VARIABLES, look_up

NAMES: dict[str, str] = {
    "gh": "geopotential",
    "zg": "geopotential",
    "hgt": "geopotential",
    "geopotential_height": "geopotential",
    "prmsl": "mean_sea_level_pressure",
    "prate": "total_precipitation",
    "pr": "total_precipitation",
    "tprate": "total_precipitation",
    "mtpr": "total_precipitation",
    "avg_tprate": "total_precipitation",
    "mean_total_precipitation_rate": "total_precipitation",
    "total_precipitation_1hr": "total_precipitation",
}
"""Names of fields, beside those that `xappa.vocabulary.look_up` takes."""

LONG_NAMES: dict[str, str] = {
    "2 metre temperature": "2m_temperature",
    "10 metre u wind component": "10m_u_component_of_wind",
    "10 metre v wind component": "10m_v_component_of_wind",
    "mean sea level pressure": "mean_sea_level_pressure",
    "sea surface temperature": "sea_surface_temperature",
    "total precipitation": "total_precipitation",
    "temperature": "temperature",
    "u component of wind": "u_component_of_wind",
    "v component of wind": "v_component_of_wind",
    "geopotential": "geopotential",
    "geopotential height": "geopotential",
    "specific humidity": "specific_humidity",
}
"""Long names of ECMWF's tables, in small letters."""

STANDARD_NAMES: dict[str, str] = {
    "geopotential_height": "geopotential",
    "precipitation_amount": "total_precipitation",
    "precipitation_flux": "total_precipitation",
    "lwe_precipitation_rate": "total_precipitation",
    "air_pressure_at_sea_level": "mean_sea_level_pressure",
}
"""CF standard names of quantities that are converted to those of the vocabulary."""

GEOPOTENTIAL_HEIGHTS = {"gh", "zg", "hgt", "geopotential_height"}
"""Names and standard names of geopotentials that are written in metres."""

ERA5_RATES = {"mtpr", "avg_tprate", "mean_total_precipitation_rate"}
"""Mean rates of ERA5, over the hour before."""

NEAR_SURFACE: dict[str, str] = {
    "temperature": "2m_temperature",
    "u_component_of_wind": "10m_u_component_of_wind",
    "v_component_of_wind": "10m_v_component_of_wind",
}
"""Quantities that have a namesake near the surface."""


def find_by_name(name: str) -> str | None:
    """WeatherBench name of a field called `name`, or None."""
    known = look_up(name)
    return known.name if known is not None else NAMES.get(name)


def find_by_attributes(attrs: dict, name: str = "") -> str | None:
    """WeatherBench name by what GRIB or an archive calls a field in its attributes, or None.

    A name that is nearly one of ours is a slip that the user is asked about: a long name does not silence the question.
    """
    for key in ("GRIB_shortName", "GRIB_cfVarName", "short_name"):
        if (found := find_by_name(str(attrs.get(key, "")))) is not None:
            return found
    if difflib.get_close_matches(name, VARIABLES, cutoff=0.9):
        return None
    return LONG_NAMES.get(str(attrs.get("long_name", "")).strip().casefold())


def find_by_standard_name(standard: str, upper_air: bool) -> list[str]:
    """WeatherBench names of the quantities with a CF standard name, aloft or at the surface."""
    names = [v.name for v in VARIABLES.values() if v.standard_name == standard and v.upper_air == upper_air]
    other = STANDARD_NAMES.get(standard)
    return [*names, other] if other is not None and VARIABLES[other].upper_air == upper_air else names
