"""Covariance of the errors of the reports that are read: from what observations say, into tensors."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr

from xappa._typing import Array
from xappa.diffusion.guidance import (
    BlockCovariance,
    ErrorCovariance,
    FactoredCovariance,
    InflatedCovariance,
    JoinedCovariance,
    SequenceCovariance,
)
from xappa.diffusion.guidance.covariance import LARGEST_BLOCK
from xappa.observations.errors.correlation import (
    Correlation,
    compute_distances,
    compute_unit_vectors,
    list_correlations,
)
from xappa.observations.schema import quantities


def build_error_covariance(
    obs: xr.Dataset,
    names: tuple[str, ...],
    variable: Array,
    observation: Array,
    error: Array,
    total: Array | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> ErrorCovariance | None:
    """Covariance of the errors of some rows.

    Parameters
    ----------
    obs : Dataset
        Observations in the schema, with `observations.correlation.with_correlation`.
    names : tuple of str
        Quantities.
    variable, observation : array of int, (M,)
        Index in `names`, and along ``obs``, of each row.
    error : array of float, (M,)
        Deviations of the reports' errors.
    total : array of float, (M,), optional
        Deviations including what is independent (representation by the model). Then the covariance is that of residuals
        in units of `total`.
    dtype : torch.dtype
    device : torch.device

    Returns
    -------
    ErrorCovariance or None
        None if all errors are independent.
    """
    parts = []
    for code, name in enumerate(names):
        of_name = np.flatnonzero(variable == code)
        if name not in obs or not len(of_name):
            continue
        for members, correlation in list_correlations(obs.isel(obs=observation[of_name]), name):
            rows = of_name[members]
            if len(rows) > 1:
                part = _build_covariance(correlation, obs.isel(obs=observation[rows]), dtype, device)
                parts.append((torch.tensor(rows, device=device), part))
    if not parts:
        return None
    if total is None:
        return JoinedCovariance(torch.as_tensor(error, dtype=dtype, device=device), parts)
    correlated = JoinedCovariance(torch.ones(len(error), dtype=dtype, device=device), parts)
    return InflatedCovariance(correlated, torch.as_tensor(error / total, dtype=dtype, device=device))


def select_correlation_coordinates(obs: xr.Dataset) -> xr.Dataset | None:
    """What `build_error_covariance` needs of observations, without their values; None if all errors are independent."""
    names = [name for name in quantities(obs) if list_correlations(obs, name)]
    if not names:
        return None
    nothing = np.zeros(obs.sizes["obs"], dtype="int8")
    return xr.Dataset({name: ("obs", nothing, obs[name].attrs) for name in names}, obs.coords)


def _build_covariance(
    correlation: Correlation, obs: xr.Dataset, dtype: torch.dtype, device: torch.device | str
) -> FactoredCovariance:
    groups = correlation.groups(obs)
    ones = torch.ones(obs.sizes["obs"], dtype=dtype, device=device)
    if correlation.sequential:
        position = torch.as_tensor(correlation.positions(obs, groups), dtype=dtype, device=device)
        return SequenceCovariance(ones, torch.tensor(groups, device=device), position)
    blocks = [
        (torch.as_tensor(b, device=device), _build_correlation_matrix(correlation, obs, b, dtype))
        for b in _split_groups(groups)
    ]
    return BlockCovariance(ones, blocks)


def _split_groups(groups: Array) -> list[Array]:
    """Indices of groups of two and more; larger ones than can be taken are cut."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(groups[order]) != 0])
    pieces = []
    for block in np.split(order, starts[1:]):
        pieces += np.array_split(block, -(-len(block) // LARGEST_BLOCK))
    return [piece for piece in pieces if len(piece) > 1]


def _build_correlation_matrix(
    correlation: Correlation, obs: xr.Dataset, block: Array, dtype: torch.dtype
) -> torch.Tensor:
    unit = np.eye(len(block))
    if correlation.kind == "uniform":
        matrix = correlation.strength + (1.0 - correlation.strength) * unit
    else:
        distance = compute_distances(compute_unit_vectors(obs.isel(obs=block)))
        # Two reports of one place would make it singular.
        matrix = np.exp(-distance / correlation.scale) * (1.0 - 1e-4) + 1e-4 * unit
    return torch.as_tensor(matrix, dtype=dtype)
