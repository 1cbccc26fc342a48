"""Interpolation weights of reports that do not move, computed once."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np

from xappa._typing import Array
from xappa.grids.bilinear import InterpolationWeights, compute_bilinear_weights


class HashablePlaces:
    """Latitudes and longitudes that are equal if their numbers are."""

    def __init__(self, latitude: Array, longitude: Array) -> None:
        self.latitude, self.longitude = (np.ascontiguousarray(v, float) for v in (latitude, longitude))
        self.digest = hashlib.blake2b(self.latitude.tobytes() + b"|" + self.longitude.tobytes()).digest()

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HashablePlaces) and self.digest == other.digest


@lru_cache(maxsize=4)
def get_corner_weights(
    places: HashablePlaces, latitudes: tuple[float, ...], longitudes: tuple[float, ...]
) -> InterpolationWeights:
    """`corners`, the same object for the same places and grid while some are in use; not to be changed."""
    return compute_bilinear_weights(places.latitude, places.longitude, latitudes, longitudes)
