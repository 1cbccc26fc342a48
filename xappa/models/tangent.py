"""The linear map that comes nearest to the decoder: a stand-in for its derivative at a small part of the cost."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xappa.models.layers import Conv


class Tangent(nn.Module):
    """A 3 x 3 convolution on the latent grid that gives all pixels of a cell at once.

    Parameters
    ----------
    latents : int
        Latent channels C.
    channels : int
        Channels of the state.
    factor : int
        Pixels along a side of a cell.
    """

    def __init__(self, latents: int, channels: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.cells = Conv(latents, channels * factor**2, padding="longitude")
        nn.init.zeros_(self.cells.bias)  # type: ignore[arg-type]

    def forward(self, latents: Tensor) -> Tensor:
        """Deviations of the state (B, channel, H, W) from deviations of the latents (B, h, w, C)."""
        return F.pixel_shuffle(self.cells(latents.permute(0, 3, 1, 2)), self.factor)

    @torch.no_grad()
    def fit(self, latents: Tensor, fields: Tensor) -> None:
        """Least squares: latents (B, h, w, C), fields (B, channel, H, W); their means are taken out first."""
        x, y = latents - latents.mean(0), fields - fields.mean(0)
        columns = F.pad(F.pad(x.permute(0, 3, 1, 2), (1, 1, 0, 0), mode="circular"), (0, 0, 1, 1))
        rows = F.unfold(columns, 3).mT.flatten(0, 1).double()
        target = F.pixel_unshuffle(y, self.factor).flatten(2).mT.flatten(0, 1).double()
        gram = rows.mT @ rows
        ridge = 1e-6 * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
        weight = torch.linalg.solve(gram + ridge, rows.mT @ target)
        self.cells.weight.copy_(weight.mT.reshape(self.cells.weight.shape))

    @torch.no_grad()
    def explained(self, latents: Tensor, fields: Tensor) -> float:
        """Share of the variance of `fields` that the map gives; arguments as in `fit`."""
        x, y = latents - latents.mean(0), fields - fields.mean(0)
        return 1 - float((y - self(x)).square().mean() / y.square().mean())
