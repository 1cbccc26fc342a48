"""Weighted sums of a state's channels, and readings of them as readings of the channels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from xappa._typing import Array
from xappa.model.state import StateSpec
from xappa.operators.sparse import SparseOperator, compact


@dataclass(frozen=True)
class ColumnSum:
    """Fields that are weighted sums of a state's channels.

    Parameters
    ----------
    derived : StateSpec
        What they are.
    channel : tuple of array of int, (K,)
        For each field, the channels of the state.
    weight : tuple of array of float, (K, 1) or (K, latitude * longitude)
        Their weights, in the units of the observations.
    offset : tuple of float
        What is added.
    mask : array of bool, (derived channel, latitude, longitude)
    level_coordinate : dict
        Coordinate that chooses the level of each variable.
    """

    derived: StateSpec
    channel: tuple[Array, ...]
    weight: tuple[Array, ...]
    offset: tuple[float, ...]
    mask: Array
    level_coordinate: dict[str, str]

    @property
    def width(self) -> int:
        """Most channels that make up a field."""
        return max((len(channel) for channel in self.channel), default=1)

    @property
    def names(self) -> set[str]:
        """Quantities that they are compared with."""
        return set(self.derived.variables)

    def combine(self, stencil: SparseOperator) -> SparseOperator:
        """A reading of weighted sums as a reading of what they are sums of."""
        most = self.width
        channel = np.stack([np.resize(c, most) for c in self.channel])
        places = max(w.shape[1] for w in self.weight)
        weight = np.zeros((len(self.channel), most, places))
        for row, w in enumerate(self.weight):
            weight[row, : len(w)] = w
        cell = stencil.cell if places > 1 else np.zeros_like(stencil.cell)
        size, width = len(stencil), stencil.weight.shape[1] * most
        factors = weight[stencil.channel[:, :, None], np.arange(most), cell[:, :, None]]
        total = (stencil.weight[:, :, None] * factors).reshape(size, width)
        entries = [np.repeat(a, most, axis=1) for a in (stencil.time, stencil.cell)]
        channels = channel[stencil.channel].reshape(size, width)
        # The sum's offset is read like the field: the weights of a row add up to what it is multiplied with.
        offset = stencil.offset + (stencil.weight * np.array(self.offset)[stencil.channel]).sum(axis=1)
        total, time, channels, cells = compact(total, entries[0], channels, entries[1])
        # There are as many entries as levels times cells; half as wide indices hold them.
        time, channels, cells = (a.astype(np.int32) for a in (time, channels, cells))
        return replace(stencil, time=time, channel=channels, cell=cells, weight=total, offset=offset)
