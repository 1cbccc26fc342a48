"""Satellites on circular orbits: where they are, and what they see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xappa._typing import Array
from xappa.errors import OptionError
from xappa.geometry import WGS84_RADIUS, to_unit_vectors

GRAVITY = 3.986004415e14  # of the Earth, m3 s-2
KM_A_DEGREE = np.pi * WGS84_RADIUS / 180


@dataclass(frozen=True)
class Orbit:
    """A circular orbit round a sphere that turns once in 24 h.

    Parameters
    ----------
    altitude : float, default 800
        Above the ground, km.
    inclination : float, default 75
        Of the orbit's plane against the equator, degrees: also the highest latitude.
    phase : float, default 0
        Longitude by which the plane is turned eastward, degrees.
    """

    altitude: float = 800.0
    inclination: float = 75.0
    phase: float = 0.0

    @property
    def period(self) -> float:
        """Time of one revolution, h."""
        radius = (WGS84_RADIUS + self.altitude) * 1e3
        return 2 * np.pi * np.sqrt(radius**3 / GRAVITY) / 3600

    def compute_track(self, hours: Array) -> tuple[Array, Array]:
        """Points below the satellite.

        At hour 0 it crosses the equator southward at 180 degrees west plus `phase`.

        Parameters
        ----------
        hours : array (...)
            Since the start of the orbit.

        Returns
        -------
        latitude, longitude : array (...)
            Degrees north, and degrees east from -180 to 180.
        """
        hours = np.asarray(hours, float)
        along = np.deg2rad(360 * hours / self.period)
        tilt = np.deg2rad(90 - self.inclination)
        # A great circle through the pole at longitude 0, tilted about the axis through the start.
        x, y, z = np.cos(along), np.sin(along) * np.sin(tilt), -np.sin(along) * np.cos(tilt)
        east = np.rad2deg(np.arctan2(y, x)) + self.phase - 15 * hours
        return np.rad2deg(np.arcsin(np.clip(z, -1, 1))), east % 360 - 180


ORBITS: dict[str, Orbit] = {
    "leo": Orbit(),
    "iss": Orbit(420.0, 51.6, 120.0),
    "metop": Orbit(817.0, 98.7),
}
"""Orbits by name: the official experiments' satellite, the space station, and the Metop satellites'."""


def choose_orbit(orbit: str | Orbit) -> Orbit:
    """An orbit, or the one of that name.

    Raises
    ------
    OptionError
        If there is none.
    """
    if isinstance(orbit, Orbit):
        return orbit
    if not isinstance(orbit, str) or orbit not in ORBITS:
        raise OptionError(f"Unknown orbit {orbit!r}; expected one of {', '.join(map(repr, ORBITS))}, or an Orbit")
    return ORBITS[orbit]


def offset_across_track(
    latitude: Array, longitude: Array, ahead: tuple[Array, Array], aside: Array
) -> tuple[Array, Array]:
    """Places to the right (positive) or left of a track.

    Parameters
    ----------
    latitude, longitude : array (N,)
        Points of the track, degrees.
    ahead : (array, array)
        Latitudes and longitudes of points a little farther along it.
    aside : array (K,)
        Great-circle distances, degrees.

    Returns
    -------
    latitude, longitude : array (N, K)
    """
    here, there = to_unit_vectors(latitude, longitude), to_unit_vectors(*ahead)
    right = np.cross(there, here)
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    angle = np.deg2rad(aside)[:, None]
    x, y, z = np.moveaxis(here[:, None] * np.cos(angle) + right[:, None] * np.sin(angle), -1, 0)
    return np.rad2deg(np.arcsin(np.clip(z, -1, 1))), np.rad2deg(np.arctan2(y, x))
