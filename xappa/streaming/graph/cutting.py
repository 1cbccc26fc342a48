"""The SamplingSpec of one segment of a long trajectory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from xappa.operators.composite import CompositeOperator
from xappa.operators.sparse import SparseOperator
from xappa.sampling.spec import ContinueFrom, FixedState, SamplingSpec
from xappa.streaming.graph.segments import Segment


class Cutter:
    """Cuts a SamplingSpec into segments; reports are sorted by time once.

    Parameters
    ----------
    sampling : SamplingSpec
    """

    def __init__(self, sampling: SamplingSpec) -> None:
        self.sampling = sampling
        self.order = self.first = np.zeros(0, int)
        if sampling.observations is not None and len(sampling.observations):
            first = sampling.observations.compute_spans()[0]
            self.order = np.argsort(first, kind="stable")
            self.first = first[self.order]

    def cut_segment(
        self, segment: Segment, previous: str = ""
    ) -> tuple[SamplingSpec, list[tuple[int, tuple[int, ...]]]]:
        """The SamplingSpec of a segment, and its fixed states: (index in ``fixed_states``, indices of its frames).

        Parameters
        ----------
        segment : Segment
        previous : str
            Token of the segment before.
        """
        sampling, inside = self.sampling, range(segment.start, segment.stop)
        kept = [
            (k, tuple(i for i, f in enumerate(g.frames) if f in inside)) for k, g in enumerate(sampling.fixed_states)
        ]
        kept = [(k, frames) for k, frames in kept if frames]
        given = []
        for k, frames in kept:
            own = sampling.fixed_states[k]
            shifted = tuple(own.frames[i] - segment.start for i in frames)
            given.append(replace(own, frames=shifted, key=f"{own.key}-{frames}"))
        if segment.overlap:
            given.append(FixedState(tuple(range(segment.overlap)), ContinueFrom(), previous))
        times = sampling.times[segment.start : segment.stop]
        observations = self._select_reports(segment)
        return replace(sampling, times=times, observations=observations, fixed_states=tuple(given), segments=None), kept

    def _select_reports(self, segment: Segment) -> SparseOperator | CompositeOperator | None:
        """The reports that need no states outside a segment, in their original order."""
        observations = self.sampling.observations
        if observations is None or segment == Segment(0, len(self.sampling.times)):
            return observations
        low, high = np.searchsorted(self.first, (segment.start, segment.stop))
        near = observations.select(np.sort(self.order[low:high]))
        return near.select_window(segment.start, segment.stop - segment.start)
