"""All channels of a state at many fixed places: weights made once, applied as often as wanted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from xappa._typing import Array
from xappa.errors import ObservationError
from xappa.operators.corner_weights import HashablePlaces, get_corner_weights

BLOCK = 8192  # places at once: their results stay in the processor's cache until they are written


class Points:
    """Bilinear interpolation of fields to places.

    The channels of a cell are brought together first, since one random access to memory then serves all of them.

    Parameters
    ----------
    latitude, longitude : array, (N,)
        Degrees north and east.
    latitudes, longitudes : sequence of float
        Rows and columns of the grid.

    Attributes
    ----------
    inside : array of bool, (N,)
        Whether the grid surrounds the place; elsewhere results are NaN.

    Raises
    ------
    ObservationError
        If latitudes and longitudes are not of one length.

    Examples
    --------
    >>> points = Points([45.0], [7.5], [0.0, 90.0], [0.0, 90.0, 180.0, 270.0])
    >>> float(points(torch.tensor([[0.0, 0.0, 0.0, 0.0], [90.0, 90.0, 90.0, 90.0]]))[0])
    45.0
    """

    def __init__(
        self,
        latitude: Sequence[float] | Array,
        longitude: Sequence[float] | Array,
        latitudes: Sequence[float] | Array,
        longitudes: Sequence[float] | Array,
    ) -> None:
        places = np.asarray(latitude, float), np.asarray(longitude, float)
        if places[0].shape != places[1].shape or places[0].ndim != 1:
            raise ObservationError(
                f"Places: found {places[0].shape} latitudes and {places[1].shape} longitudes; expected one each a place"
            )
        grid = (tuple(np.asarray(axis, float).tolist()) for axis in (latitudes, longitudes))
        around = get_corner_weights(HashablePlaces(*places), *grid)
        self.shape = (len(latitudes), len(longitudes))
        self.inside = around.inside
        self.cell = torch.from_numpy(around.cell)
        self.weight = torch.from_numpy(np.where(around.inside[:, None], around.weight, np.nan))
        self.sign = torch.from_numpy(np.where(around.crossed, -1.0, 1.0))
        self._scratch: list[Tensor] = []

    def __call__(self, fields: Tensor, vector: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        """Values (..., N) of fields (..., latitude, longitude).

        Parameters
        ----------
        fields : Tensor
            Channels first, in any floating type, on any device.
        vector : Tensor of bool, (...), optional
            Which fields are horizontal components, that change sign across a pole. Default: none.
        out : Tensor, (N, fields), optional
            Memory for the result, without gradients. The result is a view of it, or of memory of its own.
        """
        table = fields.flatten(-2).flatten(0, -2).T if fields.ndim > 2 else fields.reshape(1, -1).T
        cell, weight = self.cell.to(fields.device), self.weight.to(fields)
        if table.requires_grad:
            # Its derivative can be differentiated once more, as guidance asks.
            found = (table[cell] * weight[..., None]).sum(dim=1)
        else:
            table = self._gather_channels(table)
            found = table.new_empty(len(cell), table.shape[1]) if out is None else out
            for first in range(0, len(cell), BLOCK):
                part = slice(first, first + BLOCK)
                found[part] = F.embedding_bag(cell[part], table, per_sample_weights=weight[part], mode="sum")
        if vector is not None and bool((self.sign < 0).any()):
            rows = torch.nonzero((self.sign < 0).any(dim=1)).flatten().to(fields.device)
            turned = (table[cell[rows]] * (weight * self.sign.to(weight))[rows][..., None]).sum(dim=1)
            flags = vector.flatten().to(fields.device)
            found = found.index_put((rows,), torch.where(flags, turned, found[rows]))
        if not table.requires_grad:
            self._scratch.append(table)
        return found.T.unflatten(0, fields.shape[:-2]) if fields.ndim > 2 else found[:, 0]

    def _gather_channels(self, table: Tensor) -> Tensor:
        """The fields with the channels of a cell side by side, in memory that is used again."""
        try:
            scratch = self._scratch.pop()
        except IndexError:
            return table.clone(memory_format=torch.contiguous_format)
        if scratch.shape != table.shape or scratch.dtype != table.dtype or scratch.device != table.device:
            return table.clone(memory_format=torch.contiguous_format)
        return scratch.copy_(table)

    def __getstate__(self) -> dict[str, object]:
        return vars(self) | {"_scratch": []}
