r"""A stencil on tensors: whitened, linear in the standardised state, differentiable.

With the state :math:`x = c + s \odot \zeta` (climatology, scale), reports :math:`y = H x + b + \varepsilon` and
:math:`\varepsilon \sim N(0, \mathrm{diag}(\sigma^2))`, the reading is
:math:`A \zeta = \sigma^{-1} H (s \odot \zeta)` and what it is compared with is
:math:`\sigma^{-1} (y - b - H c)`, so that residuals have unit variance.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from xappa.errors import ObservationError
from xappa.operators.sparse import SparseOperator


class WhitenedOperator(torch.nn.Module):
    r"""Whitened observation operator of standardised fields.

    Parameters
    ----------
    stencil : SparseOperator
        Reading of T times.
    climatology : array of float, (T, channel, latitude, longitude)
        Physical units, at the stencil's times. Only cells that are read are looked up: broadcast views cost nothing.
    scale : array of float, (channel, latitude, longitude)
        Physical units.
    representation : array of float, (channel,) or (channel, latitude, longitude), optional
        Standard deviation of what the state cannot represent (the autoencoder's error), in units of `scale`. It is
        taken as common to all numbers that make a report, :math:`(\sum_p |w_p| s_p e_p)^2`, an upper bound of its
        variance.
    extra_variance : array of float, (M,), optional
        Added to the square of the reports' errors, physical units.
    dtype : torch.dtype
        Type of the buffers.

    Attributes
    ----------
    frames : tuple of int
        Indices of the times that are read: fields of these only are taken.
    y : Tensor, (M,)
        Whitened observations; residuals ``y - operator(x)`` have unit variance.
    deviation : array of float, (M,)
        Standard deviation of the errors, physical units.

    Raises
    ------
    ObservationError
        If a row reads cells that have no value.
    """

    linear = True

    index: Tensor
    weight: Tensor
    y: Tensor

    def __init__(
        self,
        stencil: SparseOperator,
        climatology: np.ndarray,
        scale: np.ndarray,
        *,
        representation: np.ndarray | None = None,
        extra_variance: np.ndarray | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        frames = stencil.frames
        self.frames = tuple(int(frame) for frame in frames)
        self.shape = (len(frames), *scale.shape)
        frame = np.searchsorted(frames, stencil.time)
        row, column = np.divmod(stencil.cell, scale.shape[-1])
        weight = stencil.weight * scale[stencil.channel, row, column]
        variance = stencil.error**2
        if representation is not None:
            error = np.asarray(representation)
            error = np.broadcast_to(error[:, None, None] if error.ndim == 1 else error, scale.shape)
            variance = variance + (np.abs(weight) * error[stencil.channel, row, column]).sum(axis=1) ** 2
        if extra_variance is not None:
            variance = variance + extra_variance
        self.deviation = np.sqrt(variance)
        y = (stencil.value - stencil.apply(climatology)) / self.deviation
        weight = weight / self.deviation[:, None]
        void = ~np.isfinite(y) | ~np.isfinite(weight).all(axis=1)
        if void.any():
            raise ObservationError(
                f"{int(void.sum())} of {len(stencil)} reports read cells where the climatology or the scale has no "
                "value; expected a stencil made with the state's mask: pass mask= to the operator"
            )
        index = np.ravel_multi_index((frame, stencil.channel, row, column), self.shape) if len(frames) else stencil.cell
        self.register_buffer("index", torch.from_numpy(index.astype(np.int64)), persistent=False)
        self.register_buffer("weight", torch.from_numpy(weight).to(dtype), persistent=False)
        self.register_buffer("y", torch.from_numpy(y).to(dtype), persistent=False)

    def __len__(self) -> int:
        return len(self.y)

    def forward(self, x: Tensor) -> Tensor:
        """Whitened reports predicted from standardised fields.

        Parameters
        ----------
        x : Tensor, (B, len(frames), channel, latitude, longitude)

        Returns
        -------
        Tensor, (B, M)
        """
        flat = x.flatten(1)
        index = self.index.flatten()
        # Both adjoints add in a fixed order: on CUDA only that of indexing does so, on the CPU only index_select's.
        picked = flat[:, index] if flat.is_cuda else flat.index_select(1, index)
        return (picked.unflatten(1, self.index.shape) * self.weight).sum(dim=-1)
