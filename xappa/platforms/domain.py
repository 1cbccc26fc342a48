"""Domain that a Dataset can be observed on: times, grid, levels, land, height."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.errors import DatasetError, OptionError, find_unknown, suggest_names
from xappa.grids import flatten_valid_time
from xappa.grids.axes import Layout, recognise
from xappa.observations.names import QUANTITIES
from xappa.state import derive_spec, get_surface_height

LAND = ("land_area_fraction", "land_binary_mask", "land_sea_mask", "lsm", "sftlf")
SURFACE = ("2m_temperature", "10m_u_component_of_wind", "10m_v_component_of_wind", "mean_sea_level_pressure")
UPPER_AIR = ("temperature", "u_component_of_wind", "v_component_of_wind")


@dataclass(frozen=True)
class NetworkDomain:
    """Times and geography of a Dataset.

    Parameters
    ----------
    times : array of datetime64 (T,)
    latitude, longitude : array
        Of the rows and columns, degrees, in the order of the Dataset.
    levels : tuple of float
        hPa.
    variables : tuple of str
        WeatherBench names of the quantities it holds.
    land : array (latitude, longitude) or None
        Fraction of land.
    height : array (latitude, longitude) or None
        Height of the surface, m.
    """

    times: Array
    latitude: Array
    longitude: Array
    levels: tuple[float, ...]
    variables: tuple[str, ...]
    land: Array | None
    height: Array | None

    @classmethod
    def from_dataset(cls, ds: xr.Dataset) -> NetworkDomain:
        """Domain of `ds`.

        Raises
        ------
        DatasetError
            If it has no times, or no latitude-longitude grid.
        """
        ds = flatten_valid_time(ds)
        layout = recognise(ds)
        spec = derive_spec(ds, layout)
        return cls(
            times=np.atleast_1d(ds[layout.time].values),
            latitude=np.array(layout.latitudes),
            longitude=np.array(layout.longitudes),
            levels=tuple(layout.hectopascals),
            variables=spec.variables,
            land=_find_land(ds, layout),
            height=get_surface_height(ds, spec, layout),
        )

    @property
    def is_sea(self) -> Array:
        """True where there is less than half land: (latitude, longitude).

        Raises
        ------
        DatasetError
            If the Dataset does not say where land is.
        """
        if self.land is None:
            raise DatasetError(
                f"The Dataset does not say where land is: found no variable called {', '.join(LAND[2:])} and none with "
                f"the standard_name {' or '.join(LAND[:2])}. Put one in, or give density="
            )
        return self.land < 0.5

    @property
    def area(self) -> Array:
        """Area of each cell, relative: (latitude, longitude)."""
        rows = np.cos(np.deg2rad(self.latitude)).clip(min=0)
        return np.repeat(rows[:, None], len(self.longitude), 1)

    def select_times(self, hours: float | None) -> Array:
        """Times whose hours since 00 UTC are multiples of `hours`; all of them for None.

        Raises
        ------
        OptionError
            If there is no such time.
        """
        if hours is None:
            return self.times
        if not hours > 0:
            raise OptionError(f"every={hours!r} hours; expected a number above zero")
        since = (self.times - self.times.astype("datetime64[D]")) / np.timedelta64(1, "s")
        chosen = self.times[since % round(hours * 3600) == 0]
        if not len(chosen):
            raise OptionError(f"every={hours!r}: found no time of the Dataset that is a multiple of so many hours")
        return chosen

    def find_nearest(self, latitude: Array, longitude: Array) -> tuple[Array, Array]:
        """Row and column of the grid point nearest to each place, across the date line."""
        row = _find_nearest(self.latitude, latitude)
        east = np.argsort(self.longitude % 360)
        axis = (self.longitude % 360)[east]
        around = np.concatenate((axis[-1:] - 360, axis, axis[:1] + 360))
        column = np.concatenate((east[-1:], east, east[:1]))[_find_nearest(around, longitude % 360)]
        return row, column

    def select_variables(self, variables: Iterable[str] | None) -> tuple[str, ...]:
        """Names of the quantities to be observed; all that the Dataset holds for None.

        Raises
        ------
        OptionError
            If a name is not known.
        """
        if variables is None:
            return self.variables
        names = (variables,) if isinstance(variables, str) else tuple(variables)
        unknown = [f"{name!r}{suggest_names(str(name), QUANTITIES)}" for name in find_unknown(names, QUANTITIES)]
        if unknown or not names:
            raise OptionError(
                f"variables: {', '.join(unknown) or 'none'} not known; expected names such as {SURFACE[0]}"
            )
        return names


def _find_land(ds: xr.Dataset, layout: Layout) -> Array | None:
    horizontal = [*ds[layout.latitude].dims, *ds[layout.longitude].dims]
    for name, field in {**ds.coords, **ds.data_vars}.items():
        if (name in LAND or field.attrs.get("standard_name") in LAND) and set(horizontal) <= set(field.dims):
            plane = field.isel({dim: 0 for dim in field.dims if dim not in horizontal}).transpose(*horizontal)
            percent = 100.0 if field.attrs.get("units") == "%" else 1.0
            return np.nan_to_num(np.asarray(plane.values, float)) / percent
    return None


def _find_nearest(axis: Array, places: Array) -> Array:
    order = np.argsort(axis)
    middle = (axis[order][1:] + axis[order][:-1]) / 2
    return order[np.searchsorted(middle, places)]


def split_by_level(variables: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of quantities near the surface, and of those on levels."""
    names = tuple(variables)
    aloft = tuple(name for name in names if QUANTITIES[name].upper_air)
    return tuple(name for name in names if name not in aloft), aloft
