r"""The extreme of linear readings of several states on tensors: whitened, differentiable through the state that wins.

With the state :math:`x = c + s \odot \zeta` and candidates :math:`H_k`, the reading is
:math:`\sigma^{-1} \max_k H_k (c + s \odot \zeta)`, compared with :math:`\sigma^{-1} (y - b)`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from xappa._typing import Array
from xappa.operators.sparse import SparseOperator


def select_extreme(candidates: Tensor, method: str) -> Tensor:
    """The largest or smallest along the last axis."""
    found = candidates.max(dim=-1) if method == "maximum" else candidates.min(dim=-1)
    return found.values


class WhitenedExtreme(torch.nn.Module):
    """Whitened extremes of standardised fields.

    Parameters
    ----------
    stencil : SparseOperator
        Of `frames`; its numbers candidate by candidate, see `arrange_by_state`.
    states : int
        Candidates of a report.
    method : {"maximum", "minimum"}
    frames : tuple of int
        Times of the fields that are given, of those that the stencil and the climatology index.
    climatology, scale, representation, extra_variance, dtype
        See `Reading`; of the errors of representation the largest of the candidates is taken.
    """

    index: Tensor
    weight: Tensor
    base: Tensor
    y: Tensor

    def __init__(
        self,
        stencil: SparseOperator,
        states: int,
        method: str,
        frames: tuple[int, ...],
        climatology: Array,
        scale: Array,
        *,
        representation: Array | None = None,
        extra_variance: Array | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.method, self.shape = method, (len(frames), *scale.shape)
        row, column = np.divmod(stencil.cell, scale.shape[-1])
        weight = stencil.weight * scale[stencil.channel, row, column]
        clim = climatology[stencil.time, stencil.channel, row, column]
        apart = (len(stencil), states, -1)
        base = (clim.astype(float) * stencil.weight).reshape(apart).sum(axis=-1)
        variance = stencil.error**2
        if representation is not None:
            error = np.asarray(representation)
            error = np.broadcast_to(error[:, None, None] if error.ndim == 1 else error, scale.shape)
            spread = np.abs(weight) * error[stencil.channel, row, column]
            variance = variance + spread.reshape(apart).sum(axis=-1).max(axis=-1, initial=0.0) ** 2
        if extra_variance is not None:
            variance = variance + extra_variance
        self.deviation = np.sqrt(variance)
        frame = np.searchsorted(frames, stencil.time)
        index = np.ravel_multi_index((frame, stencil.channel, row, column), self.shape).reshape(apart)
        weight = weight.reshape(apart) / self.deviation[:, None, None]
        self.register_buffer("index", torch.from_numpy(index.astype(np.int64)), persistent=False)
        self.register_buffer("weight", torch.from_numpy(weight).to(dtype), persistent=False)
        self.register_buffer("base", torch.from_numpy(base / self.deviation[:, None]).to(dtype), persistent=False)
        y = (stencil.value - stencil.offset) / self.deviation
        self.register_buffer("y", torch.from_numpy(y).to(dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Whitened reports (B, M) predicted from standardised fields (B, len(frames), channel, latitude, longitude)."""
        flat, index = x.flatten(1), self.index.flatten()
        picked = flat[:, index] if flat.is_cuda else flat.index_select(1, index)
        candidates = (picked.unflatten(1, self.index.shape) * self.weight).sum(dim=-1) + self.base
        return select_extreme(candidates, self.method)
