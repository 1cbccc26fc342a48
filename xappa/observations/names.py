"""What columns and variables are called: many spellings, one name.

The order of trust: what the caller says (`Naming`), a WeatherBench name, CF attributes (in `cf.py`), a common spelling.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from xappa.errors import ObservationError, OptionError, nearest_names
from xappa.vocabulary import ALIASES, VARIABLES, Variable

_REPORTED = (
    Variable("10m_wind_speed", "m s-1", "wind_speed", "10 metre wind speed", 0.0, 90.0, positive=True, height=10.0),
    Variable(
        "10m_wind_from_direction",
        "degree",
        "wind_from_direction",
        "Direction that the 10 metre wind blows from",
        0.0,
        360.0,
        height=10.0,
    ),
    Variable(
        "10m_wind_to_direction",
        "degree",
        "wind_to_direction",
        "Direction that the 10 metre wind blows to",
        0.0,
        360.0,
        height=10.0,
    ),
    Variable("wind_speed", "m s-1", "wind_speed", "Wind speed", 0.0, 150.0, positive=True),
    Variable("wind_from_direction", "degree", "wind_from_direction", "Direction that the wind blows from", 0.0, 360.0),
    Variable("wind_to_direction", "degree", "wind_to_direction", "Direction that the wind blows to", 0.0, 360.0),
    Variable("surface_pressure", "Pa", "surface_air_pressure", "Pressure at the station", 30000.0, 108500.0),
)

REPORTED: dict[str, Variable] = {v.name: v for v in _REPORTED}
"""Quantities that are reported and kept although no model carries them."""

QUANTITIES: dict[str, Variable] = VARIABLES | REPORTED

_SPELLINGS: dict[str, tuple[str, ...]] = {
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
    "wind_from_direction": ("wind_direction", "winddirection", "wdir", "dd"),
    "wind_to_direction": ("to_direction",),
    "surface_pressure": ("sp", "ps", "station_pressure", "nonCoordinatePressure"),
}

COORDINATES: dict[str, tuple[str, ...]] = {
    "time": ("time", "datetime", "date_time", "valid_time", "date", "timestamp", "data_datetime", "time_utc"),
    "latitude": ("latitude", "lat", "nav_lat"),
    "longitude": ("longitude", "lon", "long", "lng", "nav_lon"),
    "level": ("level", "lev", "plev", "pressure_level", "isobaricInhPa"),
    "altitude": (
        "altitude",
        "elev",
        "elevation",
        "alt",
        "height_of_station",
        "station_height",
        "station_altitude",
        "station_elevation",
        "surface_altitude",
        "heightOfStation",
        "heightOfStationGroundAboveMeanSeaLevel",
    ),
    "station": (
        "station",
        "station_id",
        "stationid",
        "wmo_station_id",
        "wmo_id",
        "wmo",
        "stnid",
        "platform",
        "platform_id",
        "ident",
        "call_sign",
        "id",
    ),
}
"""Coordinates of a report, with the spellings (any case) that are recognised."""

NEEDED = ("time", "latitude", "longitude")

_QUANTITY_OF: dict[str, str] = (
    {alias.casefold(): name for alias, name in ALIASES.items()}
    | {spelling.casefold(): name for name, spellings in _SPELLINGS.items() for spelling in spellings}
    | {name.casefold(): name for name in QUANTITIES}
)
_COORDINATE_OF: dict[str, str] = {
    spelling.casefold(): name for name, spellings in COORDINATES.items() for spelling in spellings
}


def quantity_of(name: str) -> str | None:
    """Name of the quantity that `name` (any common spelling, any case) stands for, or None."""
    return _QUANTITY_OF.get(name.casefold())


def coordinate_of(name: str) -> str | None:
    """Name of the coordinate that `name` (any common spelling, any case) stands for, or None."""
    return _COORDINATE_OF.get(name.casefold())


@dataclass(frozen=True)
class Naming:
    """What the caller says about names and units.

    Parameters
    ----------
    rename : mapping of str to str
        Name in the source to quantity or coordinate.
    units : mapping of str to str
        Name in the source, or of the quantity or coordinate, to units.

    Raises
    ------
    OptionError
        If a name is given a meaning that does not exist.
    """

    rename: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set, repr=False, compare=False)

    def __post_init__(self) -> None:
        known = [*QUANTITIES, *COORDINATES]
        wrong = [
            f"{target!r} (for {source!r}){nearest_names(target, known)}"
            for source, target in self.rename.items()
            if quantity_of(target) is None and coordinate_of(target) is None
        ]
        if wrong:
            raise OptionError(
                f"rename gives names that are unknown: {'; '.join(wrong)}. Quantities are {', '.join(QUANTITIES)}; "
                f"coordinates are {', '.join(COORDINATES)}"
            )

    def quantity(self, name: str) -> str | None:
        """Quantity that `name` of the source stands for, or None."""
        self._seen.add(name)
        return quantity_of(self.rename.get(name, name))

    def coordinate(self, name: str) -> str | None:
        """Coordinate that `name` of the source stands for, or None."""
        self._seen.add(name)
        return coordinate_of(self.rename.get(name, name))

    def told_units(self, name: str, meaning: str) -> str | None:
        """Units that the caller gave for `name` of the source, or for what it means."""
        return self.units.get(name, self.units.get(meaning))

    def require_used(self) -> None:
        """Complain about names in `rename` that no source had.

        Raises
        ------
        ObservationError
            If there are any.
        """
        unused = [name for name in self.rename if name not in self._seen]
        if unused:
            hints = "".join(nearest_names(name, self._seen) for name in unused)
            raise ObservationError(
                f"rename names {', '.join(map(repr, unused))}, but the source has {listing(self._seen)}{hints}"
            )


def listing(names: Iterable[object], most: int = 20) -> str:
    """Names as text, cut after `most`."""
    texts = sorted(map(str, names))
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more if texts else "nothing"


def require_coordinates(found: Iterable[str], names: Iterable[object], needed: Iterable[str] = NEEDED) -> None:
    """Complain, all at once, about needed coordinates that were not found.

    Raises
    ------
    ObservationError
        With the names found and the spellings that are recognised.
    """
    missing = [name for name in needed if name not in set(found)]
    if missing:
        spellings = "; ".join(f"{name}: {', '.join(COORDINATES[name])}" for name in missing)
        raise ObservationError(
            f"Reports need {', '.join(NEEDED)}; {' and '.join(missing)} not found among {listing(names)}. "
            f"Recognised (any case): {spellings}. Otherwise say it: rename={{'<your name>': '{missing[0]}'}}"
        )


def require_quantities(found: Iterable[str], unknown: Iterable[str]) -> None:
    """Complain if not one quantity is known.

    Raises
    ------
    ObservationError
        With the nearest known names for each that is not.
    """
    if list(found):
        return
    unknown = list(unknown)
    known = [*QUANTITIES, *ALIASES]
    texts = [f"{name!r}{nearest_names(name, known)}" for name in unknown[:8]]
    raise ObservationError(
        f"No known variable among {'; '.join(texts) or 'the columns (there is none beside the coordinates)'}. "
        f"Known are {', '.join(QUANTITIES)}. Otherwise say it: rename={{'<your name>': '2m_temperature'}}"
    )


def require_one_each(sources: Mapping[str, list[str]]) -> None:
    """Complain about quantities or coordinates that more than one name of the source stands for.

    Raises
    ------
    ObservationError
        With the candidates.
    """
    twice = [f"{meaning} ({', '.join(names)})" for meaning, names in sources.items() if len(names) > 1]
    if twice:
        raise ObservationError(
            f"More than one name stands for the same thing: {'; '.join(twice)}. Drop all but one, "
            "or give the one that is meant with rename="
        )
