"""Correction of a decoder's residual in some channels: linear in the latents, local to every grid point."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from xappa.model.corrections.linear import PatternCorrection


class DecoderCorrection(PatternCorrection):
    """M(cell) times the latents of a cell and of the eight around it, and one: all pixels of the cell at once.

    Parameters
    ----------
    shape : (int, int, int)
        Shape of the latents, (h, w, C).
    factor : int
        Pixels along a side of a cell.
    channels : int
        Number of channels of the state that are corrected.
    rank : int
        Patterns.
    """

    def __init__(self, shape: tuple[int, int, int], factor: int, channels: int, rank: int) -> None:
        h, w, c = shape
        super().__init__(h * w, 1 + 9 * c, channels * factor**2, rank)
        self.shape, self.factor = (h, w), factor

    def forward(self, z: Tensor) -> Tensor:
        """Correction (B, channels, H, W) of what latents (B, C, h, w) are decoded to."""
        pixels = gather_neighbours(z) @ self.get_matrices().to(z.dtype)
        return F.pixel_shuffle(pixels.permute(1, 2, 0).unflatten(2, self.shape), self.factor)


def gather_neighbours(z: Tensor) -> Tensor:
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
