"""Diffusion transformer over windows of latents (appa's ViDiT)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import prod
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xappa.errors import ModelError
from xappa.models.dates import date_codes
from xappa.models.embedding import SineEncoding, coordinates, rope, window_mask


@dataclass(frozen=True)
class TransformerSpec:
    """Hyper-parameters, named as in official configurations (section ``backbone``).

    Parameters
    ----------
    in_channels : int
        Channels C of the latents.
    blanket_size : int
        Times K of a window.
    shape : (int, int)
        Latitudes and longitudes (h, w) of the latents.
    hid_channels, hid_blocks : int
        Width and depth.
    attention_heads : int
    mod_features : int
        Features of the code of the noise level; 0 for a network that is not told of it.
    ffn_factor : int
        Widening of the feed-forward layers.
    qk_norm : bool
        Whether queries and keys are normalised.
    rope : bool
        Whether they are rotated by learned multiples of their coordinates.
    patch_size : (int, int, int)
        Times, latitudes, longitudes that make one token.
    window_size : (int, int, int) or None
        Extent in tokens within which a token sees others (`embedding.window_mask`); None: it sees all.

    Raises
    ------
    ModelError
        If the values do not fit together; all problems are named.
    """

    in_channels: int
    blanket_size: int
    shape: tuple[int, int]
    hid_channels: int
    hid_blocks: int
    attention_heads: int
    mod_features: int = 256
    ffn_factor: int = 4
    qk_norm: bool = True
    rope: bool = True
    patch_size: tuple[int, int, int] = (1, 1, 1)
    window_size: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        """Check that the values fit together."""
        window, problems = (self.blanket_size, *self.shape), []
        if any(n % p for n, p in zip(window, self.patch_size, strict=True)):
            problems.append(f"(time, latitude, longitude) {window} is not divisible by patch_size {self.patch_size}")
        if self.hid_channels % (2 * self.attention_heads):
            problems.append(f"hid_channels {self.hid_channels} is not a multiple of 2 * {self.attention_heads} heads")
        if self.mod_features % 2:
            problems.append(f"mod_features {self.mod_features} is odd; expected an even number")
        if problems:
            raise ModelError("Transformer that cannot be built: " + "; ".join(problems))

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any],
        in_channels: int | None = None,
        shape: tuple[int, int] | None = None,
    ) -> TransformerSpec:
        """Specification from a configuration; entries that do not shape the network are ignored.

        Parameters
        ----------
        config : mapping
            Section ``backbone`` of an official configuration, or ``dataclasses.asdict(spec)``.
        in_channels, shape : optional
            Latent channels and (latitude, longitude), which official configurations leave to the autoencoder's.

        Raises
        ------
        ModelError
            If entries are missing.
        """
        values: dict[str, Any] = {f.name: config[f.name] for f in fields(cls) if f.name in config}
        given = {"in_channels": in_channels, "shape": shape}
        values.update({key: value for key, value in given.items() if value is not None})
        required = ("in_channels", "blanket_size", "shape", "hid_channels", "hid_blocks", "attention_heads")
        missing = [key for key in required if key not in values]
        if missing:
            raise ModelError(f"Transformer configuration without {', '.join(missing)}; found {', '.join(config)}")
        for key in ("shape", "patch_size", "window_size"):
            if values.get(key) is not None:
                values[key] = tuple(values[key])
        return cls(**values)

    @property
    def tokens(self) -> tuple[int, int, int]:
        """Tokens along time, latitude and longitude."""
        t, h, w = (n // p for n, p in zip((self.blanket_size, *self.shape), self.patch_size, strict=True))
        return t, h, w


class Attention(nn.Module):
    """Multi-head self-attention.

    Parameters
    ----------
    channels, heads : int
    qk_norm : bool
        Whether queries and keys are divided by their root mean square within a head.
    """

    def __init__(self, channels: int, heads: int, qk_norm: bool):
        super().__init__()
        self.heads, self.qk_norm = heads, qk_norm
        self.qkv_proj = nn.Linear(channels, 3 * channels, bias=False)
        self.y_proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, theta: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Tokens (B, L, channels), rotary angles (L, channels / 2), mask (L, L), True where a token is seen."""
        q, k, v = self.qkv_proj(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.qk_norm:
            q, k = _rms_norm(q), _rms_norm(k)
        if theta is not None:
            angles = theta.unflatten(-1, (self.heads, -1)).transpose(0, 1)
            q, k = rope(q, angles), rope(k, angles)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.y_proj(y.transpose(1, 2).flatten(-2))


def _rms_norm(x: Tensor) -> Tensor:
    wide = x.float() if x.dtype.itemsize < 4 else x
    return (wide * torch.rsqrt(torch.mean(torch.square(wide), -1, keepdim=True) + 1e-5)).to(x.dtype)


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
        self.rotary = spec.rope
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
        self, x: Tensor, skip: Tensor, mod: Tensor | None, coords: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Tokens x and skip (B, L, channels), code (B or 1, mod_features), coordinates (L, 3), mask (L, L)."""
        a, b, c, d = self._modulation(mod)
        y = (1 + a) * F.layer_norm(x, x.shape[-1:]) + b
        y = y + self.msa(y, self._angles(coords), mask)
        y = self.ffn(y)
        y = (x + c * y) * torch.rsqrt(1 + c * c)
        return (y + d * skip) * torch.rsqrt(1 + d * d)

    def _angles(self, coords: Tensor) -> Tensor | None:
        if not self.rotary:
            return None
        # No matrix product: autocast would round the angles of far tokens.
        x, y, z = (c[:, None] * rate for c, rate in zip(coords.unbind(1), self.theta, strict=True))
        return x + y + z

    def _modulation(self, mod: Tensor | None) -> tuple[Tensor, ...]:
        if isinstance(self.ada_zero, nn.Parameter):
            return self.ada_zero.unbind(0)
        return self.ada_zero(mod).unflatten(-1, (4, 1, -1)).unbind(-3)


def _rotary_rates(pairs: int, heads: int) -> Tensor:
    """First guess of the rates of rotation, rad a token: each head holds all scales, in random directions."""
    rates = 10.0 ** -torch.linspace(0, 2, pairs // heads).repeat(heads)
    directions = F.normalize(torch.randn(3, pairs), dim=0)
    return rates * directions


class Transformer(nn.Module):
    """Transformer on windows of latents; parameters are named as in official state dicts.

    Parameters
    ----------
    spec : TransformerSpec
    """

    coords: Tensor
    mask: Tensor | None

    def __init__(self, spec: TransformerSpec):
        super().__init__()
        self.spec = spec
        volume, hidden = prod(spec.patch_size), spec.hid_channels
        self.in_proj = nn.Linear(volume * (spec.in_channels + 4 * spec.blanket_size), hidden)
        self.out_proj = nn.Linear(hidden, volume * spec.in_channels)
        self.positional_embedding = nn.Sequential(SineEncoding(hidden), nn.Flatten(-2), nn.Linear(3 * hidden, hidden))
        self.blocks = nn.ModuleList(Block(spec) for _ in range(spec.hid_blocks))
        if spec.mod_features:
            self.diffusion_time_encoder = SineEncoding(spec.mod_features)
        self.register_buffer("coords", coordinates(spec.tokens), persistent=False)
        mask = None if spec.window_size is None else window_mask(spec.tokens, spec.window_size)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor, t: Tensor, date: Tensor) -> Tensor:
        """One evaluation.

        Parameters
        ----------
        x : Tensor (B, K, h, w, C)
            Windows of scaled noisy latents.
        t : Tensor () or (B,) or (1,)
            Code of the noise level.
        date : integer Tensor (K, 4) or (B, K, 4)
            Year, month, day, hour of each time.

        Returns
        -------
        Tensor (B, K, h, w, C)
        """
        skip = self._tokens(x, date)
        y = skip + self.positions()
        mod = self.modulation(t).to(x.dtype) if self.spec.mod_features else None
        for block in self.blocks:
            y = block(y, skip, mod, self.coords, self.mask)
        return self._untokens(self.out_proj(y))

    def modulation(self, t: Tensor) -> Tensor:
        """Code of the noise level: t () or (B,) to (1 or B, mod_features)."""
        return self.diffusion_time_encoder(t.reshape(-1))

    def positions(self) -> Tensor:
        """Embedding of the places of the tokens: (L, hid_channels)."""
        encoding, linear = self.positional_embedding[0], cast(nn.Linear, self.positional_embedding[2])
        # A sum over axes, each with few distinct coordinates: the linear map is applied to those only.
        weights = linear.weight.chunk(3, 1)
        t, h, w = (
            F.linear(encoding(torch.arange(n, dtype=self.coords.dtype, device=self.coords.device)), weight)
            for n, weight in zip(self.spec.tokens, weights, strict=True)
        )
        return (t[:, None, None] + h[:, None] + w + linear.bias).flatten(0, 2)

    def _tokens(self, x: Tensor, date: Tensor) -> Tensor:
        """Project patches, and the date codes that all of them share, to tokens (B, L, hid_channels)."""
        p, q, r = self.spec.patch_size
        x = x.unflatten(3, (-1, r)).unflatten(2, (-1, q)).unflatten(1, (-1, p))
        x = x.permute(0, 1, 3, 5, 7, 2, 4, 6).flatten(4).flatten(1, 3)
        own, shared = self.in_proj.weight.tensor_split([x.shape[-1]], 1)
        codes = date_codes(date.to(x.device)).to(x.dtype)
        shared = shared.unflatten(1, (codes.shape[-1], -1)).sum(-1)
        return F.linear(x, own, self.in_proj.bias) + F.linear(codes, shared).unsqueeze(-2)

    def _untokens(self, y: Tensor) -> Tensor:
        y = y.unflatten(-1, (self.spec.in_channels, *self.spec.patch_size)).unflatten(1, self.spec.tokens)
        return y.permute(0, 1, 5, 2, 6, 3, 7, 4).flatten(5, 6).flatten(3, 4).flatten(1, 2)
