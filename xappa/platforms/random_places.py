"""Random places: cells of a grid by density, single values of a state, points anywhere on the sphere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xappa._typing import Array

Rng = np.random.Generator


def compute_relative_area(latitude: Array) -> Array:
    """Area of grid points at `latitude` (degrees), relative."""
    return np.cos(np.deg2rad(latitude)).clip(min=0)


def draw_cells(density: Array, count: int, rng: Rng, replace: bool = False) -> Array:
    """Random cells.

    Parameters
    ----------
    density : array of any shape
        How likely each cell is, relative to the others.
    count : int
        Number of reports; without replacement at most as many as there are cells.
    rng : Generator
    replace : bool, default False
        Whether a cell may be drawn more than once.

    Returns
    -------
    int array (count,)
        Positions in the flattened density.
    """
    flat = np.asarray(density, float).ravel()
    return rng.choice(len(flat), count if replace else min(count, len(flat)), replace=replace, p=flat / flat.sum())


def draw_within_cells(cell: Array, latitude: Array, longitude: Array, rng: Rng) -> tuple[Array, Array]:
    """Uniform places inside cells of a regular global grid: latitudes and longitudes (0 to 360), degrees.

    Parameters
    ----------
    cell : int array (N,)
        row * columns + column.
    latitude, longitude : array
        Centres of the rows and columns, degrees.
    rng : Generator
    """
    row, column = np.divmod(cell, len(longitude))
    dy, dx = 180 / len(latitude), 360 / len(longitude)
    return (
        np.clip(latitude[row] + dy * rng.uniform(-0.5, 0.5, len(cell)), -90, 90),
        (longitude[column] + dx * rng.uniform(-0.5, 0.5, len(cell))) % 360,
    )


def draw_values(mask: Array, fraction: float, times: int, rng: Rng) -> tuple[Array, Array, Array]:
    """Random single values of a state, anew at each time.

    Parameters
    ----------
    mask : bool array (channel, latitude, longitude)
        Where there is a value.
    fraction : float
        Share of them that is drawn.
    times : int
    rng : Generator

    Returns
    -------
    time, channel, cell : int array (N,)
    """
    there = np.flatnonzero(mask)
    count = round(fraction * len(there))
    drawn = [np.sort(rng.choice(there, count, replace=False)) for _ in range(times)]
    channel, cell = np.divmod(np.concatenate(drawn), mask[0].size)
    return np.repeat(np.arange(times), count), channel, cell


def draw_places(count: int, rng: Rng) -> tuple[Array, Array]:
    """Places uniform on the sphere: latitudes and longitudes (0 to 360), degrees."""
    return np.rad2deg(np.arcsin(rng.uniform(-1, 1, count))), rng.uniform(0, 360, count)


def draw_scattered_places(count: int, rng: Rng, chance: Callable[[Array, Array], Array]) -> tuple[Array, Array, Array]:
    """Places anywhere on the sphere, kept with a chance that depends on the place.

    Parameters
    ----------
    count : int
    rng : Generator
    chance : callable
        Of latitudes and longitudes: between 0 and 1.

    Returns
    -------
    latitude, longitude : array (count,)
        Degrees.
    normal : array (count,)
        A standard normal number of each place, to be used for whatever varies between them.
    """
    found: list[tuple[Array, Array, Array]] = []
    while sum(len(part[0]) for part in found) < count:
        size = 12 * count
        latitude, longitude = draw_places(size, rng)
        kept = rng.uniform(size=size) < chance(latitude, longitude)
        normal = rng.normal(0, 1, size)
        found.append((latitude[kept], longitude[kept], normal[kept]))
    latitude, longitude, normal = (np.concatenate(parts)[:count] for parts in zip(*found, strict=True))
    return latitude, longitude, normal
