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
"""Prefix of the keys of sampling tasks."""

BuildOperator = Callable[[Segment], Delayed]
"""Function of a segment; returns a task that makes (operator, coordinates of correlated reports, flags).

The operator is None if the segment has no usable report; the flags are those of all its reports, by quantity.
"""


@dataclass(frozen=True)
class AnalysisGraph:
    """A planned analysis: fields that are computed on demand, and the tasks that sample them.

    Parameters
    ----------
    token : str
        Hash of the sampling and the members, equal in all processes.
    fields : dask array (member, time, channel, latitude, longitude)
        Physical units, on the model's grid, at the times that were asked for.
    sampled : tuple of (members, tuple of Delayed)
        Batches of members, each with one sampling task per segment; a task returns a `SamplingResult`.
    evaluations : int
        Calls of the denoiser a member.
    variables : tuple of str
        Observed quantities.
    parts : tuple of (SamplingSpec, Delayed or None)
        Sampling of each segment, and the task that makes its operator if that is made on demand.
    times : array of datetime64, (time,)
        Times of the fields.
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

    def build_diagnostics(self, keys: Container[str] | None = None) -> list[tuple[tuple[int, ...], Delayed]]:
        """One SamplingResult task for each batch of members. Latents are kept only if there is one segment.

        Parameters
        ----------
        keys : container of str, optional
            Keys of the sampling tasks that count; default all. Batches without any are left out.
        """
        selected = [(batch, [t for t in tasks if keys is None or t.key in keys]) for batch, tasks in self.sampled]
        joining = len(self.parts) > 1 or any(operator is not None for _, operator in self.parts)
        return [
            (batch, _merge_batch_diagnostics(tasks, self.variables) if joining else tasks[0])
            for batch, tasks in selected
            if tasks
        ]


def build_graph(
    sampling: SamplingSpec,
    members: tuple[int, ...],
    state: StateSpec,
    times: int | np.ndarray,
    chunks: int | None,
    progress: bool | None,
    fixed_latents: Sequence[da.Array] = (),
    *,
    batch: int | None = None,
    build_operator: BuildOperator | None = None,
    variables: tuple[str, ...] | None = None,
    latent_shape: tuple[int, ...] | None = None,
) -> AnalysisGraph:
    """Build the Dask graph of an analysis.

    Parameters
    ----------
    sampling : SamplingSpec
    members : tuple of int
        Member numbers.
    state : StateSpec
        The model's state.
    times : int or array of int
        Indices of the result's times along the trajectory, or their number from its start. It may be padded.
    chunks : int or None
        Times per chunk; None: `TIMES_AT_ONCE`.
    progress : bool or None
        Whether sampling shows a progress bar.
    fixed_latents : sequence of dask array, (member, frame, *latent)
        One array for each entry of ``sampling.fixed_states``.
    batch : int, optional
        Members that are sampled together; default `MEMBERS_AT_ONCE`. Other numbers give other rounding errors.
    build_operator : BuildOperator, optional
        Replaces ``sampling.observations`` by the operator of each segment.
    variables : tuple of str, optional
        Observed quantities; default those of ``sampling.observations``.
    latent_shape : tuple of int, optional
        Shape of a latent state; default that of the model.
    """
    chosen = np.arange(times) if isinstance(times, int | np.integer) else np.asarray(times)
    size = batch or MEMBERS_AT_ONCE
    batches = [members[i : i + size] for i in range(0, len(members), size)]
    stride = state.window - compute_overlap(state.window)
    segments = cut_trajectory(
        len(sampling.times), state.window, stride, None if sampling.autoregressive else sampling.segments
    )
    sampled, samplings = _build_sampling_tasks(
        sampling, segments, batches, sampling.evaluations(state.window), progress, fixed_latents, build_operator
    )

    rows = tuple((i, k) for i, batch_of in enumerate(batches) for k in range(len(batch_of)))
    per_chunk = chunks or TIMES_AT_ONCE
    parts = [chosen[i : i + per_chunk] for i in range(0, len(chosen), per_chunk)]
    keys = [[task.key for task in tasks] for tasks in sampled]
    name = f"xappa-latents-{dask.base.tokenize(keys, chosen, per_chunk)}"
    pieces = list_pieces(segments, chosen, per_chunk)
    shape = latent_shape or _get_latent_shape(sampling)
    latents = build_slices(name, rows, pieces, [len(part) for part in parts], sampled, shape)
    fields = _build_decoded_fields(sampling, members, chosen, per_chunk, latents, state)
    if variables is None:
        variables = () if sampling.observations is None else tuple(sampling.observations.names)
    token = dask.base.tokenize(keys, members, chosen, sampling.select_decoding_options())
    by_batch = tuple((own, tuple(tasks)) for own, tasks in zip(batches, sampled, strict=True))
    return AnalysisGraph(
        token, fields, by_batch, sampling.evaluations(state.window), variables, tuple(samplings), sampling.times[chosen]
    )


def _get_latent_shape(sampling: SamplingSpec) -> tuple[int, ...]:
    from xappa.sampling.sampling_tasks import load_model

    return load_model(sampling).latent_shape


def _build_sampling_tasks(
    sampling: SamplingSpec,
    segments: Sequence[Segment],
    batches: Sequence[tuple[int, ...]],
    evaluations: int,
    progress: bool | None,
    fixed_latents: Sequence[da.Array],
    build_operator: BuildOperator | None,
) -> tuple[list[list[Delayed]], list[tuple[SamplingSpec, Delayed | None]]]:
    """Sampling tasks (batch, segment), and `AnalysisGraph.parts`."""
    found: list[list[Delayed]] = [[] for _ in batches]
    parts: list[tuple[SamplingSpec, Delayed | None]] = []
    previous, cutter = "", Cutter(sampling)
    for k, segment in enumerate(segments):
        part, kept = cutter.cut_segment(segment, previous)
        held = [
            dask.delayed(
                fixed_latents[i] if len(frames) == fixed_latents[i].shape[1] else fixed_latents[i][:, list(frames)]
            )
            for i, frames in kept
        ]
        operator = None if build_operator is None else build_operator(segment)
        parts.append((part, operator))
        previous = dask.base.tokenize(part.list_latent_dependencies(), None if operator is None else operator.key)
        for tasks, batch in zip(found, batches, strict=True):
            given = list(held)
            if segment.overlap:
                given.append(_build_known_states(tasks[k - 1], segment.start - segments[k - 1].start, segment.overlap))
            token = dask.base.tokenize(previous, batch)
            tasks.append(
                _make_layer(
                    f"{SAMPLING}{token}", _sample, part, batch, token, progress, evaluations,
                    List(*(TaskRef(known.key) for known in given)), None if operator is None else TaskRef(operator.key),
                    needs=[*given, *([] if operator is None else [operator])], kind=SharedTask,
                )
            )  # fmt: skip
    return found, parts


def _build_decoded_fields(
    sampling: SamplingSpec, members: tuple[int, ...], chosen: np.ndarray, size: int, latents: da.Array, state: StateSpec
) -> da.Array:
    """Decoded fields, with one task for each member and chunk of times."""
    seconds = sampling.times[chosen].astype("M8[s]").astype("i8")
    light = sampling.select_decoding_options()
    token = dask.base.tokenize(light, members, seconds, latents.name)
    own = ("m", "t", *list_latent_axes(latents.ndim - 2))
    return da.blockwise(
        _decode, tuple("mtvyx"), da.from_array(np.array(members), chunks=1, name=f"xappa-members-{token}"), "m",
        da.from_array(seconds, chunks=size, name=f"xappa-times-{token}"), "t", latents, own,
        name=f"xappa-decode-{token}", new_axes=dict(zip("vyx", state.shape, strict=True)), concatenate=True,
        align_arrays=False, meta=np.empty((0,) * 5, "f4"), dtype=np.dtype("f4"), sampling=light,
    )  # fmt: skip


@retry_once
def _sample(
    sampling: SamplingSpec,
    members: tuple[int, ...],
    token: str,
    progress: bool | None,
    total: int,
    fixed_latents: list[np.ndarray],
    operator: tuple[SparseOperator | CompositeOperator | None, xr.Dataset | None, object] | None = None,
) -> SamplingResult:
    from xappa.sampling.sampling_tasks import sample

    if operator is not None:
        observations, places, _ = operator
        sampling = replace(sampling, observations=observations, correlation=places)
    with show_bar(total, f"sampling {len(members)} members", progress) as advance:
        return sample(sampling, members, token, advance, fixed_latents)


@retry_once
def _decode(members: np.ndarray, seconds: np.ndarray, latents: np.ndarray, sampling: SamplingSpec) -> np.ndarray:
    from xappa.sampling.sampling_tasks import decode

    return decode(replace(sampling, times=seconds.astype("M8[s]")), latents, tuple(members.tolist()), 0)


def _build_known_states(task: Delayed, first: int, count: int) -> Delayed:
    """Last states of a segment, to which the next one is fixed."""
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
    """Diagnostics of all segments of a batch; their latents are freed one by one."""
    from xappa.sampling.merge_diagnostics import merge_segments, without_latents

    parts = [
        _make_layer(f"xappa-learned-{task.key}", without_latents, TaskRef(task.key), needs=[task]) for task in tasks
    ]
    return dask.delayed(merge_segments, pure=True)(parts, variables)
