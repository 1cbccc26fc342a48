"""The network that corrects the Gaussian denoiser: convolutions over the latent grid, with all times as channels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from xappa.errors import ModelError
from xappa.model.dates import local_time, year_progress
from xappa.model.networks.embedding import sine_encoding
from xappa.model.networks.initial import draw_normal
from xappa.model.networks.layers import Conv
from xappa.model.state import DEEPEST


@dataclass(frozen=True)
class ResidualSpec:
    """Size of the network: window K, latent shape (h, w, C), hidden channels, blocks, features of the noise level."""

    window: int
    shape: tuple[int, int, int]
    hidden: int = 224
    blocks: int = 5
    features: int = 128

    def __post_init__(self) -> None:
        """Check the range."""
        if self.blocks > DEEPEST:
            raise ModelError(f"blocks is {self.blocks}; expected at most {DEEPEST}")


class _Block(nn.Module):
    """x + c conv(SiLU(conv((1 + a) norm(x) + b))), with (a, b, c) from the noise level and the date."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(features, 3 * channels)
        self.first = Conv(channels, channels, padding="longitude")
        self.second = Conv(channels, channels, padding="longitude")
        with torch.no_grad():
            self.modulation.weight.mul_(0.1)
            self.modulation.bias.zero_()
            self.modulation.bias[2 * channels :] = 1.0
            self.second.weight.mul_(0.2)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        a, b, c = self.modulation(code)[:, :, None, None].chunk(3, 1)
        y = nn.functional.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],)).permute(0, 3, 1, 2)
        return x + c * self.second(nn.functional.silu(self.first((1 + a) * y + b)))


class ResidualNetwork(nn.Module):
    """Residual network on windows of latents.

    Parameters
    ----------
    spec : ResidualSpec
    """

    def __init__(self, spec: ResidualSpec) -> None:
        super().__init__()
        self.spec = spec
        h, w, c = spec.shape
        width = spec.window * c
        self.enter = nn.Conv2d(2 * width, spec.hidden, 1)
        self.place = nn.Parameter(draw_normal(1, spec.hidden, h, w).mul_(0.1))
        self.code = nn.Sequential(
            nn.Linear(spec.features + 4, spec.features), nn.SiLU(), nn.Linear(spec.features, spec.features), nn.SiLU()
        )
        self.blocks = nn.ModuleList(_Block(spec.hidden, spec.features) for _ in range(spec.blocks))
        self.leave = nn.Conv2d(spec.hidden, width, 1)
        self.gate = nn.Linear(spec.features, 2 * width)
        with torch.no_grad():
            self.leave.weight.mul_(0.1)
            nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]
            self.gate.weight.mul_(0.01)
            self.gate.bias.zero_()

    def forward(self, x: Tensor, gauss: Tensor, c_noise: Tensor, date: Tensor) -> Tensor:
        """Windows x and gauss (B, K, h, w, C), c_noise (B,), date (B, K, 4) of which the first time counts."""
        batch, k, h, w, c = x.shape
        maps = [v.permute(0, 1, 4, 2, 3).reshape(batch, k * c, h, w) for v in (x, gauss)]
        first = date[:, 0]
        season = torch.cat([year_progress(first), local_time(first, 0.0)], -1).to(x.dtype)
        code = self.code(torch.cat([sine_encoding(c_noise, self.spec.features).to(x.dtype), season], -1))
        y = self.enter(torch.cat(maps, 1).contiguous(memory_format=torch.channels_last)) + self.place
        for block in self.blocks:
            y = block(y, code)
        gates = self.gate(code)[:, :, None, None].chunk(2, 1)
        out = self.leave(nn.functional.silu(y)) + gates[0] * maps[0] + gates[1] * maps[1]
        return out.reshape(batch, k, c, h, w).permute(0, 1, 3, 4, 2)
