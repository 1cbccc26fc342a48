"""Reports of CF Datasets from above the ground: pressures that are levels, altitudes that are no station's.

Soundings, flights and profiles keep the pressure often as a variable beside others (GRUAN, dropsondes, aircraft), or
have an altitude only. A station's ``air_pressure`` is a pressure at the ground, whatever it is called.

References
----------
CF conventions 1.11, chapter 9 (Discrete Sampling Geometries), section 9.1 (feature types).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from xappa._typing import Array
from xappa.errors import UnitsError
from xappa.observations.heights import falls_with, leaves_ground, spans_levels
from xappa.observations.names import NameMap, find_coordinate
from xappa.observations.readers.cf.roles import SEA_PRESSURE
from xappa.observations.readers.tables.columns import to_text
from xappa.observations.units import find_conversions

_PROFILES = ("profile", "timeseriesprofile", "trajectoryprofile")
_REDUCED = re.compile(r"sea|slp|msl|reduced|qnh|altimeter")
_SPELLINGS = ("pressure", "press", "pres", "p", "air_pressure")


class UpperAirVariables:
    """Upper-air variables of a Dataset, and the vertical coordinate of each.

    Parameters
    ----------
    ds : Dataset
        With decoded times.
    places : mapping of str to str
        Coordinates: meaning to name.
    naming : NameMap
        Names and units that the caller gives.

    Attributes
    ----------
    level : str or None
        The pressure of each value: the coordinate, or a plain variable that is one by its values.
    altitude : str or None
        Altitude (or geopotential height) of values that have no pressure.
    """

    def __init__(self, ds: xr.Dataset, places: Mapping[str, str], naming: NameMap) -> None:
        self._ds, self._places = ds, places
        self._dims = {dim for place in ("time", "latitude", "longitude") for dim in ds[places[place]].dims}
        self.level = places.get("level")
        self.altitude = None
        if self.level is not None:
            return
        heights = [name for name in _find_altitudes(ds, places) if self._is_vertical(name)]
        self.level = next((name for name in _find_pressures(ds, naming) if self._is_level(name, heights, naming)), None)
        self.altitude = heights[0] if heights and self.level is None else None

    def is_upper_air(self, variable: xr.DataArray) -> bool:
        """Whether a variable is of the upper air."""
        source = self.level or self.altitude
        return source is not None and set(self._ds[source].dims) <= set(variable.dims)

    @property
    def may_move(self) -> bool:
        """Whether anything says that the platforms are no stations."""
        return self.level is not None or self.altitude is not None or self._feature_type in ("trajectory", *_PROFILES)

    def has_own_axis(self, variable: xr.DataArray) -> bool:
        """Whether a variable has other dimensions than time, latitude and longitude."""
        return bool(set(variable.dims) - self._dims)

    @property
    def _feature_type(self) -> str:
        return str(self._ds.attrs.get("featureType", "")).casefold()

    def _is_vertical(self, name: str) -> bool:
        """Whether altitudes are those of values, and not of stations."""
        altitude = self._ds[name]
        if altitude.dtype.kind not in "iuf" or not altitude.ndim:
            return False
        if set(altitude.dims) - self._dims:
            return True
        if altitude.attrs.get("standard_name") == "surface_altitude":
            return False
        if not set(altitude.dims) & set(self._ds[self._places["time"]].dims):
            return False
        places = (self._ds[self._places[p]] for p in ("time", "latitude", "longitude"))
        values, time, latitude, longitude = self._flatten(altitude, *places)
        trajectory = self._feature_type in ("trajectory", *_PROFILES)
        return leaves_ground(values.astype(float), time, latitude, longitude, self._find_stations(altitude), trajectory)

    def _is_level(self, name: str, heights: list[str], naming: NameMap) -> bool:
        """Whether a pressure that is a plain variable says how high the other values are."""
        pressure = self._ds[name]
        if not pressure.ndim or self._feature_type == "timeseries" or self._is_field(pressure):
            return False
        if (values := _convert_to_hectopascals(pressure, naming)) is None:
            return False
        if set(pressure.dims) - self._dims:
            return self._feature_type in _PROFILES or bool(heights) or spans_levels(values.reshape(-1), None)
        along = [height for height in heights if set(self._ds[height].dims) <= set(pressure.dims)]
        if along:
            flat = self._flatten(pressure, self._ds[along[0]])[1]
            return falls_with(values.reshape(-1), flat.astype(float))
        if self._feature_type in _PROFILES and self._differs_in_profile(pressure, values):
            return True
        if any(set(self._ds[height].dims) <= set(pressure.dims) for height in _find_altitudes(self._ds, self._places)):
            return False  # altitudes of stations, at which this is the pressure
        return spans_levels(values.reshape(-1), self._find_stations(pressure))

    def _is_field(self, variable: xr.DataArray) -> bool:
        """Whether a variable lies on a grid at the surface, over all times; its values need not be looked at then."""
        latitude, longitude = (self._ds[self._places[place]].dims for place in ("latitude", "longitude"))
        grid = latitude != longitude and set(latitude) | set(longitude) <= set(variable.dims)
        return grid and set(variable.dims) <= self._dims

    def _differs_in_profile(self, pressure: xr.DataArray, values: Array) -> bool:
        """Whether values of one time and place differ."""
        places = self._flatten(pressure, *(self._ds[self._places[p]] for p in ("time", "latitude", "longitude")))[1:]
        profile = pd.factorize(pd.MultiIndex.from_arrays(places))[0]
        return bool((pd.Series(values.reshape(-1)).groupby(profile).nunique() > 1).any())

    def _flatten(self, variable: xr.DataArray, *others: xr.DataArray) -> list[Array]:
        """Values of a variable and of others along its dimensions; those with more dimensions are left constant."""
        bare = [v.reset_coords(drop=True) for v in (variable, *others)]
        order = variable.dims
        rest = [v.isel({dim: 0 for dim in v.dims if dim not in order}) for v in bare]
        return [np.asarray(v.transpose(*order).values).reshape(-1) for v in xr.broadcast(*rest)]

    def _find_stations(self, variable: xr.DataArray) -> Array | None:
        name = self._places.get("station")
        if name is None or not set(self._ds[name].dims) <= set(variable.dims):
            return None
        names = self._ds[name]
        codes = xr.DataArray(to_text(names.to_numpy().reshape(-1)).reshape(names.shape), dims=names.dims)
        return self._flatten(variable, codes)[1]


def _find_altitudes(ds: xr.Dataset, places: Mapping[str, str]) -> list[str]:
    """Variables that say how high above the sea, the altitude first."""
    geopotential = [str(n) for n in ds.variables if ds[n].attrs.get("standard_name") == "geopotential_height"]
    return [*([places["altitude"]] if "altitude" in places else []), *geopotential]


def _find_pressures(ds: xr.Dataset, naming: NameMap) -> list[str]:
    """Plain variables that could be levels, those with the standard name first."""
    named = [str(n) for n in ds.data_vars if ds[n].attrs.get("standard_name") == "air_pressure"]
    spelt = [
        str(n)
        for n in ds.data_vars
        if str(n).casefold() in _SPELLINGS and "standard_name" not in ds[n].attrs and "units" in ds[n].attrs
    ]
    return [n for n in named + spelt if n not in naming.rename or find_coordinate(naming.rename[n]) == "level"]


def _convert_to_hectopascals(pressure: xr.DataArray, naming: NameMap) -> Array | None:
    """Values of a pressure of air in hPa; None if its units are no such."""
    name = str(pressure.name)
    units = naming.find_units(name, "level") or str(pressure.attrs.get("units", ""))
    if pressure.dtype.kind not in "iuf" or not units or units.strip().casefold() in SEA_PRESSURE:
        return None
    try:
        return np.asarray(
            find_conversions([(name, units, "hPa")])[name, units].convert(pressure.to_numpy().astype(float))
        )
    except UnitsError:
        return None


def find_station_pressure(ds: xr.Dataset, aloft: UpperAirVariables, known: Mapping[str, str]) -> dict[str, str]:
    """The ``air_pressure`` of stations, which is that at the ground: name to quantity.

    Parameters
    ----------
    ds : Dataset
    aloft : UpperAirVariables
    known : mapping of str to str
        Quantities found otherwise: name to quantity.
    """
    named = [str(n) for n in ds.data_vars if n not in known and ds[n].attrs.get("standard_name") == "air_pressure"]
    # Some say of a reduced pressure only in words that it is one.
    names = [n for n in named if not _REDUCED.search(f"{n} {ds[n].attrs.get('long_name', '')}".casefold())]
    if len(names) != 1 or "surface_pressure" in known.values() or aloft.may_move or aloft.has_own_axis(ds[names[0]]):
        return {}
    return {names[0]: "surface_pressure"}
