"""How a Dataset spells its axes and variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from xappa.grids.variable_encoding import VariableEncoding


@dataclass(frozen=True)
class Layout:
    """How a Dataset spells its axes and variables.

    Parameters
    ----------
    time, latitude, longitude, level, member : str or None
        Names of the coordinates; None where the Dataset has no such axis.
    latitudes, longitudes : tuple of float
        Values as they stand, degrees.
    levels : tuple of float
        Pressures as they stand, in `level_units`.
    level_units : str
        ``"hPa"`` or ``"Pa"``, or other units of pressure as the user writes them.
    names : mapping
        The user's variable name -> WeatherBench name, for the variables that are known.
    notation : mapping
        The user's variable name -> how its numbers are written, for the variables that are known.
    unknown : tuple of str
        Variables in time that are not known by any name.
    static : tuple of str
        Fields without time, such as orography: neither known nor unknown quantities of a state.
    """

    time: str | None = None
    latitude: str | None = None
    longitude: str | None = None
    level: str | None = None
    member: str | None = None
    latitudes: tuple[float, ...] = ()
    longitudes: tuple[float, ...] = ()
    levels: tuple[float, ...] = ()
    level_units: str = "hPa"
    names: Mapping[str, str] = field(default_factory=dict)
    notation: Mapping[str, VariableEncoding] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    static: tuple[str, ...] = ()

    @property
    def north_first(self) -> bool:
        """Whether rows run from north to south."""
        return len(self.latitudes) > 1 and self.latitudes[0] > self.latitudes[-1]

    @property
    def longitude_convention(self) -> str:
        """``"-180..180"`` where any longitude is negative, else ``"0..360"``."""
        return "-180..180" if any(value < 0 for value in self.longitudes) else "0..360"

    @property
    def level_descending(self) -> bool:
        """Whether levels run from high to low pressure."""
        return len(self.levels) > 1 and self.levels[0] > self.levels[-1]

    @property
    def hectopascals(self) -> tuple[float, ...]:
        """Pressures of `levels` in hPa."""
        if self.level_units == "hPa":
            return self.levels
        return tuple(float(np.round(v * self.hectopascal, 6)) for v in self.levels)

    @property
    def hectopascal(self) -> float:
        """What one of `level_units` is in hPa."""
        if self.level_units in ("hPa", "Pa"):
            return 1.0 if self.level_units == "hPa" else 0.01
        from xappa.observations.units import find_conversion

        return find_conversion(self.level_units, "hPa").factor

    def get_user_name(self, name: str) -> str:
        """The user's name of a WeatherBench name; that name itself where the user has none."""
        return next((user for user, known in self.names.items() if known == name), name)
