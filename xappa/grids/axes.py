"""Which coordinate of a Dataset is which axis, and by which conventions it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cf_xarray  # noqa: F401  (registers ds.cf)
import numpy as np
import xarray as xr

from xappa.errors import DatasetError
from xappa.grids.faults import (
    curvilinear,
    latitude_problems,
    level_problems,
    longitude_problems,
    missing,
    text,
    time_problems,
)
from xappa.grids.naming import static_names, variable_names

__all__ = ["NAMES", "Layout", "inspect", "pressure_units", "recognise", "refuse", "text"]

NAMES: dict[str, tuple[str, ...]] = {
    "time": ("time", "valid_time", "Time", "datetime", "date"),
    "latitude": ("latitude", "lat", "Latitude", "LAT", "nav_lat", "y"),
    "longitude": ("longitude", "lon", "Longitude", "LON", "nav_lon", "x"),
    "level": ("level", "plev", "pressure_level", "isobaricInhPa", "isobaric", "lev", "pressure"),
    "member": ("member", "number", "ensemble", "realization"),
}
HECTOPASCAL = {"hpa", "millibar", "millibars", "mbar", "mb", "hectopascal", "hectopascals"}
PASCAL = {"pa", "pascal", "pascals"}


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
        ``"hPa"`` or ``"Pa"``.
    names : mapping
        The user's variable name -> WeatherBench name, for the variables that are known.
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
        return tuple(float(np.round(v / 100, 6)) if self.level_units == "Pa" else v for v in self.levels)

    def spelling(self, name: str) -> str:
        """The user's name of a WeatherBench name; that name itself where the user has none."""
        return next((user for user, known in self.names.items() if known == name), name)


def refuse(problems: Sequence[str], subject: str = "This Dataset cannot be used") -> None:
    """Raise one DatasetError that lists all `problems`; do nothing if there are none."""
    if problems:
        raise DatasetError(f"{subject}:" + "".join(f"\n- {problem}" for problem in problems))


def recognise(ds: xr.Dataset, need: Sequence[str] = ("time", "latitude", "longitude")) -> Layout:
    """Layout of a Dataset.

    Axes are found by CF attributes, then by their usual names.

    Parameters
    ----------
    ds : Dataset
    need : sequence of str
        Axes that must be there, of ``"time"``, ``"latitude"``, ``"longitude"``, ``"level"``, ``"member"``.

    Returns
    -------
    Layout

    Raises
    ------
    DatasetError
        Listing every axis that is missing or not usable.
    """
    layout, problems = inspect(ds, need)
    refuse(problems)
    return layout


def inspect(ds: xr.Dataset, need: Sequence[str] = ("time", "latitude", "longitude")) -> tuple[Layout, list[str]]:
    """Layout of a Dataset and everything that is wrong with its axes; never raises."""
    problems: list[str] = []
    found = {axis: _find(ds, axis) for axis in NAMES}
    for axis, name in found.items():
        if name is not None and ds[name].ndim > 1:
            if axis in need:
                problems.append(curvilinear(ds[name], axis))
            found[axis] = None
        elif name is None and axis in need:
            problems.append(missing(ds, axis, NAMES[axis]))
    time, latitude, longitude, level = (found[axis] for axis in ("time", "latitude", "longitude", "level"))
    if time is not None:
        problems += time_problems(ds[time])
    if latitude is not None:
        problems += latitude_problems(ds[latitude])
    if longitude is not None:
        problems += longitude_problems(ds[longitude])
    if level is not None:
        problems += level_problems(ds[level])
    dims = {axis: ds[name].dims[0] if ds[name].ndim else None for axis, name in found.items() if name is not None}
    names, clashes = variable_names(ds, dims, level)
    problems += clashes
    static = static_names(ds, dims.get("time"))
    layout = Layout(
        **found,
        latitudes=_values(ds, latitude),
        longitudes=_values(ds, longitude),
        levels=_values(ds, level),
        level_units=(pressure_units(ds[level]) if level is not None else None) or "hPa",
        names=names,
        unknown=tuple(str(n) for n in ds.data_vars if n not in names and n not in static),
        static=static,
    )
    return layout, problems


def pressure_units(level: xr.DataArray) -> str | None:
    """``"hPa"`` or ``"Pa"`` by the units, or by magnitude where there are none; None if not a pressure."""
    units = str(level.attrs.get("units", "")).strip().lower()
    if units in HECTOPASCAL:
        return "hPa"
    if units in PASCAL:
        return "Pa"
    if units or level.dtype.kind not in "iuf" or level.size == 0:
        return None
    # The highest pressure of any atmosphere is 1100 hPa; in Pa no model's lowest level is above 20 hPa.
    return "Pa" if float(level.max()) > 2000 else "hPa"


def _find(ds: xr.Dataset, axis: str) -> str | None:
    """Name of the coordinate that is `axis`: CF first, then usual names; dimension coordinates before others."""
    if axis == "member":
        # A dimension without values numbers members as well; a scalar (`number` of a single analysis) is no axis.
        names = [*ds.cf.standard_names.get("realization", []), *NAMES[axis]]
        return next((str(name) for name in names if name in ds.dims), None)
    candidates = _by_attributes(ds, axis) + [name for name in NAMES[axis] if name in ds.variables]
    # x and y are often metres of a projection: they count only where nothing else is there.
    candidates = [name for name in candidates if name not in ("x", "y")] or candidates
    if axis == "level":
        candidates = [name for name in candidates if pressure_units(ds[name]) is not None]
    one_dimensional = [name for name in candidates if ds[name].ndim < 2]
    dimensions = [name for name in one_dimensional if name in ds.dims]
    return next(iter(dimensions + one_dimensional + candidates), None)


def _by_attributes(ds: xr.Dataset, axis: str) -> list[str]:
    key, letter = {"level": ("vertical", "Z"), "time": ("time", "T")}.get(axis, (axis, ""))
    named = [*ds.cf.coordinates.get(key, []), *(ds.cf.axes.get(letter, []) if letter else [])]
    if axis == "level":
        named = [n for n in named if ds[n].attrs.get("units") or ds[n].attrs.get("standard_name") == "air_pressure"]
    return [str(name) for name in dict.fromkeys(named)]


def _values(ds: xr.Dataset, name: str | None) -> tuple[float, ...]:
    if name is None or ds[name].dtype.kind not in "iuf":
        return ()
    return tuple(np.atleast_1d(ds[name].values).astype(float).tolist())
