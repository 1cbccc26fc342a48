"""A linear correction of the Gaussian's estimate that differs from place to place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from xappa.model.corrections.linear import LinearCorrection
from xappa.model.dates import local_time, year_progress
from xappa.model.networks.embedding import sine_encoding
from xappa.model.networks.initial import draw_normal, is_built_for_sizes


@dataclass(frozen=True)
class LocalSpec:
    """Size of the correction.

    Parameters
    ----------
    window : int
        Times K.
    shape : tuple of int
        Shape of the latents, (h, w, C).
    rank : int, default 96
        Matrices that all places share.
    features : int, default 64
        Number of features of the gains.
    modes : int, default 0
        Cosines in time, from the slowest, that are corrected; 0: all K.
    neighbours : bool, default False
        Whether a place is corrected by its four neighbours too.
    """

    window: int
    shape: tuple[int, int, int]
    rank: int = 96
    features: int = 64
    modes: int = 0
    neighbours: bool = False

    @property
    def cosines(self) -> int:
        """Number of cosines that are corrected."""
        return self.modes or self.window

    @property
    def inputs(self) -> int:
        """Number of predictors of a grid point, for each cosine."""
        return self.shape[2] * (5 if self.neighbours else 1)


class LocalCorrection(LinearCorrection):
    """Correction of a zonally homogeneous Gaussian at each grid point: M(place) times its estimate there and beside it.

    In time, windows are taken apart into cosines. For each, M is a matrix from the channels of one place (and of its
    neighbours) to those of the place, which is a weighted sum of `rank` matrices that all places share. Gains, which
    depend on the noise level and the season, scale what goes in and what comes out.

    Parameters
    ----------
    spec : LocalSpec
    """

    tensor_name = "local.{}"
    cosines: Tensor

    def __init__(self, spec: LocalSpec) -> None:
        super().__init__()
        self.spec = spec
        h, w, c = spec.shape
        k = spec.cosines
        self.register_buffer("cosines", cosine_basis(spec.window)[:k], persistent=False)
        self.weights = nn.Parameter(torch.zeros(k, h * w, spec.rank))
        self.matrices = nn.Parameter(draw_normal(k, spec.rank, spec.inputs, c, divisor=c))
        self.gains = nn.Sequential(
            nn.Linear(spec.features + 4, spec.features), nn.SiLU(), nn.Linear(spec.features, 2 * k * c)
        )
        nn.init.zeros_(self.gains[2].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.gains[2].bias)  # type: ignore[arg-type]

    def forward(self, estimate: Tensor, c_noise: Tensor, date: Tensor) -> Tensor:
        """Correction of windows (B, K, h, w, C); c_noise (B,), date (B, K, 4) of which the first time counts."""
        batch, _, h, w, c = estimate.shape
        k = self.spec.cosines
        first = date[:, 0]
        season = torch.cat([year_progress(first), local_time(first, 0.0)], -1).to(estimate)
        code = torch.cat([sine_encoding(c_noise, self.spec.features).to(estimate), season], -1)
        inward, outward = (1 + self.gains(code)).view(batch, 2, k, 1, 1, c).unbind(1)
        modes = torch.einsum("kt,bthwc->bkhwc", self.cosines, estimate) * inward
        if self.spec.neighbours:
            modes = with_neighbours(modes)
        modes = modes.permute(1, 2, 3, 0, 4).reshape(k * h * w, batch, -1) @ self.get_matrices()
        modes = modes.view(k, h, w, batch, c).permute(3, 0, 1, 2, 4) * outward
        return torch.einsum("kt,bkhwc->bthwc", self.cosines, modes)

    def _compute_matrices(self) -> Tensor:
        """M of each cosine and place: (cosine h w, inputs, C)."""
        return (self.weights @ self.matrices.flatten(2)).view(-1, self.spec.inputs, self.spec.shape[2])


def with_neighbours(x: Tensor) -> Tensor:
    """Channels of each place, then of the one to its south, north, west and east: (..., h, w, C) to (..., h, w, 5 C).

    Beside the first and the last row lies, across the pole, the same row on the opposite meridian.
    """
    rows, columns = x.shape[-3:-1]
    over = x.roll(columns // 2, -2)
    before = torch.cat([over[..., :1, :, :], x[..., : rows - 1, :, :]], -3)
    after = torch.cat([x[..., 1:, :, :], over[..., -1:, :, :]], -3)
    return torch.cat([x, before, after, x.roll(1, -2), x.roll(-1, -2)], -1)


def cosine_basis(length: int) -> Tensor:
    """Orthonormal cosines (the second discrete cosine transform): (mode, time)."""
    if is_built_for_sizes():
        return torch.empty(length, length)
    k = torch.arange(length, dtype=torch.float64)
    waves = torch.cos(math.pi / length * k[:, None] * (k + 0.5)) * math.sqrt(2 / length)
    waves[0] /= math.sqrt(2)
    return waves.float()
