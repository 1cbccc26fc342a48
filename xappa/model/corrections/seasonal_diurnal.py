"""A linear correction that differs with the place, the season and the hour."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xappa.model.corrections.linear import PatternCorrection
from xappa.model.corrections.local import with_neighbours
from xappa.model.dates import DATE_FUNCTIONS, date_basis


@dataclass(frozen=True)
class SeasonalDiurnalSpec:
    """Size of the correction.

    Parameters
    ----------
    shape : tuple of int
        Shape of the latents, (h, w, C).
    rank : int, default 1056
        Patterns that all places share.
    """

    shape: tuple[int, int, int]
    rank: int = 1056

    @property
    def inputs(self) -> int:
        """Number of predictors of a grid point."""
        return self.shape[2] * (DATE_FUNCTIONS + 6)


class SeasonalDiurnalCorrection(PatternCorrection):
    """M(place) times an estimate there as functions of the date modulate it, before, after and beside it.

    Parameters
    ----------
    spec : SeasonalDiurnalSpec
    """

    after_network = True
    tensor_name = "dated"

    def __init__(self, spec: SeasonalDiurnalSpec) -> None:
        h, w, c = spec.shape
        super().__init__(h * w, spec.inputs, c, spec.rank)
        self.spec = spec

    def forward(self, estimate: Tensor, c_noise: Tensor, date: Tensor) -> Tensor:
        """Correction of windows (B, K, h, w, C), the same at all noise levels; date (B, K, 4)."""
        batch, k, h, w, c = estimate.shape
        out = stack_regressors(estimate, date) @ self.get_matrices()
        return out.view(h, w, batch, k, c).permute(2, 3, 0, 1, 4)


def stack_regressors(estimate: Tensor, date: Tensor) -> Tensor:
    """Predictors of the correction at each grid point and time: (h w, B K, inputs).

    Parameters
    ----------
    estimate : Tensor (B, K, h, w, C)
    date : integer Tensor (B, K, 4)

    Returns
    -------
    Tensor
        The estimate times each function of `date_basis`; that of the time before and of the time after, 0 beyond the
        window; those of the four neighbours, as `with_neighbours` orders them.
    """
    c = estimate.shape[-1]
    beside = with_neighbours(estimate)[..., c:]
    here = estimate.permute(2, 3, 0, 1, 4)
    nothing = torch.zeros_like(here[..., :1, :])
    dated = (here[..., None, :] * date_basis(date).to(here)[..., None]).flatten(-2)
    before = torch.cat([nothing, here[..., :-1, :]], -2)
    after = torch.cat([here[..., 1:, :], nothing], -2)
    return torch.cat([dated, before, after, beside.permute(2, 3, 0, 1, 4)], -1).flatten(2, 3).flatten(0, 1)
