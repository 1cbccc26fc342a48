"""Errors of reports, drawn at random as their deviations and correlations say."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.linalg import solve_banded

from xappa._typing import Array
from xappa.observations.errors.correlation import (
    Correlation,
    compute_distances,
    compute_unit_vectors,
    list_correlations,
)

LARGEST_BLOCK = 512
NEAREST = 0.9999
"""Correlation of neighbours in a sequence beyond which they count as this much."""


def draw_standard_errors(obs: xr.Dataset, name: str, rows: Array, shape: tuple[int, ...], seed: int) -> Array:
    """Standard normal errors of a quantity, correlated as the observations say.

    They are a function of (seed, name, position along ``obs``) and, where they are correlated, of which reports there
    are.

    Parameters
    ----------
    obs : Dataset
        Observations in the schema, perhaps with `correlation.with_correlation`.
    name : str
        Quantity.
    rows : array of int
        Reports that there are.
    shape : tuple of int
        (..., obs); leading dimensions are drawn independently.
    seed : int
    """
    rng = np.random.default_rng([seed, *name.encode()])
    errors = rng.standard_normal(shape)
    for members, correlation in list_correlations(obs.isel(obs=rows), name):
        own = rows[members]
        if len(own):
            errors[..., own] = _correlate_noise(errors[..., own], correlation, obs.isel(obs=own), rng)
    return errors


def _correlate_noise(white: Array, correlation: Correlation, obs: xr.Dataset, rng: np.random.Generator) -> Array:
    groups = correlation.groups(obs)
    if correlation.sequential:
        return _run_autoregression(white, groups, correlation.positions(obs, groups))
    if correlation.kind == "uniform":
        common = rng.standard_normal((*white.shape[:-1], int(groups.max()) + 1))[..., groups]
        return np.sqrt(correlation.strength) * common + np.sqrt(1 - correlation.strength) * white
    result, places = white.copy(), compute_unit_vectors(obs)
    for block in _split_groups(groups):
        distance = compute_distances(places[block]) / correlation.scale
        # Reports at one place have errors in common, up to what keeps the matrix positive.
        matrix = np.where(np.eye(len(block), dtype=bool), 1.0, NEAREST * np.exp(-distance))
        result[..., block] = white[..., block] @ np.linalg.cholesky(matrix).T
    return result


def _run_autoregression(white: Array, groups: Array, position: Array) -> Array:
    """First-order autoregression in the order of positions: correlation exp(-distance) within each group."""
    order = np.lexsort((position, groups))
    step = np.diff(position[order], prepend=position[order][:1])
    first = np.diff(groups[order], prepend=groups[order][:1] - 1) != 0
    rho = np.where(first, 0.0, np.minimum(np.exp(-np.abs(step)), NEAREST))
    new = white[..., order] * np.sqrt(1 - rho**2)
    bands = np.stack((np.ones_like(rho), np.append(-rho[1:], 0.0)))
    solved = solve_banded((1, 0), bands, new.reshape(-1, len(order)).T).T
    result = np.empty_like(white)
    result[..., order] = solved.reshape(white.shape)
    return result


def _split_groups(groups: Array) -> list[Array]:
    order = np.argsort(groups, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    return [part[k : k + LARGEST_BLOCK] for part in parts for k in range(0, len(part), LARGEST_BLOCK)]
