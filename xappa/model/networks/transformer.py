"""Diffusion transformer over windows of latents (appa's ViDiT)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import prod
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xappa.model.dates import date_codes
from xappa.model.networks.attention import Rotation, WindowTiles
from xappa.model.networks.blocks import Block
from xappa.model.networks.embedding import SineEncoding, list_grid_coordinates
from xappa.model.networks.transformer_spec import TransformerSpec
from xappa.model.precision import disable_autocast

_TILES = [field.name for field in fields(WindowTiles)]


@dataclass(frozen=True, eq=False)
class TokenGrid:
    """Values that all evaluations share.

    Parameters
    ----------
    positions : Tensor (L, hid_channels)
        Embedding of the places of the tokens.
    rotations : tuple of Rotation or None
        Rotary embedding of each block.
    """

    positions: Tensor
    rotations: tuple[Rotation | None, ...]


@dataclass(frozen=True, eq=False)
class Conditions:
    """Values that evaluations at the same dates share.

    Parameters
    ----------
    places : TokenGrid
    dates : Tensor (hid_channels,) or (B, hid_channels)
        What the codes of the dates add to every token.
    """

    places: TokenGrid
    dates: Tensor


class Transformer(nn.Module):
    """Transformer on windows of latents; parameters are named as in official state dicts.

    Parameters
    ----------
    spec : TransformerSpec
    """

    coords: Tensor

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
        self.register_buffer("coords", list_grid_coordinates(spec.tokens), persistent=False)
        tiles = None if spec.window_size is None else WindowTiles.from_window(spec.tokens, spec.window_size)
        for name in _TILES:
            self.register_buffer(f"tiles_{name}", None if tiles is None else getattr(tiles, name), persistent=False)

    def forward(self, x: Tensor, t: Tensor, date: Tensor | Conditions) -> Tensor:
        """One evaluation.

        Parameters
        ----------
        x : Tensor (B, K, h, w, C)
            Windows of scaled noisy latents.
        t : Tensor () or (B,) or (1,)
            Code of the noise level.
        date : integer Tensor (K, 4) or (B, K, 4), or Conditions
            Year, month, day, hour of each time; or what `prepare` made of them.

        Returns
        -------
        Tensor (B, K, h, w, C)
        """
        known = date if isinstance(date, Conditions) else self.prepare(date)
        tiles = self._tiles()
        with disable_autocast(x.device):
            skip = self._split_tokens(x, known.dates.to(x.dtype))
            y = skip + known.places.positions.to(x.dtype)
            mod = self.embed_noise_level(t).to(x.dtype) if self.spec.mod_features else None
        for block, rotation in zip(self.blocks, known.places.rotations, strict=True):
            y = block(y, skip, mod, rotation, tiles)
        with disable_autocast(x.device):
            return self._join_tokens(self.out_proj(y))

    def compute_shared(self) -> TokenGrid:
        """Compute what all evaluations share."""
        with disable_autocast(self.coords.device):
            rotations = tuple(cast(Block, block).make_rotation(self.coords) for block in self.blocks)
            return TokenGrid(self.embed_positions(), rotations)

    def prepare(self, date: Tensor, places: TokenGrid | None = None) -> Conditions:
        """Compute what evaluations at the same dates share; given to `forward` in their place, it changes no bit.

        Parameters
        ----------
        date : integer Tensor (K, 4) or (B, K, 4)
            Year, month, day, hour of each time.
        places : TokenGrid, optional
            What `compute_shared` computed before.
        """
        with disable_autocast(self.coords.device):
            return Conditions(self.compute_shared() if places is None else places, self._date_features(date))

    def embed_noise_level(self, t: Tensor) -> Tensor:
        """Code of the noise level: t () or (B,) to (1 or B, mod_features)."""
        return self.diffusion_time_encoder(t.reshape(-1))

    def embed_positions(self) -> Tensor:
        """Embedding of the places of the tokens: (L, hid_channels)."""
        encoding, linear = self.positional_embedding[0], cast(nn.Linear, self.positional_embedding[2])
        # A sum over axes, each with few distinct coordinates: the linear map is applied to those only.
        weights = linear.weight.chunk(3, 1)
        t, h, w = (
            F.linear(encoding(torch.arange(n, dtype=self.coords.dtype, device=self.coords.device)), weight)
            for n, weight in zip(self.spec.tokens, weights, strict=True)
        )
        return (t[:, None, None] + h[:, None] + w + linear.bias).flatten(0, 2)

    def _date_features(self, date: Tensor) -> Tensor:
        """Contribution to tokens (..., hidden) of the codes of dates (..., K, 4), which a patch's pixels share."""
        shared = self.in_proj.weight.tensor_split([self._own_inputs], 1)[1]
        codes = date_codes(date.to(shared.device)).to(shared.dtype)
        return F.linear(codes, shared.unflatten(1, (codes.shape[-1], -1)).sum(-1))

    def _split_tokens(self, x: Tensor, dates: Tensor) -> Tensor:
        """Project patches, and add the features of their dates: (B, L, hid_channels)."""
        p, q, r = self.spec.patch_size
        x = x.unflatten(3, (-1, r)).unflatten(2, (-1, q)).unflatten(1, (-1, p))
        x = x.permute(0, 1, 3, 5, 7, 2, 4, 6).flatten(4).flatten(1, 3)
        own = self.in_proj.weight.tensor_split([self._own_inputs], 1)[0]
        return F.linear(x, own, self.in_proj.bias) + dates.unsqueeze(-2)

    @property
    def _own_inputs(self) -> int:
        """Inputs of a token that are its own: those after them are codes of dates."""
        return prod(self.spec.patch_size) * self.spec.in_channels

    def _tiles(self) -> WindowTiles | None:
        if self.spec.window_size is None:
            return None
        return WindowTiles(*(self.get_buffer(f"tiles_{name}") for name in _TILES))

    def _join_tokens(self, y: Tensor) -> Tensor:
        y = y.unflatten(-1, (self.spec.in_channels, *self.spec.patch_size)).unflatten(1, self.spec.tokens)
        return y.permute(0, 1, 5, 2, 6, 3, 7, 4).flatten(5, 6).flatten(3, 4).flatten(1, 2)
