"""From a network to a denoiser."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Denoiser(nn.Module):
    """Estimate of clean latents from noisy ones, for data of unit variance.

    With s^2 = sigma^2 + 1::

        D(x_t) = x_t / s^2 + sigma / s * F(x_t / s, 10 ln sigma, date)

    Parameters
    ----------
    backbone : Module
        F(x, t, date) -> Tensor like x, with t of shape (B,) or (1,).

    References
    ----------
    Karras et al. (2022), Elucidating the design space of diffusion-based generative models,
    https://arxiv.org/abs/2206.00364
    """

    def __init__(self, backbone: nn.Module):
        super().__init__()
        self.backbone = backbone

    def forward(self, x_t: Tensor, sigma: Tensor, date: Any) -> Tensor:
        """Mean of the clean latents, given noisy ones.

        Parameters
        ----------
        x_t : Tensor (B, K, h, w, C)
            Clean latents plus noise of deviation `sigma`.
        sigma : Tensor () or (1,) or (B,) or (B, 1)
            Deviation of the noise.
        date : integer Tensor (K, 4) or (B, K, 4)
            Year, month, day, hour of each time; or what the backbone's `prepare` made of them.

        Returns
        -------
        Tensor (B, K, h, w, C)
            In float32 where `x_t` has 16 bits: sigma^2 may be 10^6, and float16 ends at 65504.
        """
        x_t = x_t.to(torch.promote_types(x_t.dtype, torch.float32))
        sigma = sigma.reshape(-1).to(x_t)
        column = sigma.view(-1, *[1] * (x_t.ndim - 1))
        variance = column**2 + 1
        output = self.backbone(x_t * torch.rsqrt(variance), 10 * torch.log(sigma), date)
        return x_t / variance + column * torch.rsqrt(variance) * output
