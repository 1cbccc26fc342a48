"""A linear correction that differs with the place, the season and the hour."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from xappa.models.corrections import Correction, of_places
from xappa.models.dates import DATE_FUNCTIONS, date_basis
from xappa.models.local import with_neighbours


@dataclass(frozen=True)
class DatedSpec:
    """Size of the correction.

    Parameters
    ----------
    shape : tuple of int
        Of the latents, (h, w, C).
    rank : int, default 1056
        Patterns that all places share.
    """

    shape: tuple[int, int, int]
    rank: int = 1056

    @property
    def inputs(self) -> int:
        """How many numbers a place is corrected by."""
        return self.shape[2] * (DATE_FUNCTIONS + 6)


class DatedCorrection(Correction):
    """M(place) times an estimate there as functions of the date modulate it, before, after and beside it.

    M is the sum of `rank` patterns u v^T that all places share, each with a weight at every place.

    Parameters
    ----------
    spec : DatedSpec

    References
    ----------
    Kolda and Bader (2009), Tensor decompositions and applications, SIAM Review 51, section 3,
    https://doi.org/10.1137/07070111X
    """

    def __init__(self, spec: DatedSpec) -> None:
        super().__init__()
        self.spec = spec
        h, w, c = spec.shape
        self.weights = nn.Parameter(torch.zeros(h * w, spec.rank))
        self.inward = nn.Parameter(torch.randn(spec.rank, spec.inputs) / spec.inputs**0.5)
        self.outward = nn.Parameter(torch.randn(spec.rank, c) / c**0.5)

    def forward(self, estimate: Tensor, date: Tensor) -> Tensor:
        """Correction of windows (B, K, h, w, C); date (B, K, 4)."""
        batch, k, h, w, c = estimate.shape
        out = regressors(estimate, date) @ self.matrices_of_places()
        return out.view(h, w, batch, k, c).permute(2, 3, 0, 1, 4)

    def _of_places(self) -> Tensor:
        """M of each place: (h w, inputs, C)."""
        return of_places(self.weights, self.inward, self.outward)


def regressors(estimate: Tensor, date: Tensor) -> Tensor:
    """What a place is corrected by at each time: (h w, B K, inputs).

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
