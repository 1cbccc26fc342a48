"""Points on the unit sphere: from degrees, to the corners of cells, and which neighbours close a grid."""

from __future__ import annotations

import numpy as np

from xappa._typing import Array


def normalise(vectors: Array) -> Array:
    """Vectors (..., 3) of length 1."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def is_closed(points: Array) -> bool:
    """Whether the last column of a curvilinear grid (H, W, 3) is followed by the first."""
    if points.shape[1] < 3:
        return False
    with np.errstate(invalid="ignore"):
        steps = np.linalg.norm(np.diff(points, axis=1), axis=2)
        seam = np.linalg.norm(points[:, -1] - points[:, 0], axis=1)
        near = seam <= 1.5 * np.nanmax(steps, axis=1) if np.isfinite(steps).any() else np.zeros(len(seam), bool)
    known = np.isfinite(seam)
    return bool(known.any() and near[known].all() and np.nanmax(seam) < 1.0)


def build_quads(points: Array) -> Array:
    """Corners of cells (H * W, 4, 3) round points (H, W, 3): the middle of four neighbours, beyond the edge as far."""
    closed = is_closed(points)
    wide = np.empty((points.shape[0] + 2, points.shape[1] + 2, 3))
    wide[1:-1, 1:-1] = points
    wide[1:-1, 0] = points[:, -1] if closed else _extrapolate_edge(points[:, 0], points[:, 1])
    wide[1:-1, -1] = points[:, 0] if closed else _extrapolate_edge(points[:, -1], points[:, -2])
    wide[0], wide[-1] = _extrapolate_edge(wide[1], wide[2]), _extrapolate_edge(wide[-2], wide[-3])
    corner = normalise(wide[:-1, :-1] + wide[1:, :-1] + wide[:-1, 1:] + wide[1:, 1:])
    around = (corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1])
    return np.stack(around, axis=2).reshape(-1, 4, 3)


def _extrapolate_edge(edge: Array, inner: Array) -> Array:
    return normalise(2 * edge - inner)
