"""Self-attention of tokens on a grid: full attention, or attention of each token to a window around it.

References
----------
Su et al. (2021), RoFormer: enhanced transformer with rotary position embedding, https://arxiv.org/abs/2104.09864
(`Rotation`). Beltagy, Peters and Cohan (2020), Longformer: the long-document transformer,
https://arxiv.org/abs/2004.05150 (attention within a sliding window).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xappa.model.networks.embedding import rotate

MAX_GATHERED_ELEMENTS = 2**26
"""Elements of keys, or of values, that windowed attention gathers at once; larger work is done in several parts."""


class Rotation(NamedTuple):
    """Cosines and sines of the rotary angles of L tokens, in heads of D channels: (heads, L, D / 2) each."""

    cosine: Tensor
    sine: Tensor


@dataclass(frozen=True)
class WindowTiles:
    """A grid of L tokens in N boxes of Q query tokens, each box with K key tokens.

    All axes are periodic, latitude and time too, as in the networks of Appa whose weights are read. What a token sees
    then depends only on its position within its box, so that one mask of shape (Q, K) serves all boxes.

    Parameters
    ----------
    query : int64 Tensor (N, Q)
        Tokens of each box. The last box along an axis may overlap the one before.
    key : int64 Tensor (N, K)
        Tokens that at least one token of the box sees.
    mask : bool Tensor (Q, K)
        True where a token sees another.
    place : int64 Tensor (L,)
        Index of each token in `query`, flattened.

    Examples
    --------
    Five tokens on one axis, of which each sees itself and its two neighbours; the last box overlaps the one before.

    >>> tiles = WindowTiles.from_window([5], [3])
    >>> tiles.query.tolist(), tiles.key.tolist()
    ([[0, 1], [2, 3], [3, 4]], [[4, 0, 1, 2], [1, 2, 3, 4], [2, 3, 4, 0]])
    >>> tiles.mask.int().tolist(), tiles.place.tolist()
    ([[1, 1, 1, 0], [0, 1, 1, 1]], [0, 1, 2, 3, 5])
    """

    query: Tensor
    key: Tensor
    mask: Tensor
    place: Tensor

    @staticmethod
    def from_window(shape: Sequence[int], window: Sequence[int]) -> WindowTiles:
        """Build boxes so that each token sees those at most ``window // 2`` away along every axis; all are periodic."""
        axes = [_Axis.from_reach(n, min(extent // 2, n // 2)) for n, extent in zip(shape, window, strict=True)]
        query = _combine_axis_indices([axis.query for axis in axes], shape)
        slot = _combine_axis_indices([axis.slot for axis in axes], [axis.query.shape[1] for axis in axes])
        tile = _combine_axis_indices([axis.tile for axis in axes], [len(axis.query) for axis in axes])
        return WindowTiles(
            query,
            _combine_axis_indices([axis.key for axis in axes], shape),
            reduce(
                lambda a, b: (a[:, None, :, None] & b[None, :, None]).flatten(2).flatten(0, 1), [a.mask for a in axes]
            ),
            (tile * query.shape[1] + slot)[0],
        )


class _Axis(NamedTuple):
    """Boxes along one axis of n tokens.

    Shapes are (N, Q) for `query`, (N, K) for `key` and (Q, K) for `mask`. The box of each token (`tile`) and its
    position in that box (`slot`) have the shape (1, n).
    """

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


def _combine_axis_indices(parts: list[Tensor], sizes: Sequence[int]) -> Tensor:
    """Flat index (C order) of every combination of per-axis indices; `sizes` are the axis lengths.

    From indices (a, b) of each axis, an array (product of a, product of b).
    """
    total = parts[0]
    for part, size in zip(parts[1:], sizes[1:], strict=True):
        total = (total[:, None, :, None] * size + part[None, :, None]).flatten(2).flatten(0, 1)
    return total


def attend_within(q: Tensor, k: Tensor, v: Tensor, tiles: WindowTiles) -> Tensor:
    """Attention of each token to its window.

    Queries, keys and values have the shape (B, heads, L, D), as the result does.
    """
    size = max(1, MAX_GATHERED_ELEMENTS // (k[:, :, 0].numel() * tiles.key.shape[1]))
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
    channels : int
        Features of a token, C. A head has D = C / heads of them.
    heads : int
        Number of heads, each with queries, keys and values (B, L, D).
    qk_norm : bool
        Whether queries and keys are divided by their root mean square within a head.
    """

    def __init__(self, channels: int, heads: int, qk_norm: bool):
        super().__init__()
        self.heads, self.qk_norm = heads, qk_norm
        self.qkv_proj = nn.Linear(channels, 3 * channels, bias=False)
        self.y_proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, rotation: Rotation | None = None, tiles: WindowTiles | None = None) -> Tensor:
        """Attend from tokens (B, L, channels) to tokens of the same shape; full attention without `tiles`."""
        q, k, v = self.qkv_proj(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.qk_norm:
            q, k = (F.rms_norm(part, part.shape[-1:], eps=1e-5) for part in (q, k))
        if rotation is not None:
            q, k = rotate(q, *rotation), rotate(k, *rotation)
        y = F.scaled_dot_product_attention(q, k, v) if tiles is None else attend_within(q, k, v, tiles)
        return self.y_proj(y.transpose(1, 2).flatten(-2))
