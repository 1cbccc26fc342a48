"""Buoys that drift with the sea."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.argument_types import check_arguments
from xappa.geometry import WGS84_RADIUS
from xappa.observations.errors.tables import Errors
from xappa.platforms.domain import NetworkDomain
from xappa.platforms.random_places import draw_scattered_places
from xappa.platforms.schema import build_network


@check_arguments
def buoys(
    ds: xr.Dataset,
    count: int = 300,
    *,
    variables: Iterable[str] = ("sea_surface_temperature", "mean_sea_level_pressure"),
    speed: float = 0.2,
    memory: float = 3.0,
    every: float | None = None,
    errors: Errors | None = None,
    seed: int | np.random.Generator = 0,
) -> xr.Dataset:
    """Drifting buoys, released uniformly over the sea; they report wherever they are.

    Each component of their velocity is a first-order Markov process. A buoy that would go ashore waits.

    Parameters
    ----------
    ds : Dataset
        Gives times, grid and land fraction. Its values aren't read.
    count : int, default 300
        Number of buoys.
    variables : iterable of str
        What they report; default sea surface temperature and mean sea level pressure.
    speed : float, default 0.2
        Deviation of each component of the velocity, m/s.
    memory : float, default 3
        Time in which the velocity's correlation falls to 1/e, days.
    every : float, optional
        Hours between reports, counted from 00 UTC. Default: at all times of `ds`.
    errors, seed
        See `stations`.

    Returns
    -------
    Dataset
        Observations in the schema, with ``station``: 0 where something is to be observed.

    Raises
    ------
    DatasetError
        If `ds` does not say where land is.
    OptionError
        If a variable is unknown.

    References
    ----------
    Griffa, Owens, Piterbarg, Rozovskii (1995), Estimates of turbulence parameters from Lagrangian data using a
    stochastic particle model, Journal of Marine Research 53, 371-401 (velocities as a Markov process).
    """
    ground, rng = NetworkDomain.from_dataset(ds), np.random.default_rng(seed)
    sea, times, names = ground.is_sea, ground.select_times(every), ground.select_variables(variables)
    latitude, longitude, _ = draw_scattered_places(
        count, rng, lambda y, x: sea[ground.find_nearest(y, x)].astype(float)
    )
    velocity = speed * rng.standard_normal((2, count))
    track = [(latitude, longitude)]
    for seconds in np.diff(times) / np.timedelta64(1, "s"):
        moved = _move_places(latitude, longitude, velocity * seconds)
        afloat = sea[ground.find_nearest(*moved)]
        latitude, longitude = np.where(afloat, moved[0], latitude), np.where(afloat, moved[1], longitude)
        track.append((latitude, longitude))
        kept = np.exp(-seconds / (86400 * memory))
        velocity = kept * velocity + np.sqrt(1 - kept**2) * speed * rng.standard_normal((2, count))
    where = {
        "time": np.repeat(times, count),
        "latitude": np.concatenate([y for y, _ in track]),
        "longitude": np.concatenate([x for _, x in track]),
        "altitude": np.zeros(count * len(times)),
        "station": np.tile(np.array([f"B{n:04d}" for n in range(count)]), len(times)),
    }
    return build_network(where, names, errors)


def _move_places(latitude: Array, longitude: Array, metres: Array) -> tuple[Array, Array]:
    """Places that far to the east and north, along great circles."""
    distance = np.hypot(*metres) / (1e3 * WGS84_RADIUS)
    bearing, phi = np.arctan2(metres[0], metres[1]), np.deg2rad(latitude)
    north = np.sin(phi) * np.cos(distance) + np.cos(phi) * np.sin(distance) * np.cos(bearing)
    turn = np.arctan2(np.sin(bearing) * np.sin(distance) * np.cos(phi), np.cos(distance) - np.sin(phi) * north)
    return np.rad2deg(np.arcsin(np.clip(north, -1, 1))), (longitude + np.rad2deg(turn)) % 360
