"""The Dask graph of an analysis: members are sampled once, and decoded in the chunk that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph
from dask.typing import Key

from xappa._compat.dask import List, Task, TaskRef
from xappa.model.state import StateSpec
from xappa.operators.composite import CompositeOperator
from xappa.operators.sparse import SparseOperator
from xappa.progress import show_bar
from xappa.sampling.spec import SamplingSpec, compute_overlap
from xappa.streaming.graph.cutting import Cutter
from xappa.streaming.graph.retry import retry_once
from xappa.streaming.graph.segments import Segment, cut_trajectory, list_pieces
from xappa.streaming.graph.shared import SharedTask
from xappa.streaming.graph.slices import build_slices, list_latent_axes

if TYPE_CHECKING:
    from xappa.sampling.sampled import SamplingResult

MEMBERS_AT_ONCE = 8
"""Members that share the evaluations of the networks, unless the user says otherwise."""
TIMES_AT_ONCE = 1
"""Times of a chunk, unless the user says otherwise."""
SAMPLING = "xappa-sample-"
"""How the keys of sampling tasks begin."""

Readings = Callable[[Segment], Delayed]
"""Segment of the plan's times -> (stencil of its reports, places of correlated ones, …), made where it is needed."""


@dataclass(frozen=True)
class AnalysisGraph:
    """A planned analysis: fields that are computed on demand, and the tasks that sample them.

    Parameters
    ----------
    token : str
        The same for the same plan and members, in any process.
    fields : dask array (member, time, channel, latitude, longitude)
        Physical units, on the model's grid, at the times that were asked for.
    sampled : tuple of (members, tuple of Delayed)
        Sampling tasks, which give a `SamplingResult`: of a batch of members each, one a segment.
    evaluations : int
        Calls of the denoiser a member.
    variables : tuple of str
        Observed quantities.
    parts : tuple of (SamplingSpec, Delayed or None)
        Plans of the segments, and their readings where these are made on demand.
    times : array of datetime64, (time,)
        Of the fields.
    """

    token: str
    fields: da.Array
    sampled: tuple[tuple[tuple[int, ...], tuple[Delayed, ...]], ...]
    evaluations: int
    variables: tuple[str, ...] = ()
    parts: tuple[tuple[SamplingSpec, Delayed | None], ...] = ()
    times: np.ndarray = field(default_factory=lambda: np.zeros(0, "M8[s]"))

    @property
    def members(self) -> tuple[int, ...]:
        """Member numbers."""
        return tuple(member for batch, _ in self.sampled for member in batch)

    def build_results(self, only: Container[str] | None = None) -> list[tuple[tuple[int, ...], Delayed]]:
        """What the run learned of itself (a `SamplingResult`), a batch of members each; with latents of one segment.

        Parameters
        ----------
        only : container of str, optional
            Keys of the sampling tasks that are heard; default all. Batches without any are left out.
        """
        heard = [(batch, [t for t in tasks if only is None or t.key in only]) for batch, tasks in self.sampled]
        joining = len(self.parts) > 1 or any(reading is not None for _, reading in self.parts)
        return [
            (batch, _merge_batch_diagnostics(tasks, self.variables) if joining else tasks[0])
            for batch, tasks in heard
            if tasks
        ]


def build_graph(
    plan: SamplingSpec,
    members: tuple[int, ...],
    spec: StateSpec,
    times: int | np.ndarray,
    chunks: int | None,
    progress: bool | None,
    states: Sequence[da.Array] = (),
    *,
    batch: int | None = None,
    readings: Readings | None = None,
    variables: tuple[str, ...] | None = None,
    latent_shape: tuple[int, ...] | None = None,
) -> AnalysisGraph:
    """Graph of a plan.

    Parameters
    ----------
    plan : SamplingSpec
    members : tuple of int
        Member numbers.
    spec : StateSpec
        The model's state.
    times : int or array of int
        Times of the result: which of the plan's trajectory, or how many first ones. The trajectory may be padded.
    chunks : int or None
        Times a chunk; None: `TIMES_AT_ONCE`.
    progress : bool or None
        Whether sampling shows a bar.
    states : sequence of dask array, (member, frame, *latent)
        Latents of each of ``plan.given``.
    batch : int, optional
        Members that are sampled together; default `MEMBERS_AT_ONCE`. It changes the last bits.
    readings : callable, optional
        Makes the stencil of a segment, instead of ``plan.stencil``.
    variables : tuple of str, optional
        Observed quantities; default those of ``plan.stencil``.
    latent_shape : tuple of int, optional
        Of a latent state; default that of the model.
    """
    chosen = np.arange(times) if isinstance(times, int | np.integer) else np.asarray(times)
    size = batch or MEMBERS_AT_ONCE
    batches = [members[i : i + size] for i in range(0, len(members), size)]
    stride = spec.window - compute_overlap(spec.window)
    segments = cut_trajectory(len(plan.times), spec.window, stride, None if plan.autoregressive else plan.segments)
    sampled, plans = _build_sampling_tasks(
        plan, segments, batches, plan.evaluations(spec.window), progress, states, readings
    )

    rows = tuple((i, k) for i, batch_of in enumerate(batches) for k in range(len(batch_of)))
    per_chunk = chunks or TIMES_AT_ONCE
    parts = [chosen[i : i + per_chunk] for i in range(0, len(chosen), per_chunk)]
    keys = [[task.key for task in tasks] for tasks in sampled]
    name = f"xappa-latents-{dask.base.tokenize(keys, chosen, per_chunk)}"
    places = list_pieces(segments, chosen, per_chunk)
    shape = latent_shape or _get_latent_shape(plan)
    latents = build_slices(name, rows, places, [len(part) for part in parts], sampled, shape)
    fields = _build_decoded_fields(plan, members, chosen, per_chunk, latents, spec)
    observed = variables if variables is not None else () if plan.stencil is None else tuple(plan.stencil.names)
    token = dask.base.tokenize(keys, members, chosen, plan.select_decoding_options())
    by_batch = tuple((own, tuple(tasks)) for own, tasks in zip(batches, sampled, strict=True))
    return AnalysisGraph(
        token, fields, by_batch, plan.evaluations(spec.window), observed, tuple(plans), plan.times[chosen]
    )


def _get_latent_shape(plan: SamplingSpec) -> tuple[int, ...]:
    from xappa.sampling.sampling_tasks import load_model

    return load_model(plan).latent_shape


def _build_sampling_tasks(
    plan: SamplingSpec,
    segments: Sequence[Segment],
    batches: Sequence[tuple[int, ...]],
    evaluations: int,
    progress: bool | None,
    states: Sequence[da.Array],
    readings: Readings | None,
) -> tuple[list[list[Delayed]], list[tuple[SamplingSpec, Delayed | None]]]:
    """Sampling tasks (batch, segment), and the plans of the segments with their readings."""
    found: list[list[Delayed]] = [[] for _ in batches]
    parts: list[tuple[SamplingSpec, Delayed | None]] = []
    previous, cutter = "", Cutter(plan)
    for k, segment in enumerate(segments):
        part, kept = cutter.cut_segment(segment, previous)
        held = [
            dask.delayed(states[i] if len(frames) == states[i].shape[1] else states[i][:, list(frames)])
            for i, frames in kept
        ]
        reading = None if readings is None else readings(segment)
        parts.append((part, reading))
        previous = dask.base.tokenize(part.list_latent_dependencies(), None if reading is None else reading.key)
        for tasks, batch in zip(found, batches, strict=True):
            given = list(held)
            if segment.overlap:
                given.append(_build_known_states(tasks[k - 1], segment.start - segments[k - 1].start, segment.overlap))
            token = dask.base.tokenize(previous, batch)
            tasks.append(
                _make_layer(
                    f"{SAMPLING}{token}", _sample, part, batch, token, progress, evaluations,
                    List(*(TaskRef(state.key) for state in given)), None if reading is None else TaskRef(reading.key),
                    needs=[*given, *([] if reading is None else [reading])], kind=SharedTask,
                )
            )  # fmt: skip
    return found, parts


def _build_decoded_fields(
    plan: SamplingSpec, members: tuple[int, ...], chosen: np.ndarray, size: int, latents: da.Array, spec: StateSpec
) -> da.Array:
    """Fields, a task a member and chunk of times."""
    seconds = plan.times[chosen].astype("M8[s]").astype("i8")
    light = plan.select_decoding_options()
    token = dask.base.tokenize(light, members, seconds, latents.name)
    own = ("m", "t", *list_latent_axes(latents.ndim - 2))
    return da.blockwise(
        _decode, tuple("mtvyx"), da.from_array(np.array(members), chunks=1, name=f"xappa-members-{token}"), "m",
        da.from_array(seconds, chunks=size, name=f"xappa-times-{token}"), "t", latents, own,
        name=f"xappa-decode-{token}", new_axes=dict(zip("vyx", spec.shape, strict=True)), concatenate=True,
        align_arrays=False, meta=np.empty((0,) * 5, "f4"), dtype=np.dtype("f4"), plan=light,
    )  # fmt: skip


@retry_once
def _sample(
    plan: SamplingSpec,
    members: tuple[int, ...],
    token: str,
    progress: bool | None,
    total: int,
    states: list[np.ndarray],
    reading: tuple[SparseOperator | CompositeOperator | None, xr.Dataset | None, object] | None = None,
) -> SamplingResult:
    from xappa.sampling.sampling_tasks import sample

    if reading is not None:
        stencil, places, _ = reading
        plan = replace(plan, stencil=stencil, correlation=places)
    with show_bar(total, f"sampling {len(members)} members", progress) as advance:
        return sample(plan, members, token, advance, states)


@retry_once
def _decode(members: np.ndarray, seconds: np.ndarray, latents: np.ndarray, plan: SamplingSpec) -> np.ndarray:
    from xappa.sampling.sampling_tasks import decode

    return decode(replace(plan, times=seconds.astype("M8[s]")), latents, tuple(members.tolist()), 0)


def _build_known_states(task: Delayed, first: int, count: int) -> Delayed:
    """States of a segment that the next is held to."""
    name = f"xappa-known-{dask.base.tokenize(task.key, first, count)}"
    return _make_layer(name, _slice_latents, TaskRef(task.key), first, count, needs=[task])


def _make_layer(name: str, function: Callable, *args: object, needs: Sequence[Any], kind: type[Task] = Task) -> Delayed:
    """A task in a layer of its own.

    `dask.delayed` would write all tasks that it needs into one layer, and the graph of a chain would grow with its
    square.
    """
    graph: dict[Key, Any] = {name: kind(name, function, *args)}
    return Delayed(name, HighLevelGraph.from_collections(name, graph, dependencies=needs))


def _slice_latents(sampled: SamplingResult, first: int, count: int) -> np.ndarray:
    return sampled.latents[:, first : first + count]


def _merge_batch_diagnostics(tasks: Sequence[Delayed], variables: tuple[str, ...]) -> Delayed:
    """What was learned in all segments of a batch; their latents are freed one by one."""
    from xappa.sampling.merge_diagnostics import merge_segments, without_latents

    parts = [
        _make_layer(f"xappa-learned-{task.key}", without_latents, TaskRef(task.key), needs=[task]) for task in tasks
    ]
    return dask.delayed(merge_segments, pure=True)(parts, variables)
