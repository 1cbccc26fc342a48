"""Least squares of many series on one basis, and smoothing on the sphere's grid."""

from __future__ import annotations

import numpy as np


class Regression:
    """Least squares of many series on one basis, fed a piece at a time in double precision."""

    def __init__(self, size: int, width: int) -> None:
        self.gram = np.zeros((width, width))
        self.moment = np.zeros((width, size))

    def add(self, phi: np.ndarray, values: np.ndarray) -> None:
        """Take in rows: basis (n, width) and values (n, size)."""
        self.gram += phi.T @ phi
        self.moment += phi.T.astype("f4") @ values

    def solve(self) -> np.ndarray:
        """Coefficients (width, size)."""
        return np.linalg.solve(self.gram + 1e-9 * np.trace(self.gram) * np.eye(len(self.gram)), self.moment)


def smooth(field: np.ndarray, passes: int = 2) -> np.ndarray:
    """Average over 3 x 3 cells, `passes` times: periodic in longitude, edge rows repeated. Field (..., lat, lon)."""
    for _ in range(passes):
        rows = np.concatenate([field[..., :1, :], field, field[..., -1:, :]], -2)
        field = (rows[..., :-2, :] + rows[..., 1:-1, :] + rows[..., 2:, :]) / 3
        field = (np.roll(field, 1, -1) + field + np.roll(field, -1, -1)) / 3
    return field
