"""Which points of a grid the official experiments observe: cells of stations, cells that a satellite sees."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from xappa._typing import Array
from xappa.argument_types import check_arguments
from xappa.platforms.orbit import Orbit


@check_arguments
def station_cells(latitude: Array, longitude: Array, step: float = 0.25) -> Array:
    """Points of an equiangular grid with poles that are nearest to some station.

    As in the official experiments, stations are rounded to the grid (halves to even), and those that are rounded to
    180 degrees east are lost, since the official grid has -180 instead.

    Parameters
    ----------
    latitude, longitude : array (N,)
        Degrees north, and degrees east from -180 to 180.
    step : float, default 0.25
        Distance of grid points, degrees; row 0 is the north pole and column 0 the meridian of Greenwich.

    Returns
    -------
    int64 array (M,)
        row * columns + column, ascending, each once.
    """
    rows, columns = round(180 / step) + 1, round(360 / step)
    y = np.rint(np.asarray(latitude, float) / step).astype(np.int64)
    x = np.rint(np.asarray(longitude, float) / step).astype(np.int64)
    kept = x != columns // 2
    return np.unique(((rows - 1) // 2 - y[kept]) * columns + x[kept] % columns)


@check_arguments
def satellite_cells(
    orbit: Orbit,
    latitude: Array,
    longitude: Array,
    *,
    hour: int = 0,
    delay: float = 0.0,
    per_hour: int = 60,
    radius: float = 5.0,
) -> Array:
    """Grid points that a satellite passes within a distance in one hour.

    Parameters
    ----------
    orbit : Orbit
    latitude, longitude : array
        Of the rows and columns of the grid, degrees.
    hour : int, default 0
        Number of the hour since the start.
    delay : float, default 0
        Age of the orbit at the start, h.
    per_hour : int, default 60
        Positions of the satellite in an hour.
    radius : float, default 5
        Great-circle distance, degrees (the official ``fov``).

    Returns
    -------
    int64 array (M,)
        row * columns + column, ascending.
    """
    latitude, longitude = np.asarray(latitude, float), np.asarray(longitude, float)
    track = orbit.compute_track(delay + hour + np.arange(per_hour) / per_hour)
    seen = np.zeros((len(latitude), len(longitude)), bool)
    south, east = np.deg2rad(latitude), np.deg2rad(longitude)
    for y, x in zip(*np.deg2rad(track), strict=True):
        rows = np.flatnonzero(np.abs(south - y) <= np.deg2rad(radius + 1e-6))
        above, turned = (np.sin(south[rows]) * np.sin(y))[:, None], np.cos(east - x)
        # The cosine of the distance, by the law of cosines on the sphere.
        seen[rows] |= above + (np.cos(south[rows]) * np.cos(y))[:, None] * turned >= np.cos(np.deg2rad(radius))
    return np.flatnonzero(seen)


@check_arguments
def satellite_steps(
    orbit: Orbit,
    latitude: Array,
    longitude: Array,
    steps: Iterable[int],
    *,
    step_hours: int = 1,
    delay: float = 0.0,
    per_hour: int = 60,
    radius: float = 5.0,
) -> list[Array]:
    """Cells seen at each step of a trajectory: those of the last hour of the step that begins with it.

    Parameters
    ----------
    steps : iterable of int
        Numbers of the times, from 0.
    step_hours : int, default 1
        Hours between them.
    orbit, latitude, longitude, delay, per_hour, radius
        See `satellite_cells`.
    """
    hours = [step_hours * (n + 1) - 1 for n in steps]
    return [
        satellite_cells(orbit, latitude, longitude, hour=hour, delay=delay, per_hour=per_hour, radius=radius)
        for hour in hours
    ]


@check_arguments
def split(cells: Array, held_out: int, seed: int) -> tuple[Array, Array]:
    """Cells to assimilate, and cells held out, in the random order of the official experiments.

    The order is that of ``torch.randperm`` on the CPU with a generator of that seed: Mersenne twister, one 32-bit draw
    a position, reduced by remainder.

    Parameters
    ----------
    cells : int array (N,)
    held_out : int
        How many.
    seed : int

    Returns
    -------
    assimilated, held_out : int array

    References
    ----------
    Matsumoto, Nishimura (1998), Mersenne twister, https://doi.org/10.1145/272991.272995
    """
    draws = np.random.RandomState(seed).randint(0, 2**32, max(len(cells) - 1, 0), np.uint32)
    order = np.arange(len(cells))
    for k, draw in enumerate(draws.tolist()):
        other = k + draw % (len(cells) - k)
        order[k], order[other] = order[other], order[k]
    drawn = np.asarray(cells)[order]
    return drawn[held_out:], drawn[:held_out]
