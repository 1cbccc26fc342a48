"""What a decoder leaves of some channels, told linearly from the latents, at every place in its own way."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xappa.models.corrections import Correction, of_places


class Remainder(Correction):
    """M(cell) times the latents of a cell and of the eight around it, and one: all pixels of the cell at once.

    M is the sum of `rank` patterns u v^T that all cells share, each with a weight at every cell (as in
    `DatedCorrection`).

    Parameters
    ----------
    shape : (int, int, int)
        Of the latents, (h, w, C).
    factor : int
        Pixels along a side of a cell.
    channels : int
        How many channels of the state are corrected.
    rank : int

    Attributes
    ----------
    sizes : (int, int, int)
        Cells, and what M takes and gives.
    """

    def __init__(self, shape: tuple[int, int, int], factor: int, channels: int, rank: int) -> None:
        super().__init__()
        h, w, c = shape
        self.shape, self.factor = (h, w), factor
        inputs, outputs = 1 + 9 * c, channels * factor**2
        self.sizes = (h * w, inputs, outputs)
        self.weights = nn.Parameter(torch.zeros(h * w, rank))
        self.inward = nn.Parameter(torch.randn(rank, inputs) / inputs**0.5)
        self.outward = nn.Parameter(torch.randn(rank, outputs) / outputs**0.5)

    def forward(self, z: Tensor) -> Tensor:
        """Correction (B, channels, H, W) of what latents (B, C, h, w) are decoded to."""
        pixels = surroundings(z) @ self.matrices_of_places().to(z.dtype)
        return F.pixel_shuffle(pixels.permute(1, 2, 0).unflatten(2, self.shape), self.factor)

    def _of_places(self) -> Tensor:
        """M of each cell: (h w, inputs, outputs)."""
        return of_places(self.weights, self.inward, self.outward)


def surroundings(z: Tensor) -> Tensor:
    """One, and the latents of each cell and of the eight around it, zeros beyond the poles.

    Parameters
    ----------
    z : Tensor (B, C, h, w)

    Returns
    -------
    Tensor (h w, B, 1 + 9 C)
    """
    wide = F.pad(torch.cat((z[..., -1:], z, z[..., :1]), -1), (0, 0, 1, 1))
    around = F.unfold(wide, 3).permute(2, 0, 1)
    return torch.cat((torch.ones_like(around[..., :1]), around), -1)
