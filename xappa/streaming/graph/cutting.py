"""The plan of one segment, out of that of a long trajectory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from xappa.operators.composite import CompositeOperator
from xappa.operators.sparse import SparseOperator
from xappa.sampling.spec import ContinueFrom, FixedState, SamplingSpec
from xappa.streaming.graph.segments import Segment


class Cutter:
    """Cuts a plan; its reports are put in order of time once.

    Parameters
    ----------
    plan : SamplingSpec
    """

    def __init__(self, plan: SamplingSpec) -> None:
        self.plan = plan
        self.order = self.first = np.zeros(0, int)
        if plan.stencil is not None and len(plan.stencil):
            first = plan.stencil.compute_spans()[0]
            self.order = np.argsort(first, kind="stable")
            self.first = first[self.order]

    def cut_segment(
        self, segment: Segment, previous: str = ""
    ) -> tuple[SamplingSpec, list[tuple[int, tuple[int, ...]]]]:
        """The plan of one segment, and which of the given states it has: (number of ``given``, frames of it).

        Parameters
        ----------
        segment : Segment
        previous : str
            Token of the segment that it follows.
        """
        plan, inside = self.plan, range(segment.start, segment.stop)
        kept = [(k, tuple(i for i, f in enumerate(g.frames) if f in inside)) for k, g in enumerate(plan.fixed_states)]
        kept = [(k, frames) for k, frames in kept if frames]
        given = []
        for k, frames in kept:
            own = plan.fixed_states[k]
            shifted = tuple(own.frames[i] - segment.start for i in frames)
            given.append(replace(own, frames=shifted, key=f"{own.key}-{frames}"))
        if segment.overlap:
            given.append(FixedState(tuple(range(segment.overlap)), ContinueFrom(), previous))
        times = plan.times[segment.start : segment.stop]
        stencil = self._select_reports(segment)
        return replace(plan, times=times, stencil=stencil, fixed_states=tuple(given), segments=None), kept

    def _select_reports(self, segment: Segment) -> SparseOperator | CompositeOperator | None:
        """The reports that read nothing outside a segment, in the order of the plan."""
        stencil = self.plan.stencil
        if stencil is None or segment == Segment(0, len(self.plan.times)):
            return stencil
        low, high = np.searchsorted(self.first, (segment.start, segment.stop))
        near = stencil.select(np.sort(self.order[low:high]))
        return near.select_window(segment.start, segment.stop - segment.start)
