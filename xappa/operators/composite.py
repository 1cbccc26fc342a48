"""Several readings of one trajectory, linear ones and functions, with the face of one stencil."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from xappa._typing import Array
from xappa.operators.sparse import SparseOperator

if TYPE_CHECKING:
    from xappa.operators.forward.dataset_function import DatasetFunction


@dataclass(frozen=True)
class OperatorBlock:
    """Reports that are read in one way.

    Parameters
    ----------
    stencil : SparseOperator
        Reading of the fields that `function` makes of the states, or of the states themselves.
    function : DatasetFunction or None
        A function of the states; None for the states.
    extreme : {"maximum", "minimum"} or None
        What is taken of the states of a period; None: the stencil's sum.
    states : int
        Into how many states the numbers of a row of the stencil are divided, one after the other, where an extreme is
        taken.
    """

    stencil: SparseOperator
    function: DatasetFunction | None = None
    extreme: str | None = None
    states: int = 1

    def read(self, fields: Array) -> Array:
        """Predicted reports (..., M) of the fields that the stencil reads."""
        if self.extreme is None:
            return self.stencil.apply(fields)
        each = self.stencil.compute_terms(fields)
        found = each.reshape(*each.shape[:-1], self.states, -1).sum(axis=-1)
        return (found.max(axis=-1) if self.extreme == "maximum" else found.min(axis=-1)) + self.stencil.offset


@dataclass(frozen=True)
class CompositeOperator:
    """Reports of a trajectory, part after part; linear parts come first.

    Parameters
    ----------
    blocks : tuple of OperatorBlock
    times : array of datetime64, (T,)
        Times of the trajectory that the stencils index.
    """

    blocks: tuple[OperatorBlock, ...]
    times: Array

    def __len__(self) -> int:
        return sum(len(part.stencil) for part in self.blocks)

    @property
    def names(self) -> tuple[str, ...]:
        """Reported quantities."""
        return tuple(dict.fromkeys(name for part in self.blocks for name in part.stencil.names))

    @property
    def variable(self) -> Array:
        """Index of each report's quantity in `names`."""
        names = self.names
        codes = [np.array([names.index(n) for n in p.stencil.names], int)[p.stencil.variable] for p in self.blocks]
        return np.concatenate(codes) if codes else np.zeros(0, int)

    @property
    def value(self) -> Array:
        """What was reported."""
        return self._concatenate("value")

    @property
    def error(self) -> Array:
        """Standard deviations of the reports' errors."""
        return self._concatenate("error")

    @property
    def observation(self) -> Array:
        """Positions of the reports on the `obs` dimension."""
        return self._concatenate("observation").astype(int)

    def _concatenate(self, name: str) -> Array:
        return np.concatenate([getattr(part.stencil, name) for part in self.blocks]) if self.blocks else np.zeros(0)

    @property
    def frames(self) -> Array:
        """Indices of the times whose states are needed, ascending."""
        if any(part.function is not None and not part.function.local for part in self.blocks):
            return np.arange(len(self.times))
        return np.unique(np.concatenate([part.stencil.frames for part in self.blocks] or [np.zeros(0, int)]))

    def list_arrays(self) -> tuple[Array, ...]:
        """All that a token depends on, as arrays."""
        own = [array for part in self.blocks for array in part.stencil.list_arrays()]
        tokens = "".join(
            f"{'-' if part.function is None else part.function.token()}{part.extreme or ''}{part.states}"
            for part in self.blocks
        )
        return (*own, np.frombuffer(tokens.encode(), np.uint8))

    def compute_spans(self) -> tuple[Array, Array]:
        """First and last time that each report reads."""
        first = [part.stencil.time.min(axis=1, initial=len(self.times)) for part in self.blocks]
        last = [part.stencil.time.max(axis=1, initial=0) for part in self.blocks]
        return np.concatenate(first or [np.zeros(0, int)]), np.concatenate(last or [np.zeros(0, int)])

    def select(self, rows: Array) -> CompositeOperator:
        """The reports of some rows, given as a mask or as ascending indices."""
        chosen = np.zeros(len(self), bool)
        chosen[rows] = True
        ends = np.cumsum([len(part.stencil) for part in self.blocks])
        pieces = np.split(chosen, ends[:-1]) if self.blocks else []
        kept = [
            replace(p, stencil=p.stencil.select(np.flatnonzero(m))) for p, m in zip(self.blocks, pieces, strict=True)
        ]
        return replace(self, blocks=tuple(part for part in kept if len(part.stencil)))

    def sort(self) -> CompositeOperator:
        """The same reports, those of each part in an order that what they read and report alone decides."""
        return replace(self, blocks=tuple(replace(part, stencil=part.stencil.sort()) for part in self.blocks))

    def select_window(self, start: int, length: int) -> CompositeOperator:
        """The reports that read nothing outside times `start` ... `start + length - 1`, times counted from `start`."""
        parts = tuple(replace(part, stencil=part.stencil.select_window(start, length)) for part in self.blocks)
        parts = tuple(part for part in parts if len(part.stencil))
        return replace(self, blocks=parts, times=self.times[start : start + length])

    def reindex_times(self, frames: Array) -> CompositeOperator:
        """The same for a trajectory that has only the times `frames`."""
        parts = tuple(
            replace(p, stencil=replace(p.stencil, time=np.searchsorted(frames, p.stencil.time))) for p in self.blocks
        )
        return replace(self, blocks=parts, times=self.times[frames])

    def apply(self, trajectory: Array) -> Array:
        """Predicted reports (..., M) of physical fields (..., T, channel, latitude, longitude)."""
        found = []
        for part in self.blocks:
            fields = trajectory if part.function is None else part.function.compute_fields(trajectory, self.times)
            found.append(part.read(fields))
        return np.concatenate(found, axis=-1) if found else np.zeros((*trajectory.shape[:-4], 0))
