"""Regridding weights applied to tensors: linear, and so differentiable."""

from __future__ import annotations

import torch
from torch import Tensor

from xappa.argument_types import check_arguments
from xappa.grids.regrid.weights import SMALL, Weights, check_share


@check_arguments
def to_torch(
    weights: Weights, *, min_valid: float = 0.5, missing: bool = True, dtype: torch.dtype | None = None
) -> Regrid:
    """The map of weights as a module of tensors, differentiable.

    Parameters
    ----------
    weights : Weights
        Of `xappa.regrid_weights`.
    min_valid : float, default 0.5
        As for `Weights.apply`.
    missing : bool, default True
        Whether fields may have NaN. Without it the map is linear throughout, and takes half the time.
    dtype : torch.dtype, optional
        Type of the fields. Default: float32.

    Returns
    -------
    Regrid
        (..., *source_shape) -> (..., *target_shape).

    Raises
    ------
    OptionError
        If `min_valid` is not between 0 and 1.

    Examples
    --------
    >>> coarse = xappa.to_torch(xappa.regrid_weights(ds, 1.5))(fields)  # doctest: +SKIP
    """
    return Regrid(weights, min_valid=min_valid, missing=missing, dtype=dtype)


class Regrid(torch.nn.Module):
    """Fields of one grid on another, as `Weights.apply` has them.

    Works with autograd, `torch.func` and on any device; additions come in a fixed order.

    Parameters
    ----------
    weights : Weights
        Between grids of rows and columns they are applied as two small dense matrices.
    min_valid : float, default 0.5
        See `Weights.apply`.
    missing : bool, default True
        Whether fields may have NaN, whose weight then goes to the other sources. Without it the map is linear
        throughout, at half the cost, and NaN spreads.
    dtype : torch.dtype, optional
        Type of the weights; that of the fields. Default: float32.
    """

    total: Tensor

    def __init__(
        self,
        weights: Weights,
        *,
        min_valid: float = 0.5,
        missing: bool = True,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_share(min_valid)
        dtype = dtype or torch.float32
        self.map = _SparseProduct(weights, dtype)
        self.share_map = self.map if weights.share is None else _SparseProduct(weights.share, dtype)
        self.min_valid, self.missing, self.normalize = min_valid, missing, weights.normalize
        self.register_buffer("total", torch.tensor(weights.total, dtype=dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Regrid fields.

        Parameters
        ----------
        x : Tensor, (..., *source_shape)

        Returns
        -------
        Tensor, (..., *target_shape)
            NaN where there is nothing to take values from.
        """
        rank = len(self.map.source_shape)
        lead = x.shape[: x.dim() - rank]
        flat = x.reshape(-1, *self.map.source_shape)
        total = self.total.reshape(self.map.target_shape)
        if self.missing:
            valid = ~torch.isnan(flat)
            y, share = self.map(flat.where(valid, 0.0)), self.share_map(valid.to(flat.dtype))
        else:
            y, share = self.map(flat), total.expand(len(flat), *total.shape)
        # In single precision weights add up to their total but for rounding.
        slack = max(SMALL, 8 * torch.finfo(x.dtype).eps)
        full = torch.ones_like(total) if self.normalize else total.abs()
        enough = (share.abs() >= max(self.min_valid - slack, slack) * full) & (share.abs() > SMALL)
        scale = (1.0 if self.normalize else total) / share.where(enough, 1.0)
        return (y * scale).where(enough, torch.nan).reshape(*lead, *self.map.target_shape)


class _SparseProduct(torch.nn.Module):
    """The bare product of a matrix, or of its factors, with fields (B, *source_shape)."""

    row: Tensor
    column: Tensor
    weight: Tensor

    def __init__(self, weights: Weights, dtype: torch.dtype) -> None:
        super().__init__()
        self.source_shape, self.target_shape = weights.source_shape, weights.target_shape
        self.factors = len(weights.parts)
        for k, pair in enumerate(weights.parts):
            for name, factor in zip(("rows", "columns"), pair, strict=True):
                self.register_buffer(f"{name}{k}", torch.tensor(factor.toarray(), dtype=dtype), persistent=False)
        if not self.factors:
            entries = weights.matrix.tocoo()
            for name, index in zip(("row", "column"), entries.coords, strict=True):
                self.register_buffer(name, torch.tensor(index, dtype=torch.int64), persistent=False)
            self.register_buffer("weight", torch.tensor(entries.data, dtype=dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Sums of weighted sources, (B, *target_shape)."""
        if self.factors:
            terms = [self.get_buffer(f"rows{k}") @ x @ self.get_buffer(f"columns{k}").mT for k in range(self.factors)]
            return torch.stack(terms).sum(0) if len(terms) > 1 else terms[0]
        flat, size = x.flatten(1), int(torch.Size(self.target_shape).numel())
        # As in `Reading`: on CUDA only indexing adds in a fixed order, on the CPU only index_select and index_add.
        if flat.is_cuda:
            picked = (flat[:, self.column] * self.weight).mT
            out = flat.new_zeros(size, len(flat)).index_put((self.row,), picked, accumulate=True).mT
        else:
            picked = flat.index_select(1, self.column) * self.weight
            out = flat.new_zeros(len(flat), size).index_add(1, self.row, picked)
        return out.reshape(len(flat), *self.target_shape)
