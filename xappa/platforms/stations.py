"""Networks of fixed places that are no grid points: stations and radiosondes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.argument_types import check_arguments
from xappa.errors import OptionError, translate_read_errors
from xappa.observations.errors.tables import Errors
from xappa.platforms.domain import SURFACE, UPPER_AIR, NetworkDomain
from xappa.platforms.random_places import draw_scattered_places
from xappa.platforms.schema import build_network, build_soundings, repeat_places

ROUGHNESS = 150.0
"""Deviation of a station's height from that of the grid's surface, m."""


@check_arguments
def stations(
    ds: xr.Dataset,
    count: int = 1000,
    *,
    variables: Iterable[str] = SURFACE,
    over_sea: float = 0.2,
    density: xr.DataArray | Array | None = None,
    every: float | None = None,
    errors: Errors | None = None,
    seed: int | np.random.Generator = 0,
) -> xr.Dataset:
    """Surface stations, and ships between them: dense over land, between grid points, each at a height of its own.

    Parameters
    ----------
    ds : Dataset
        Gives times, grid, land fraction and height of the surface. Its values aren't read.
    count : int, default 1000
        Number of stations.
    variables : iterable of str
        What they report; default 2 m temperature, 10 m wind components, mean sea level pressure.
    over_sea : float, default 0.2
        How dense they are over sea, where land is 1.
    density : array (latitude, longitude), optional
        Relative number per area on the grid of `ds`, instead of `over_sea`.
    every : float, optional
        Hours between reports, counted from 00 UTC. Default: at all times of `ds`.
    errors : mapping, str or float, optional
        Deviations of the errors, as ``ds.appa.observe`` takes them; kept in the network as ``<name>_error``.
    seed : int or numpy Generator, default 0

    Returns
    -------
    Dataset
        Observations in the schema: 0 where something is to be observed. ``altitude`` is that of the surface of `ds`
        plus a normal number of deviation 150 m, at least 0, over land; 0 over sea.

    Raises
    ------
    DatasetError
        If `ds` does not say where land is and there is no `density`.
    OptionError
        If a variable is unknown, or `density` does not fit.

    Examples
    --------
    >>> import xappa
    >>> network = xappa.platforms.stations(xappa.tutorial.nature_run(), 100, every=12)
    >>> network.sizes["obs"]
    400
    """
    ground = NetworkDomain.from_dataset(ds)
    places = _draw_places(ground, count, _compute_chance(ground, over_sea, density), np.random.default_rng(seed), "S")
    return build_network(repeat_places(places, ground.select_times(every)), ground.select_variables(variables), errors)


@check_arguments
def radiosondes(
    ds: xr.Dataset,
    count: int = 300,
    *,
    variables: Iterable[str] = UPPER_AIR,
    levels: Sequence[float] | None = None,
    over_sea: float = 0.2,
    density: xr.DataArray | Array | None = None,
    every: float | None = 12,
    errors: Errors | None = None,
    seed: int | np.random.Generator = 0,
) -> xr.Dataset:
    """Radiosonde stations: dense over land, whole profiles, straight up.

    Parameters
    ----------
    ds : Dataset
        Gives times, grid, levels, land fraction and height of the surface. Its values aren't read.
    count : int, default 300
        Number of stations.
    variables : iterable of str
        What they report; default temperature and wind components. Those near the surface are reported once a profile.
    levels : sequence of float, optional
        Pressures, hPa. Default: those of `ds`.
    over_sea, density, errors, seed
        See `stations`.
    every : float, default 12
        Hours between soundings, counted from 00 UTC; None: at all times of `ds`.

    Returns
    -------
    Dataset
        Observations in the schema, one row a level: 0 where something is to be observed.

    Raises
    ------
    DatasetError, OptionError
        As `stations`.
    """
    ground = NetworkDomain.from_dataset(ds)
    places = _draw_places(ground, count, _compute_chance(ground, over_sea, density), np.random.default_rng(seed), "R")
    pressures = ground.levels if levels is None else levels
    return build_soundings(places, ground.select_times(every), pressures, ground.select_variables(variables), errors)


def _compute_chance(ground: NetworkDomain, over_sea: float, density: xr.DataArray | Array | None) -> Array:
    if density is None:
        return np.where(ground.is_sea, over_sea, 1.0)
    with translate_read_errors("density", "numbers", OptionError, "Expected a field on the grid of the Dataset."):
        given = np.asarray(density, float)
    shape = (len(ground.latitude), len(ground.longitude))
    if given.shape != shape or not (np.isfinite(given).all() and (given >= 0).all() and given.any()):
        raise OptionError(
            f"density has the shape {given.shape}; expected {shape}, finite, not below zero and not zero everywhere"
        )
    return given / given.max()


def _draw_places(
    ground: NetworkDomain, count: int, chance: Array, rng: np.random.Generator, prefix: str
) -> dict[str, Array]:
    latitude, longitude, normal = draw_scattered_places(count, rng, lambda y, x: chance[ground.find_nearest(y, x)])
    row, column = ground.find_nearest(latitude, longitude)
    places = {"latitude": latitude, "longitude": longitude}
    if ground.height is not None and ground.land is not None:
        uneven = np.maximum(ground.height[row, column] + ROUGHNESS * normal, 0)
        places["altitude"] = np.where(ground.is_sea[row, column], 0.0, uneven)
    return places | {"station": np.array([f"{prefix}{n:04d}" for n in range(count)])}
