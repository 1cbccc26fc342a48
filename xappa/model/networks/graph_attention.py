"""Attention along the edges of a graph that is repeated in time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHUNK = 2**26
"""Numbers that are gathered at once."""


@dataclass(frozen=True)
class Neighbours:
    """Whom each of N nodes may see, as tables of equal width.

    Parameters
    ----------
    node : int64 Tensor (N, U)
        Neighbours of each node, filled up with the node itself.
    same_time, other_times : bool Tensor (N, U)
        Whether the neighbour is seen at the node's own time, and whether at all others.
    """

    node: Tensor
    same_time: Tensor
    other_times: Tensor

    @staticmethod
    def from_edges(nodes: int, same_time: Tensor, other_times: Tensor) -> Neighbours:
        """Tables of edges (E, 2): node, neighbour."""
        kinds = [torch.unique(edges[:, 0] * nodes + edges[:, 1]) for edges in (same_time, other_times)]
        pairs = torch.unique(torch.cat(kinds))
        row, count = pairs // nodes, torch.bincount(pairs // nodes, minlength=nodes)
        column = torch.arange(len(pairs), device=pairs.device) - (count.cumsum(0) - count)[row]
        table = torch.arange(nodes, device=pairs.device)[:, None].repeat(1, int(count.max()))
        table[row, column] = pairs % nodes
        seen = [torch.zeros(table.shape, dtype=torch.bool, device=pairs.device) for _ in kinds]
        for mask, kind in zip(seen, kinds, strict=True):
            mask[row, column] = torch.isin(pairs, kind)
        return Neighbours(table, *seen)

    def make_mask(self, rows: slice, times: int) -> Tensor:
        """Which key each query sees: (rows, 1, times, times * U), queries by time, keys by time and neighbour."""
        own = torch.eye(times, dtype=torch.bool, device=self.node.device)[None, :, :, None]
        seen = torch.where(own, self.same_time[rows, None, None], self.other_times[rows, None, None])
        return seen.flatten(2)[:, None]


class GraphAttention(nn.Module):
    """Multi-head attention of nodes to their neighbours, with normalised queries and keys.

    Parameters
    ----------
    channels, heads : int
    """

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(channels, channels)
        self.kv_proj = nn.Linear(channels, 2 * channels)
        self.out_proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, neighbours: Neighbours | None) -> Tensor:
        """(B, K, N, channels) to the same shape; without neighbours, all see all."""
        q = self._split_heads(self.q_proj(x))
        k, v = (self._split_heads(part) for part in self.kv_proj(x).chunk(2, -1))
        q, k = (F.rms_norm(part, part.shape[-1:], eps=1e-5) for part in (q, k))
        y = self._attend_all(q, k, v) if neighbours is None else self._attend_neighbours(q, k, v, neighbours)
        return self.out_proj(y.flatten(-2))

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1))

    def _attend_all(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        query, key, value = (x.flatten(1, 2).transpose(1, 2) for x in (q, k, v))
        return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).unflatten(1, q.shape[1:3])

    def _attend_neighbours(self, q: Tensor, k: Tensor, v: Tensor, neighbours: Neighbours) -> Tensor:
        """Node by node: the queries of all its times share the keys of its neighbours at all times."""
        times, nodes = q.shape[1:3]
        size = max(1, CHUNK // (k[:, :, 0].numel() * neighbours.node.shape[1]))
        parts = []
        for begin in range(0, nodes, size):
            rows = slice(begin, begin + size)
            query = q[:, :, rows].permute(0, 2, 3, 1, 4)
            key, value = (
                x[:, :, neighbours.node[rows]].permute(0, 2, 4, 1, 3, 5).flatten(3, 4).contiguous() for x in (k, v)
            )
            mask = neighbours.make_mask(rows, times)
            parts.append(F.scaled_dot_product_attention(query, key, value, attn_mask=mask))
        return torch.cat(parts, 1).permute(0, 3, 1, 2, 4)
