"""Block of the diffusion transformer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xappa.model.networks.attention import Attention, Rotation, Tiles
from xappa.model.networks.transformer_spec import TransformerSpec
from xappa.model.precision import disable_autocast


class Block(nn.Module):
    """Attention and feed-forward layer, modulated by the noise level, with two gated residuals.

    With (a, b, c, d) from the code of the noise level, s the tokens that entered the first block::

        y = (1 + a) norm(x) + b
        y = y + attention(y)
        y = feed_forward(y)
        y = (x + c y) / sqrt(1 + c^2)
        y = (y + d s) / sqrt(1 + d^2)
    """

    def __init__(self, spec: TransformerSpec):
        super().__init__()
        channels, features = spec.hid_channels, spec.mod_features
        self.ada_zero: nn.Sequential | nn.Parameter
        if features:
            last = nn.Linear(features, 4 * channels)
            self.ada_zero = nn.Sequential(nn.Linear(features, features), nn.SiLU(), last)
            with torch.no_grad():
                last.weight.mul_(0.01)
        else:
            self.ada_zero = nn.Parameter(0.01 * torch.randn(4, channels))
        self.heads, self.rotary = spec.attention_heads, spec.rope
        if spec.rope:
            self.theta = nn.Parameter(_rotary_rates(channels // 2, spec.attention_heads))
        self.msa = Attention(channels, spec.attention_heads, spec.qk_norm)
        self.ffn = nn.Sequential(
            nn.Linear(channels, spec.ffn_factor * channels),
            nn.SiLU(),
            nn.Identity(),  # the official networks have a dropout here, which counts in the names
            nn.Linear(spec.ffn_factor * channels, channels),
        )

    def forward(
        self, x: Tensor, skip: Tensor, mod: Tensor | None, rotation: Rotation | None, tiles: Tiles | None = None
    ) -> Tensor:
        """Tokens x and skip (B, L, channels), code (B or 1, mod_features) to tokens."""
        a, b, c, d = self._split_modulation(mod)
        y = (1 + a) * F.layer_norm(x, x.shape[-1:]) + b
        y = y + self.msa(y, rotation, tiles)
        y = self.ffn(y)
        y = (x + c * y) * torch.rsqrt(1 + c * c)
        return (y + d * skip) * torch.rsqrt(1 + d * d)

    def make_rotation(self, coords: Tensor) -> Rotation | None:
        """Rotation of tokens at coordinates (L, 3); None if the block has none."""
        if not self.rotary:
            return None
        # No matrix product: it could be one of 16 bits, or of fewer than 32, and angles of far tokens are large.
        x, y, z = (c[:, None] * rate for c, rate in zip(coords.unbind(1), self.theta, strict=True))
        angles = (x + y + z).unflatten(-1, (self.heads, -1)).transpose(0, 1)
        return Rotation(torch.cos(angles), torch.sin(angles))

    def _split_modulation(self, mod: Tensor | None) -> tuple[Tensor, ...]:
        if isinstance(self.ada_zero, nn.Parameter):
            return self.ada_zero.unbind(0)
        with disable_autocast(self.msa.y_proj.weight.device):
            return self.ada_zero(mod).unflatten(-1, (4, 1, -1)).unbind(-3)


def _rotary_rates(pairs: int, heads: int) -> Tensor:
    """First guess of the rates of rotation, rad a token: each head holds all scales, in random directions."""
    rates = 10.0 ** -torch.linspace(0, 2, pairs // heads).repeat(heads)
    directions = F.normalize(torch.randn(3, pairs), dim=0)
    return rates * directions
