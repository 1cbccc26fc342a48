"""The sphere: places as unit vectors, and distances along great circles."""

from __future__ import annotations

import numpy as np

from xappa._typing import Array

EARTH_RADIUS = 6371.0
"""Mean radius, km: of distances between reports."""

WGS84_RADIUS = 6371.0088
"""Mean radius of WGS 84, km: of orbits and footprints."""


def to_unit_vectors(latitude: Array, longitude: Array) -> Array:
    """Places on the unit sphere.

    Parameters
    ----------
    latitude, longitude : array (...)
        Degrees, of shapes that broadcast.

    Returns
    -------
    array (..., 3)
    """
    phi, lam = np.broadcast_arrays(np.deg2rad(latitude), np.deg2rad(longitude))
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)


def chord_to_arc(chord: Array) -> Array:
    """Distances along great circles, km, of places so far apart straight through the unit sphere."""
    return 2 * EARTH_RADIUS * np.arcsin(np.clip(chord / 2, 0, 1))


def arc_to_chord(distance: float) -> float:
    """Straight line through the unit sphere between places `distance` km apart on its surface."""
    return float(2 * np.sin(min(distance / EARTH_RADIUS, np.pi) / 2))
