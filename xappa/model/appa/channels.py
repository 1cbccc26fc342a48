"""Variables, levels and grid points of the channels of official models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xappa.errors import ModelError, warn

SURFACE = (
    "2m_temperature",
    "10m_u_component_of_wind",
    "10m_v_component_of_wind",
    "mean_sea_level_pressure",
    "sea_surface_temperature",
    "total_precipitation",
)
UPPER_AIR = ("temperature", "u_component_of_wind", "v_component_of_wind", "geopotential", "specific_humidity")
MASKED = ("sea_surface_temperature",)
LEVELS_13 = (50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 925, 1000)
LEVELS_37 = (
    *(1, 2, 3, 5, 7, 10, 20, 30, 50, 70, 100, 125, 150, 175, 200, 225, 250, 300, 350, 400, 450, 500, 550, 600, 650),
    *(700, 750, 775, 800, 825, 850, 875, 900, 925, 950, 975, 1000),
)

Channels = tuple[tuple[str, int | None], ...]


def list_channels(number: int, levels: Sequence[int] = ()) -> Channels:
    """Variable and level (hPa) of each of `number` channels: six at the surface, then five variables by level.

    The number says which levels: 13 or 37, or all of `levels` where it fits those. A state of any other size is taken
    to be the first channels of the 13-level order, with a warning.

    Parameters
    ----------
    number : int
        Channels of the autoencoder.
    levels : sequence of int
        Levels of the statistics, hPa.

    Raises
    ------
    ModelError
        If there are more channels than names.
    """
    for known in (LEVELS_13, LEVELS_37, tuple(levels)):
        if number == len(SURFACE) + len(UPPER_AIR) * len(known):
            return _order(known)
    small, large = _order(LEVELS_13), _order(LEVELS_37)
    if number > len(large):
        raise ModelError(f"The autoencoder has {number} channels; expected {len(small)} or {len(large)}.")
    order = (small if number < len(small) else large)[:number]
    name, level = order[-1]
    last = name if level is None else f"{name} at {level} hPa"
    warn(
        f"The autoencoder has {number} channels; official states have 71 (13 levels) or 191 (37 levels). They are "
        f"taken to be the first ones of the official order, up to {last}."
    )
    return order


def _order(levels: Sequence[int]) -> Channels:
    surface: Channels = tuple((name, None) for name in SURFACE)
    return surface + tuple((name, int(level)) for name in UPPER_AIR for level in levels)


def make_equiangular_grid(shape: tuple[int, int]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Latitudes from north to south, and longitudes eastward from 0, of an equiangular grid of that shape.

    An odd number of latitudes includes both poles, as at 0.25 degrees; an even number lies half a step inside them.
    """
    rows, columns = shape
    step = 180 / (rows - 1) if rows % 2 else 180 / rows
    first = 90.0 if rows % 2 else 90 - step / 2
    latitude = first - step * np.arange(rows)
    return tuple(latitude.tolist()), tuple((360 / columns * np.arange(columns)).tolist())
