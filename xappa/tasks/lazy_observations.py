"""Observations that are larger than memory: each sampling task reads its own, and nothing is read before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeGuard

import dask
import dask.array as da
import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.errors import NoReportsError
from xappa.model.registry import load
from xappa.observations.errors.attributes import require_correlation_stated
from xappa.observations.errors.defaults import count_without_error, warn_without_error
from xappa.observations.flags import Flag, flags_of
from xappa.observations.schema import quantities
from xappa.operators import split_windows
from xappa.operators.reports import require_used
from xappa.streaming.graph.segments import Segment
from xappa.tasks.pipeline import ObservationPipeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from dask.delayed import Delayed

    from xappa.model.protocol import GenerativeModel
    from xappa.operators import CompositeOperator, SparseOperator

Reading = tuple["SparseOperator | CompositeOperator | None", xr.Dataset | None, dict[str, Array]]
"""Rows of a segment, places of correlated reports, and ``time`` (s) with the flags of every report (-1: no value)."""

Apart = tuple[xr.Dataset, dict[str, xr.Variable], list[str]]
"""Reports in memory, variables that Dask reads, and names of coordinates."""

SAMPLE = 256
"""Reports that are looked at when the call is made, to find what is wrong with all of them."""


def is_lazy(obs: Any) -> TypeGuard[xr.Dataset]:
    """Whether observations are a Dataset of single reports that Dask reads."""
    return (
        isinstance(obs, xr.Dataset)
        and set(obs.dims) == {"obs"}
        and "time" in obs.variables
        and any(isinstance(variable.data, da.Array) for variable in obs.variables.values() if variable.chunks)
    )


@dataclass(frozen=True, eq=False)
class LazyObservations:
    """Observations that are read segment by segment.

    Parameters
    ----------
    obs : Dataset
        Dask-backed.
    pipeline : ObservationPipeline
    trajectory : array of datetime64, (T,)
    variables : tuple of str
        Quantities that are observed.
    chunks : array of int, (N + 1,)
        First report of each chunk, and the number of reports.
    spans : array of datetime64, (N, 2)
        First and last time of each chunk; NaT if it has none.
    """

    obs: xr.Dataset
    pipeline: ObservationPipeline
    trajectory: Array
    variables: tuple[str, ...]
    chunks: Array
    spans: Array
    read_tasks: list[tuple[Segment, Delayed]] = field(default_factory=list)

    @property
    def operator(self) -> str:
        """Description of the operator."""
        return repr(self.pipeline.operator)

    @property
    def errors(self) -> str:
        """The error deviations that are assumed where reports bring none (JSON)."""
        return self.pipeline.errors

    @property
    def observations(self) -> SparseOperator | CompositeOperator | None:
        """Observation operator of all reports, which are read now; None if none can be used."""
        return _read_segment(self.pipeline, [self.obs], self.trajectory, len(self.trajectory), (True, True))[0]

    def collect_provenance(self) -> dict[str, str]:
        """Attributes that say which observations these are; how many are used, only the run knows."""
        return {"xappa_operator": self.operator, "xappa_observations": dask.base.tokenize(self.obs)}

    def plan_reading(self, within: int) -> Callable[[Segment], Delayed]:
        """`BuildOperator` of the graph; reports after the first `within` times are left out."""
        return lambda segment: self._build_read_task(segment, within)

    def _build_read_task(self, segment: Segment, within: int) -> Delayed:
        """Task that reads the reports of a segment: a `Reading`."""
        times = self.trajectory[segment.start : segment.stop]
        step = times[1] - times[0] if len(times) > 1 else np.timedelta64(1, "D")
        near = _find_near_chunks(self.spans, times[0] - step, times[-1] + step, self.pipeline.until)
        edges = np.flatnonzero(np.diff(np.r_[False, near, False]))
        runs = [slice(int(self.chunks[a]), int(self.chunks[b])) for a, b in zip(edges[::2], edges[1::2], strict=True)]
        parts = [self.obs.isel(obs=run) for run in runs] or [self.obs.isel(obs=slice(0, 0)).compute()]
        length = min(segment.stop - segment.start, within)
        outer = (segment.start == 0, segment.stop >= len(self.trajectory))
        key = dask.base.tokenize(self.obs, runs, self.pipeline, times.astype("M8[s]"), length, outer)
        task = dask.delayed(_read_separated, pure=True)(
            self.pipeline,
            [*map(_separate_lazy, parts)],
            times,
            length,
            outer,
            dask_key_name=f"xappa-read-{key}",
        )
        self.read_tasks.append((segment, task))
        return task

    def count_reports(self) -> xr.Dataset:
        """Reports by variable and status, lazily, of the segments that were asked for; each report counts once."""
        names, status = list(self.variables), [flag.name.lower() for flag in Flag]
        parts = []
        for k, (segment, task) in enumerate(self.read_tasks):
            half = (self.trajectory[1] - self.trajectory[0]) / 2 if len(self.trajectory) > 1 else np.timedelta64(1, "D")
            first = self.trajectory[segment.start] - (half if k == 0 else 0 * half)
            last = self.trajectory[-1] + 2 * half
            if k + 1 < len(self.read_tasks):
                last = self.trajectory[self.read_tasks[k + 1][0].start]
            counted = dask.delayed(_count_flags, pure=True)(task, names, first, last)
            parts.append(da.from_delayed(counted, (len(names), len(status)), "i8"))
        total = da.stack(parts).sum(0) if parts else np.zeros((len(names), len(status)), int)
        about = {"long_name": "Reports used ('good') or rejected, by reason; those outside the times are not read"}
        return xr.Dataset(
            {"reports": (("variable", "status"), total, about | {"units": "1"})},
            {"variable": np.array(names, object), "status": np.array(status, object)},
        )


def defer_reading(
    pipeline: ObservationPipeline,
    obs: xr.Dataset,
    trajectory: Array,
    prior: GenerativeModel,
    already_warned: set[str] | None = None,
) -> LazyObservations:
    """Observations for a trajectory; only their times, and a few reports, are looked at.

    `already_warned` is what the user was warned of already; what is said now is added.

    Raises
    ------
    xappa.errors.XappaError
        What would be raised for all of them: unknown variables, units, options.
    NoReportsError
        If no report lies in the times, or no error is known of any quantity that can be used.
    """
    require_correlation_stated(obs, map(str, obs.data_vars))
    chunks, spans = _compute_spans(obs)
    names = _validate_first(pipeline, obs, spans, chunks, trajectory, prior, already_warned)
    return LazyObservations(obs, pipeline, trajectory, names, chunks, spans)


def _validate_first(
    pipeline: ObservationPipeline,
    obs: xr.Dataset,
    spans: Array,
    chunks: Array,
    trajectory: Array,
    prior: GenerativeModel,
    already_warned: set[str] | None,
) -> tuple[str, ...]:
    """Names of the quantities; what is wrong with all reports shows in the first few of a chunk inside the times."""
    step = prior.spec.step
    inside = _find_near_chunks(spans, trajectory[0] - step, trajectory[-1] + step, pipeline.until)
    if not inside.any():
        known = spans[~np.isnat(spans[:, 0])]
        found = f"reports from {known.min()} to {known.max()}" if len(known) else "no usable report at all"
        last = trajectory[-1] if pipeline.until is None else pipeline.until
        raise NoReportsError(
            f"No report lies inside the times: found {found}; expected some from {trajectory[0]} to {last}: "
            "choose other times or other observations"
        )
    first = int(chunks[inside.argmax()])
    few, assumed = pipeline.read(obs.isel(obs=slice(first, min(first + SAMPLE, int(chunks[-1])))).compute(), prior)
    assumed.warn(already_warned=already_warned)
    few = few.compute()
    when = few["time"].values[~np.isnat(few["time"].values)]
    good = any(bool((flags_of(few, n) == Flag.GOOD).any()) for n in quantities(few))
    if len(when) and good:
        start = (when.min() - trajectory[0]) // step
        count = int((when.max() - trajectory[0]) // step - start) + 2
        _, seen = pipeline.apply_operator(few, trajectory[0] + step * (start + np.arange(count)), prior)
        # Of a quantity without any errors, what holds for a few reports holds for all.
        left = [name for name in count_without_error(seen) if f"{name}_error" not in seen]
        if left and not any(_is_usable(seen, name) for name in quantities(seen)):
            require_used(seen)
        warn_without_error(seen, left, already_warned)
    return tuple(quantities(few))


def _find_near_chunks(spans: Array, first: np.datetime64, last: np.datetime64, until: np.datetime64 | None) -> Array:
    """Mask of the chunks that may hold reports from `first` to `last`, none later than `until`."""
    return (spans[:, 0] <= _earlier(last, until)) & (spans[:, 1] >= first)


def _is_usable(seen: xr.Dataset, name: str) -> bool:
    """Whether other reports of a quantity than those that were looked at may be used."""
    return f"{name}_error" in seen and not bool((flags_of(seen, name) == Flag.UNKNOWN_VARIABLE).any())


def _compute_spans(obs: xr.Dataset) -> tuple[Array, Array]:
    """First indices of the chunks of the observations, and the first and last time of each."""
    sizes = next(v.chunks[0] for v in obs.variables.values() if v.chunks)
    edges = np.r_[0, np.cumsum(sizes)]
    time = da.asarray(obs["time"].data).rechunk((sizes,))
    spans = dask.compute(*[dask.delayed(_compute_span, pure=True)(block) for block in time.to_delayed().ravel()])
    return edges, np.array(spans, "M8[s]").reshape(-1, 2)


def _compute_span(time: Array) -> Array:
    time = np.asarray(time).astype("M8[s]")
    time = time[~np.isnat(time)]
    return np.array([time.min(), time.max()] if len(time) else ["NaT", "NaT"], "M8[s]")


def _separate_lazy(part: xr.Dataset) -> Apart:
    """Reports as an argument of a task: what is in memory, and each variable that Dask reads by itself.

    Of a Dataset as a whole Dask 2026.8 loses the blocks of a variable from which another one is made.
    """
    lazy = [name for name, variable in part.variables.items() if variable.chunks]
    return part.drop_vars(lazy), {str(name): part.variables[name] for name in lazy}, [*map(str, part.coords)]


def _read_separated(
    pipeline: ObservationPipeline, parts: list[Apart], times: Array, length: int, outer: tuple[bool, bool]
) -> Reading:
    whole = [part.assign(variables).set_coords(coordinates) for part, variables, coordinates in parts]
    return _read_segment(pipeline, whole, times, length, outer)


def _read_segment(
    pipeline: ObservationPipeline, parts: Sequence[xr.Dataset], times: Array, length: int, outer: tuple[bool, bool]
) -> Reading:
    """Reports of one segment.

    Parameters
    ----------
    parts : sequence of Dataset
        Chunks of the observations that may lie in it.
    times : array of datetime64
        Times of the segment.
    length : int
        Times that its windows cover.
    outer : tuple of bool
        Whether the trajectory begins, and ends, with it.
    """
    from xappa.operators.forward.correlated import select_correlation_coordinates

    prior = load(pipeline.address)
    spec, half = prior.spec, prior.spec.step / 2
    obs = xr.concat(parts, "obs", data_vars="all", coords="all") if len(parts) > 1 else parts[0]
    # What reports are compared with may lie a step outside.
    obs = _select_between(obs, times[0] - spec.step, times[-1] + spec.step, pipeline.until)
    if not obs.sizes["obs"]:
        return None, None, {}
    first, last = times[0] - half * outer[0], times[-1] + half * outer[1]
    reports = _select_between(pipeline.read(obs, prior)[0].compute(), first, last)
    if not any(bool((flags_of(reports, n) == Flag.GOOD).any()) for n in quantities(reports)):
        return None, None, _collect_flags(reports)
    found, reports = pipeline.apply_operator(reports, times, prior)
    stride = spec.window - spec.window // 2
    found, reports = split_windows(found, reports, length, spec.window, stride)
    return (found if len(found) else None), select_correlation_coordinates(reports), _collect_flags(reports)


def _select_between(
    obs: xr.Dataset, first: np.datetime64, last: np.datetime64, until: np.datetime64 | None = None
) -> xr.Dataset:
    time = obs["time"].values
    return obs.isel(obs=np.flatnonzero((time >= first) & (time <= _earlier(last, until))))


def _earlier(last: np.datetime64, until: np.datetime64 | None) -> np.datetime64:
    return last if until is None else min(last, until)


def _collect_flags(reports: xr.Dataset) -> dict[str, Array]:
    seen = {"time": reports["time"].values.astype("M8[s]")}
    for name in quantities(reports):
        there = reports[name].notnull().values
        seen[name] = np.where(there, flags_of(reports, name).values, -1).astype("i1")
    return seen


def _count_flags(reading: Reading, names: Sequence[str], first: np.datetime64, last: np.datetime64) -> Array:
    seen = reading[2]
    counts = np.zeros((len(names), len(Flag)), int)
    if "time" not in seen:
        return counts
    mine = (seen["time"] >= first) & (seen["time"] < last)
    for row, name in zip(counts, names, strict=True):
        flags = seen.get(name, np.zeros(0, "i1"))
        row += np.bincount(flags[mine & (flags >= 0)] if len(flags) else flags, minlength=len(Flag))
    return counts
