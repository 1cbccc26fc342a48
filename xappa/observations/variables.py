"""Quantities that are reported but that no model carries, and how quantities are spelt."""

from __future__ import annotations

from xappa.vocabulary import Variable


def _define_near_ground(
    name: str, units: str, standard: str, text: str, low: float, high: float, height: float | None
) -> Variable:
    return Variable(name, units, standard, text, low, high, height=height)


def _define_upper_air(name: str, units: str, standard: str, text: str, low: float, high: float) -> Variable:
    return Variable(name, units, standard, text, low, high, upper_air=True)


def _define_extreme(kind: str) -> Variable:
    text = f"{kind.capitalize()} 2 metre temperature of the period"
    method = f"time: {kind}"
    return Variable(
        f"{kind}_2m_temperature", "K", "air_temperature", text, 180.0, 335.0, cell_methods=method, height=2.0
    )


_ALL = (
    Variable("10m_wind_speed", "m s-1", "wind_speed", "10 metre wind speed", 0.0, 90.0, positive=True, height=10.0),
    _define_near_ground(
        "10m_wind_from_direction",
        "degree",
        "wind_from_direction",
        "Direction that the 10 metre wind blows from",
        0.0,
        360.0,
        10.0,
    ),
    _define_near_ground(
        "10m_wind_to_direction",
        "degree",
        "wind_to_direction",
        "Direction that the 10 metre wind blows to",
        0.0,
        360.0,
        10.0,
    ),
    Variable("wind_speed", "m s-1", "wind_speed", "Wind speed", 0.0, 150.0, positive=True),
    Variable("wind_from_direction", "degree", "wind_from_direction", "Direction that the wind blows from", 0.0, 360.0),
    Variable("wind_to_direction", "degree", "wind_to_direction", "Direction that the wind blows to", 0.0, 360.0),
    _define_near_ground(
        "surface_pressure", "Pa", "surface_air_pressure", "Pressure at the station", 30000.0, 108500.0, None
    ),
    # CF has no standard name for it.
    _define_near_ground("altimeter_setting", "Pa", "", "Altimeter setting (QNH)", 87000.0, 108500.0, None),
    _define_near_ground(
        "2m_dewpoint_temperature",
        "K",
        "dew_point_temperature",
        "2 metre dew point temperature",
        150.0,
        310.0,
        2.0,
    ),
    _define_near_ground("2m_relative_humidity", "1", "relative_humidity", "2 metre relative humidity", 0.0, 1.1, 2.0),
    _define_near_ground(
        "2m_specific_humidity", "kg kg-1", "specific_humidity", "2 metre specific humidity", 0.0, 0.05, 2.0
    ),
    _define_extreme("maximum"),
    _define_extreme("minimum"),
    _define_upper_air("dewpoint_temperature", "K", "dew_point_temperature", "Dew point temperature", 120.0, 310.0),
    _define_upper_air("relative_humidity", "1", "relative_humidity", "Relative humidity", 0.0, 1.7),
    _define_upper_air(
        "potential_temperature", "K", "air_potential_temperature", "Potential temperature", 200.0, 1500.0
    ),
    _define_upper_air("geopotential_height", "m", "geopotential_height", "Geopotential height", -600.0, 51000.0),
    _define_near_ground(
        "total_column_water_vapour",
        "kg m-2",
        "atmosphere_mass_content_of_water_vapor",
        "Water vapour of the column",
        0.0,
        100.0,
        None,
    ),
    # CF has no standard name for the thickness of a layer between two pressures.
    _define_near_ground("thickness", "m", "", "Thickness of a layer", 0.0, 50000.0, None),
    _define_near_ground(
        "brightness_temperature", "K", "toa_brightness_temperature", "Brightness temperature", 100.0, 350.0, None
    ),
)

REPORTED: dict[str, Variable] = {v.name: v for v in _ALL}
"""Quantities that are reported and kept although no model carries them."""

NEAR_GROUND = {
    "dewpoint_temperature": "2m_dewpoint_temperature",
    "relative_humidity": "2m_relative_humidity",
}
"""Names of upper-air quantities in reports without a level."""

SPELLINGS: dict[str, tuple[str, ...]] = {
    "2m_temperature": ("temperature_2m", "air_temperature_2m", "2m_air_temperature", "tmp2m", "t_2m"),
    "10m_u_component_of_wind": ("u_10m", "u10m", "10m_u_wind", "wind_u_10m"),
    "10m_v_component_of_wind": ("v_10m", "v10m", "10m_v_wind", "wind_v_10m"),
    "mean_sea_level_pressure": ("slp", "pressure_msl", "sea_level_pressure", "pressureReducedToMeanSeaLevel", "prmsl"),
    "10m_wind_speed": ("windSpeedAt10M", "wind_speed_10m", "ws10", "ff10", "sfcWind", "si10"),
    "10m_wind_from_direction": (
        "windDirectionAt10M",
        "10m_wind_direction",
        "wind_direction_10m",
        "wd10",
        "dd10",
    ),
    "wind_speed": ("windspeed", "wspd", "ff"),
    "wind_from_direction": ("wind_direction", "winddirection", "wind_dir", "wdir", "dd"),
    "wind_to_direction": ("to_direction",),
    "surface_pressure": ("sp", "ps", "station_pressure", "station_level_pressure", "nonCoordinatePressure"),
    "altimeter_setting": ("altimeter", "altim", "qnh"),
    "2m_dewpoint_temperature": ("d2m", "2d", "td2m", "2m_dew_point_temperature", "dewpoint_2m", "dew_point_2m", "tdps"),
    "2m_relative_humidity": ("rh2m", "2r", "relative_humidity_2m", "hurs"),
    "2m_specific_humidity": ("q2m", "2sh", "huss", "sh2"),
    "maximum_2m_temperature": ("tmax", "tasmax", "mx2t", "tx", "2m_temperature_max"),
    "minimum_2m_temperature": ("tmin", "tasmin", "mn2t", "tn", "2m_temperature_min"),
    "dewpoint_temperature": ("dew_point_temperature", "dewpointTemperature", "dewpoint", "dew_point", "td"),
    "relative_humidity": ("rh", "hur"),
    "potential_temperature": ("theta", "air_potential_temperature", "pt"),
    "geopotential_height": ("gh", "zg", "nonCoordinateGeopotentialHeight"),
    "total_column_water_vapour": (
        "tcwv",
        "pwat",
        "prw",
        "pw",
        "precipitable_water",
        "total_column_vertically_integrated_water_vapour",
    ),
    "brightness_temperature": ("tb", "bt", "brightnessTemperature"),
}
"""Common spellings (any case) beside the names and aliases of the vocabulary."""
