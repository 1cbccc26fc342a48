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
        Reading of the fields that `view` makes of the states, or of the states themselves.
    view : View or None
        A function of the states; None for the states.
    extreme : {"maximum", "minimum"} or None
        What is taken of the states of a period; None: the stencil's sum.
    states : int
        Into how many states the numbers of a row of the stencil are divided, one after the other, where an extreme is
        taken.
    """

    stencil: SparseOperator
    view: DatasetFunction | None = None
    extreme: str | None = None
    states: int = 1

    def read(self, fields: Array) -> Array:
        """Predicted reports (..., M) of the fields that the stencil reads."""
        if self.extreme is None:
            return self.stencil.apply(fields)
        each = self.stencil.each(fields)
        found = each.reshape(*each.shape[:-1], self.states, -1).sum(axis=-1)
        return (found.max(axis=-1) if self.extreme == "maximum" else found.min(axis=-1)) + self.stencil.offset


@dataclass(frozen=True)
class CompositeOperator:
    """Reports of a trajectory, part after part; linear parts come first.

    Parameters
    ----------
    parts : tuple of Part
    times : array of datetime64, (T,)
        Times of the trajectory that the stencils index.
    """

    parts: tuple[OperatorBlock, ...]
    times: Array

    def __len__(self) -> int:
        return sum(len(part.stencil) for part in self.parts)

    @property
    def names(self) -> tuple[str, ...]:
        """Reported quantities."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.stencil.names))

    @property
    def variable(self) -> Array:
        """Index of each report's quantity in `names`."""
        names = self.names
        codes = [np.array([names.index(n) for n in p.stencil.names], int)[p.stencil.variable] for p in self.parts]
        return np.concatenate(codes) if codes else np.zeros(0, int)

    @property
    def value(self) -> Array:
        """What was reported."""
        return self._joined("value")

    @property
    def error(self) -> Array:
        """Standard deviations of the reports' errors."""
        return self._joined("error")

    @property
    def observation(self) -> Array:
        """Positions of the reports on the `obs` dimension."""
        return self._joined("observation").astype(int)

    def _joined(self, name: str) -> Array:
        return np.concatenate([getattr(part.stencil, name) for part in self.parts]) if self.parts else np.zeros(0)

    @property
    def frames(self) -> Array:
        """Indices of the times whose states are needed, ascending."""
        if any(part.view is not None and not part.view.local for part in self.parts):
            return np.arange(len(self.times))
        return np.unique(np.concatenate([part.stencil.frames for part in self.parts] or [np.zeros(0, int)]))

    def arrays(self) -> tuple[Array, ...]:
        """All that a token depends on, as arrays."""
        own = [array for part in self.parts for array in part.stencil.arrays()]
        tokens = "".join(
            f"{'-' if part.view is None else part.view.token()}{part.extreme or ''}{part.states}" for part in self.parts
        )
        return (*own, np.frombuffer(tokens.encode(), np.uint8))

    def spans(self) -> tuple[Array, Array]:
        """First and last time that each report reads."""
        first = [part.stencil.time.min(axis=1, initial=len(self.times)) for part in self.parts]
        last = [part.stencil.time.max(axis=1, initial=0) for part in self.parts]
        return np.concatenate(first or [np.zeros(0, int)]), np.concatenate(last or [np.zeros(0, int)])

    def select(self, rows: Array) -> CompositeOperator:
        """The reports of some rows, given as a mask or as ascending indices."""
        chosen = np.zeros(len(self), bool)
        chosen[rows] = True
        ends = np.cumsum([len(part.stencil) for part in self.parts])
        pieces = np.split(chosen, ends[:-1]) if self.parts else []
        kept = [
            replace(p, stencil=p.stencil.select(np.flatnonzero(m))) for p, m in zip(self.parts, pieces, strict=True)
        ]
        return replace(self, parts=tuple(part for part in kept if len(part.stencil)))

    def sort(self) -> CompositeOperator:
        """The same reports, those of each part in an order that what they read and report alone decides."""
        return replace(self, parts=tuple(replace(part, stencil=part.stencil.sort()) for part in self.parts))

    def window(self, start: int, length: int) -> CompositeOperator:
        """The reports that read nothing outside times `start` ... `start + length - 1`, times counted from `start`."""
        parts = tuple(replace(part, stencil=part.stencil.window(start, length)) for part in self.parts)
        parts = tuple(part for part in parts if len(part.stencil))
        return replace(self, parts=parts, times=self.times[start : start + length])

    def at(self, frames: Array) -> CompositeOperator:
        """The same for a trajectory that has only the times `frames`."""
        parts = tuple(
            replace(p, stencil=replace(p.stencil, time=np.searchsorted(frames, p.stencil.time))) for p in self.parts
        )
        return replace(self, parts=parts, times=self.times[frames])

    def apply(self, trajectory: Array) -> Array:
        """Predicted reports (..., M) of physical fields (..., T, channel, latitude, longitude)."""
        found = []
        for part in self.parts:
            fields = trajectory if part.view is None else part.view.fields(trajectory, self.times)
            found.append(part.read(fields))
        return np.concatenate(found, axis=-1) if found else np.zeros((*trajectory.shape[:-4], 0))
