"""Several sets of observations of one state, as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from xappa.diffusion.guidance import InflatedCovariance, JoinedCovariance, Linearised, Observation
from xappa.diffusion.guidance.covariance import ErrorCovariance
from xappa.diffusion.guidance.linearised import LinearFunction, LinearMap


@dataclass(frozen=True)
class StackedMap:
    """Linear maps of one state, their values side by side.

    Parameters
    ----------
    maps : sequence of LinearMap
    sizes : list of int
        Values of each.
    """

    maps: Sequence[LinearMap]
    sizes: list[int]

    def forward(self, v: Tensor) -> Tensor:
        """See `LinearMap`."""
        return torch.cat([a.forward(v) for a in self.maps], -1)

    def adjoint(self, u: Tensor) -> Tensor:
        """See `LinearMap`."""
        return torch.stack([a.adjoint(part) for a, part in zip(self.maps, u.split(self.sizes, -1), strict=True)]).sum(0)


def join_observations(observations: Sequence[Observation]) -> Observation | None:
    """One observation of several whose errors are independent of each other; None of none.

    All are brought to units of their errors first.

    Parameters
    ----------
    observations : sequence of Observation
    """
    parts = [observation for observation in observations if observation.y.shape[-1]]
    if len(parts) < 2:
        return parts[0] if parts else None
    parts = [part.whiten() for part in parts]
    sizes = [part.y.shape[-1] for part in parts]
    rows = next((part.y.shape[0] for part in parts if part.y.ndim > 1), None)
    ys = [part.y if rows is None or part.y.ndim > 1 else part.y.expand(rows, -1) for part in parts]

    def operator(x: Tensor) -> Tensor:
        return torch.cat([part.operator(x) for part in parts], -1)

    def tangent(x: Tensor) -> Tensor:
        return torch.cat([part.tangent(x) for part in parts], -1)  # type: ignore[misc]

    def linearise(x: Tensor) -> tuple[LinearMap, Tensor]:
        found = [_linearise(part, x) for part in parts]
        return StackedMap([a for a, _ in found], sizes), torch.cat([value for _, value in found], -1)

    def noise(k: int) -> Tensor:
        return torch.cat([part.noise(k) for part in parts], -1)  # type: ignore[misc]

    joint = Observation(torch.cat(ys, -1), operator, _combine_variances(parts, sizes))
    if all(part.noise is not None for part in parts):
        joint = replace(joint, noise=noise)
    if all(part.tangent is not None and part.linearise is None for part in parts):
        return replace(joint, tangent=tangent)
    if any(part.linearise is not None for part in parts):
        return replace(joint, linearise=linearise)
    return joint


def _linearise(part: Observation, x: Tensor) -> tuple[LinearMap, Tensor]:
    if part.linearise is not None:
        return part.linearise(x)
    if part.tangent is None:
        a = Linearised(part.operator, x)
        return a, a.value
    a = LinearFunction(part.tangent, x)
    with torch.no_grad():
        return a, part.operator(x)


def _combine_variances(parts: Sequence[Observation], sizes: list[int]) -> Tensor | ErrorCovariance:
    """Variances of whitened parts: 1, except for parts that have no factor to be whitened by."""
    if not any(isinstance(part.variance, ErrorCovariance) for part in parts):
        return torch.cat([part.variance for part in parts])  # type: ignore[misc]
    correlated, shares = [], []
    indices = torch.arange(sum(sizes), device=parts[0].y.device).split(sizes)
    for part, index in zip(parts, indices, strict=True):
        if isinstance(part.variance, InflatedCovariance):
            correlated.append((index, part.variance.correlated))
            shares.append(part.variance.share)
        else:
            shares.append(torch.zeros(len(index)).to(part.y))
    share = torch.cat(shares)
    return InflatedCovariance(JoinedCovariance(torch.ones_like(share), correlated), share)
