"""Self-attention of tokens on a grid: of all to all, or of each to those in a window around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xappa.model.networks.embedding import rotate

CHUNK = 2**26
"""Numbers that are gathered at once."""


class Rotation(NamedTuple):
    """Cosines and sines of the rotary angles of L tokens, in heads of D channels: (heads, L, D / 2) each."""

    cosine: Tensor
    sine: Tensor


@dataclass(frozen=True)
class Tiles:
    """A grid of L tokens in N boxes of Q tokens, which together may see K.

    All axes are round: whom a token sees depends on its place in its box alone, and one small mask serves all boxes.

    Parameters
    ----------
    query : int64 Tensor (N, Q)
        Tokens of each box. The last box along an axis may overlap the one before.
    key : int64 Tensor (N, K)
        Tokens that any of them sees.
    mask : bool Tensor (Q, K)
        True where a token sees another.
    place : int64 Tensor (L,)
        Where to find each token in `query`, flattened.
    """

    query: Tensor
    key: Tensor
    mask: Tensor
    place: Tensor

    @staticmethod
    def from_window(shape: Sequence[int], window: Sequence[int]) -> Tiles:
        """Boxes in which each cell finds those at most ``window // 2`` from it along every axis; all axes are round."""
        axes = [_Axis.from_reach(n, min(extent // 2, n // 2)) for n, extent in zip(shape, window, strict=True)]
        query = _numbers([axis.query for axis in axes], shape)
        slot = _numbers([axis.slot for axis in axes], [axis.query.shape[1] for axis in axes])
        tile = _numbers([axis.tile for axis in axes], [len(axis.query) for axis in axes])
        return Tiles(
            query,
            _numbers([axis.key for axis in axes], shape),
            reduce(
                lambda a, b: (a[:, None, :, None] & b[None, :, None]).flatten(2).flatten(0, 1), [a.mask for a in axes]
            ),
            (tile * query.shape[1] + slot)[0],
        )


class _Axis(NamedTuple):
    """Boxes along one axis of n tokens: (N, Q), (N, K), (Q, K); the box of each token, and the place there: (1, n)."""

    query: Tensor
    key: Tensor
    mask: Tensor
    tile: Tensor
    slot: Tensor

    @staticmethod
    def from_reach(n: int, reach: int) -> _Axis:
        size = min(n, reach + 1)
        width = min(n, size + 2 * reach)
        start = (torch.arange(-(-n // size)) * size).clamp(max=n - size)[:, None]
        inside, around = torch.arange(size), torch.arange(width) - reach
        apart = (inside[:, None] - around).remainder(n)
        tile = torch.arange(n)[None] // size
        slot = torch.arange(n)[None] - start[tile[0], 0]
        return _Axis(start + inside, (start + around) % n, torch.minimum(apart, n - apart) <= reach, tile, slot)


def _numbers(parts: list[Tensor], sizes: Sequence[int]) -> Tensor:
    """Numbers (prod a, prod b), the last axis fastest, from those along each axis (a, b), of axes of so many."""
    total = parts[0]
    for part, size in zip(parts[1:], sizes[1:], strict=True):
        total = (total[:, None, :, None] * size + part[None, :, None]).flatten(2).flatten(0, 1)
    return total


def attend_within(q: Tensor, k: Tensor, v: Tensor, tiles: Tiles) -> Tensor:
    """Attention of each token to its window: queries, keys, values (B, heads, L, D) to (B, heads, L, D)."""
    size = max(1, CHUNK // (k[:, :, 0].numel() * tiles.key.shape[1]))
    parts = []
    for query, key in zip(tiles.query.split(size), tiles.key.split(size), strict=True):
        boxes = [x[:, :, index].transpose(1, 2).flatten(0, 1) for x, index in ((q, query), (k, key), (v, key))]
        y = F.scaled_dot_product_attention(boxes[0], boxes[1], boxes[2], attn_mask=tiles.mask)
        parts.append(y.unflatten(0, (len(q), -1)))
    return torch.cat(parts, 1).transpose(1, 2).flatten(2, 3)[:, :, tiles.place]


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

    def forward(self, x: Tensor, rotation: Rotation | None = None, tiles: Tiles | None = None) -> Tensor:
        """Tokens (B, L, channels) to the same shape; without tiles, all see all."""
        q, k, v = self.qkv_proj(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.qk_norm:
            q, k = (F.rms_norm(part, part.shape[-1:], eps=1e-5) for part in (q, k))
        if rotation is not None:
            q, k = rotate(q, *rotation), rotate(k, *rotation)
        y = F.scaled_dot_product_attention(q, k, v) if tiles is None else attend_within(q, k, v, tiles)
        return self.y_proj(y.transpose(1, 2).flatten(-2))
