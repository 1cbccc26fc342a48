"""The words for physical quantities: names, units, CF standard names, plausible ranges.

Names are WeatherBench's, standard names CF's. `look_up` also takes the common short names (``t2m``, ``msl``, ``u10``…).
"""

from __future__ import annotations

from dataclasses import dataclass

PAIR = "antithetic_pair"
"""Coordinate along members: two with the same number were drawn with opposite noise."""


@dataclass(frozen=True)
class Variable:
    """A quantity.

    Parameters
    ----------
    name : str
        WeatherBench name.
    units : str
        Units in which models and observation errors are kept.
    standard_name, long_name : str
        CF attributes.
    valid_min, valid_max : float
        Range outside which no report is believed, in `units`.
    upper_air : bool
        Whether it lives on pressure levels.
    vector : bool
        Whether it is a horizontal component, which changes sign when a pole is crossed.
    positive : bool
        Whether values below zero make no sense.
    cell_methods : str
        CF cell methods, for quantities that are not instantaneous.
    height : float or None
        Height above the ground in m, where that is part of the definition.
    """

    name: str
    units: str
    standard_name: str
    long_name: str
    valid_min: float
    valid_max: float
    upper_air: bool = False
    vector: bool = False
    positive: bool = False
    cell_methods: str = "time: point"
    height: float | None = None

    @property
    def amount(self) -> bool:
        """Whether it is a sum over time."""
        return self.cell_methods.startswith("time: sum")

    @property
    def attrs(self) -> dict[str, str]:
        """CF attributes of a field of this quantity."""
        return {
            "units": self.units,
            "standard_name": self.standard_name,
            "long_name": self.long_name,
            "cell_methods": self.cell_methods,
        }


_ALL = (
    Variable("2m_temperature", "K", "air_temperature", "2 metre temperature", 180.0, 335.0, height=2.0),
    Variable(
        "10m_u_component_of_wind",
        "m s-1",
        "eastward_wind",
        "10 metre eastward wind",
        -90.0,
        90.0,
        vector=True,
        height=10.0,
    ),
    Variable(
        "10m_v_component_of_wind",
        "m s-1",
        "northward_wind",
        "10 metre northward wind",
        -90.0,
        90.0,
        vector=True,
        height=10.0,
    ),
    Variable(
        "mean_sea_level_pressure", "Pa", "air_pressure_at_mean_sea_level", "Mean sea level pressure", 87000.0, 108500.0
    ),
    Variable("sea_surface_temperature", "K", "sea_surface_temperature", "Sea surface temperature", 270.0, 310.0),
    Variable(
        "total_precipitation",
        "m",
        "lwe_thickness_of_precipitation_amount",
        "Total precipitation of the hour before",
        0.0,
        0.5,
        positive=True,
        cell_methods="time: sum (interval: 1 hour)",
    ),
    Variable(
        "total_precipitation_6hr",
        "m",
        "lwe_thickness_of_precipitation_amount",
        "Total precipitation of the 6 hours before",
        0.0,
        1.0,
        positive=True,
        cell_methods="time: sum (interval: 6 hours)",
    ),
    Variable("temperature", "K", "air_temperature", "Temperature", 160.0, 335.0, upper_air=True),
    Variable(
        "u_component_of_wind", "m s-1", "eastward_wind", "Eastward wind", -150.0, 150.0, upper_air=True, vector=True
    ),
    Variable(
        "v_component_of_wind", "m s-1", "northward_wind", "Northward wind", -150.0, 150.0, upper_air=True, vector=True
    ),
    Variable("geopotential", "m2 s-2", "geopotential", "Geopotential", -6000.0, 500000.0, upper_air=True),
    Variable(
        "specific_humidity",
        "kg kg-1",
        "specific_humidity",
        "Specific humidity",
        0.0,
        0.05,
        upper_air=True,
        positive=True,
    ),
)

VARIABLES: dict[str, Variable] = {v.name: v for v in _ALL}

ALIASES: dict[str, str] = {
    "t2m": "2m_temperature",
    "2t": "2m_temperature",
    "tas": "2m_temperature",
    "airTemperatureAt2M": "2m_temperature",
    "u10": "10m_u_component_of_wind",
    "10u": "10m_u_component_of_wind",
    "uas": "10m_u_component_of_wind",
    "v10": "10m_v_component_of_wind",
    "10v": "10m_v_component_of_wind",
    "vas": "10m_v_component_of_wind",
    "msl": "mean_sea_level_pressure",
    "mslp": "mean_sea_level_pressure",
    "psl": "mean_sea_level_pressure",
    "sst": "sea_surface_temperature",
    "tos": "sea_surface_temperature",
    "tp": "total_precipitation",
    "tp06": "total_precipitation_6hr",
    "t": "temperature",
    "ta": "temperature",
    "u": "u_component_of_wind",
    "ua": "u_component_of_wind",
    "v": "v_component_of_wind",
    "va": "v_component_of_wind",
    "z": "geopotential",
    "q": "specific_humidity",
    "hus": "specific_humidity",
}


def look_up(name: str) -> Variable | None:
    """The quantity called `name` (WeatherBench name or a common short name), or None."""
    return VARIABLES.get(ALIASES.get(name, name))
