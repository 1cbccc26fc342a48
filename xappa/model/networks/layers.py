"""Building blocks of the convolutional autoencoder."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.autograd.forward_ad as forward_ad
import torch.nn.functional as F
from torch import Tensor, nn

PADDINGS = ("zeros", "circular", "longitude")
"""Padding of convolutions: zeros; periodic on both axes; periodic in longitude, zeros in latitude."""


class Conv(nn.Conv2d):
    """3x3 convolution that keeps the extent (stride 1) or divides it (stride 2).

    Parameters
    ----------
    in_channels, out_channels : int
    stride : int, default 1
    padding : {"zeros", "circular", "longitude"}, default "zeros"
        See `PADDINGS`. The last axis is longitude.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, padding: str = "zeros"):
        edge = {"zeros": (1, 1), "longitude": (1, 0), "circular": (0, 0)}[padding]
        super().__init__(in_channels, out_channels, kernel_size=3, stride=stride, padding=edge)
        self.joined: tuple[int, ...] = {"zeros": (), "longitude": (-1,), "circular": (-1, -2)}[padding]

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        for dim in self.joined:
            x = torch.cat((x.narrow(dim, -1, 1), x, x.narrow(dim, 0, 1)), dim)
        value, tangent = forward_ad.unpack_dual(x)
        if tangent is None or forward_ad.unpack_dual(self.weight).tangent is not None:
            return super().forward(x)
        # By itself torch would convolve with the tangent of the weights as well, which is zero: half the work again.
        return forward_ad.make_dual(super().forward(value), self._conv_forward(tangent, self.weight, None))


def patchify(x: Tensor, patch: tuple[int, int]) -> Tensor:
    """(B, C, h*p, w*q) to (B, C*p*q, h, w), with channel ``(c*p + i)*q + j``."""
    p, q = patch
    if p == q:
        return F.pixel_unshuffle(x, p)
    x = x.unflatten(3, (-1, q)).unflatten(2, (-1, p))
    return x.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)


def unpatchify(x: Tensor, patch: tuple[int, int]) -> Tensor:
    """Inverse of `patchify`."""
    p, q = patch
    if p == q:
        return F.pixel_shuffle(x, p)
    x = x.unflatten(1, (-1, p, q)).permute(0, 1, 4, 2, 5, 3)
    return x.flatten(4, 5).flatten(2, 3)


class ChannelNorm(nn.Module):
    """Mean zero and variance one over the channels of each pixel, without parameters.

    The variance is the unbiased one (divisor C - 1), as in the official networks. 16-bit inputs are normalised in
    float32.

    Parameters
    ----------
    eps : float, default 1e-5
        Added to the variance. A buffer, because official state dicts hold it.
    """

    eps: Tensor

    def __init__(self, eps: float = 1e-5):
        super().__init__()
        self.register_buffer("eps", torch.as_tensor(eps))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape and dtype."""
        wide = x.float() if x.dtype.itemsize < 4 else x
        variance, mean = torch.var_mean(wide, dim=1, keepdim=True)
        return ((wide - mean) * torch.rsqrt(variance + self.eps.to(wide.dtype))).to(x.dtype)


class ResBlock(nn.Module):
    """``x + conv(SiLU(conv(norm(x))))``, with `factor` times the channels between the convolutions."""

    def __init__(self, channels: int, factor: int = 1, padding: str = "zeros"):
        super().__init__()
        self.norm = ChannelNorm()
        self.ffn = nn.Sequential(
            Conv(channels, factor * channels, padding=padding),
            nn.SiLU(),
            nn.Identity(),  # the official networks have a dropout here, which counts in the names
            Conv(factor * channels, channels, padding=padding),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return x + self.ffn(self.norm(x))


class ElementwiseAffine(nn.Module):
    """A factor and an offset for every number of a field: what is different at this place from all others."""

    def __init__(self, channels: int, shape: tuple[int, int]):
        super().__init__()
        self.factor = nn.Parameter(torch.zeros(channels, *shape))
        self.offset = nn.Parameter(torch.zeros(channels, *shape))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape; at the beginning, the identity."""
        return x * (1 + self.factor).to(x.dtype) + self.offset.to(x.dtype)


def _softclip(x: Tensor, bound: float) -> Tensor:
    return x / (1 + abs(x) / bound)


def _softclip2(x: Tensor, bound: float) -> Tensor:
    return x * torch.rsqrt(1 + torch.square(x / bound))


def _tanh(x: Tensor, bound: float) -> Tensor:
    return torch.tanh(x / bound) * bound


def _asinh(x: Tensor, bound: float) -> Tensor:
    return torch.asinh(x)


def _rmsnorm(x: Tensor, bound: float) -> Tensor:
    return x * torch.rsqrt(torch.mean(torch.square(x), dim=1, keepdim=True) + 1e-5)


def _identity(x: Tensor, bound: float) -> Tensor:
    return x


SATURATIONS: dict[str | None, Callable[[Tensor, float], Tensor]] = {
    "softclip": _softclip,
    "softclip2": _softclip2,
    "tanh": _tanh,
    "asinh": _asinh,
    "rmsnorm": _rmsnorm,
    None: _identity,
}
"""Functions of (B, C, H, W) and a bound that keep latents in a range; the last three ignore the bound."""
