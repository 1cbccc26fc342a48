"""The linear map that comes nearest to the decoder: a stand-in for its derivative at a small part of the cost."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xappa.model.networks.layers import Conv

STATES = 100  # at a time: their neighbourhoods take nine times the memory


class LinearDecoder(nn.Module):
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
    def adjoint(self, weight: Tensor, channel: Tensor, row: Tensor, column: Tensor, shape: tuple[int, int]) -> Tensor:
        """The transpose, for sums of few pixels: what each of them is as a functional of the latents.

        Parameters
        ----------
        weight, channel, row, column : Tensor, (M, P)
            The pixels of each sum.
        shape : tuple of int
            Latent (h, w).

        Returns
        -------
        Tensor, (M, h, w, C)
        """
        f, (height, width) = self.factor, shape
        kernel = self.cells.weight[channel * f**2 + row % f * f + column % f]  # (M, P, C, 3, 3)
        out = torch.zeros(len(weight), height + 2, width, kernel.shape[2]).to(weight)
        report = torch.arange(len(weight), device=weight.device)[:, None].expand_as(row)
        for i in range(3):
            for j in range(3):
                place = (report, row // f + i, (column // f + j - 1) % width)
                out.index_put_(place, weight[..., None] * kernel[..., i, j], accumulate=True)
        return out[:, 1:-1]  # beyond the poles there is nothing

    @torch.no_grad()
    def fit(self, latents: Tensor, fields: Tensor) -> None:
        """Least squares: latents (B, h, w, C), fields (B, channel, H, W); their means are taken out first."""
        x_mean, y_mean = latents.mean(0), fields.mean(0)
        inputs, outputs = 9 * latents.shape[-1], fields.shape[1] * self.factor**2
        gram, product = (torch.zeros(inputs, n, dtype=torch.float64) for n in (inputs, outputs))
        for x, y in zip(latents.split(STATES), fields.split(STATES), strict=True):
            columns = F.pad((x - x_mean).permute(0, 3, 1, 2), (1, 1, 0, 0), mode="circular")
            rows = F.unfold(F.pad(columns, (0, 0, 1, 1)), 3).mT.flatten(0, 1).double()
            gram += rows.mT @ rows
            product += rows.mT @ F.pixel_unshuffle(y - y_mean, self.factor).flatten(2).mT.flatten(0, 1).double()
        ridge = 1e-6 * gram.diagonal().mean() * torch.eye(inputs, dtype=gram.dtype)
        weight = torch.linalg.solve(gram + ridge, product)
        self.cells.weight.copy_(weight.mT.reshape(self.cells.weight.shape))

    @torch.no_grad()
    def compute_explained_share(self, latents: Tensor, fields: Tensor) -> float:
        """Share of the variance of `fields` that the map gives; arguments as in `fit`."""
        x, y = latents - latents.mean(0), fields - fields.mean(0)
        return 1 - float((y - self(x)).square().mean() / y.square().mean())
