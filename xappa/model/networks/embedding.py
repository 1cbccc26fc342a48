"""Sine encodings, rotary embedding, token coordinates and window masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def frequencies(features: int, omega: float = 100.0) -> Tensor:
    """Frequencies omega^0 ... omega^-1, geometrically spaced: (features // 2,), float32."""
    exponent = torch.linspace(0, -1, features // 2, dtype=torch.float64)
    return torch.pow(torch.tensor(omega, dtype=torch.float64), exponent).to(torch.float32)


def sine_encoding(x: Tensor, features: int, omega: float = 100.0) -> Tensor:
    """Sines, then cosines, of `x` times each of the `frequencies`: (...) to (..., features)."""
    return _waves(x, frequencies(features, omega).to(x.device))


def _waves(x: Tensor, freqs: Tensor) -> Tensor:
    angle = x[..., None] * freqs
    return torch.cat((torch.sin(angle), torch.cos(angle)), -1)


class SineEncoding(nn.Module):
    """`sine_encoding` with its frequencies as a buffer, which official state dicts hold.

    Parameters
    ----------
    features : int
        Even.
    omega : float, default 100
        Ratio of the highest to the lowest frequency.
    """

    freqs: Tensor

    def __init__(self, features: int, omega: float = 100.0):
        super().__init__()
        self.register_buffer("freqs", frequencies(features, omega))

    def forward(self, x: Tensor) -> Tensor:
        """(...) to (..., features)."""
        return _waves(x, self.freqs)


def rope(x: Tensor, theta: Tensor) -> Tensor:
    """Rotate each pair (2i, 2i + 1) of features by the angle theta_i.

    Parameters
    ----------
    x : Tensor (..., L, D)
    theta : Tensor, broadcast to (..., L, D / 2)
        Angles, rad.

    References
    ----------
    Su et al. (2021), RoFormer, https://arxiv.org/abs/2104.09864
    """
    return rotate(x, torch.cos(theta), torch.sin(theta))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`rope` by angles of which the cosines and sines are known."""
    real, imaginary = x.unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack((real * cos - imaginary * sin, real * sin + imaginary * cos), -1)
    return turned.flatten(-2).to(x.dtype)


def list_grid_coordinates(shape: Sequence[int]) -> Tensor:
    """Integer coordinates of the cells of a grid, the last axis fastest: (L, len(shape)), float32."""
    axes = [torch.arange(n, dtype=torch.float32) for n in shape]
    return torch.cartesian_prod(*axes).reshape(-1, len(axes))
