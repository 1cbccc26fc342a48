"""What the tasks that sample have in common: from options and labelled inputs to a lazy result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.background import Fields
from xappa.errors import choose
from xappa.grids import tidy
from xappa.grids.axes import Layout, recognise
from xappa.labels import Wanted, surface_height, to_dataset, wanted, with_pairs
from xappa.labels.area import Area
from xappa.models.registry import load
from xappa.observations.default_errors import (
    DEFAULT_ERRORS,
    errors_text,
    warn_without_error,
    with_default_errors,
    without_error,
)
from xappa.observations.errors_table import Errors
from xappa.observations.flags import Flag, flags_of, with_flag
from xappa.observations.form import quantities
from xappa.observations.own import own_names, require_units
from xappa.observations.quality import Quality, check, choose_quality
from xappa.observations.read import read_quietly
from xappa.operators import choose_operator, split_windows
from xappa.operators.reports import require_used, used_names
from xappa.options import get_options
from xappa.segments import Segments, choose_segments
from xappa.tasks import planning
from xappa.tasks.effort import DEFAULT
from xappa.tasks.quality import controlled_by
from xappa.tasks.regrid import GRIDS
from xappa.tasks.streamed import Streamed

if TYPE_CHECKING:
    import dask.array as da

    from xappa.models.model import Model
    from xappa.operators import Rows, Stencil
    from xappa.operators.sources import Choice
    from xappa.streaming.plan import Given, Rolling


@dataclass(frozen=True, eq=False)
class Task:
    """A Dataset, and the options that all tasks that sample share, checked.

    Parameters
    ----------
    ds : Dataset
    model, members, effort, guidance, sampler, steps, stitching, grid, seed, device, chunks, progress, drop_unknown, \
    segments, memory
        See `xappa.accessor.AppaAccessor.assimilate`.

    Raises
    ------
    xappa.errors.XappaError
        If an option is not valid.
    """

    ds: xr.Dataset
    model: str | Path | None = None
    members: int | Iterable[int] = 1
    effort: str = DEFAULT
    guidance: str | object | None = None
    sampler: str | object | None = None
    steps: int | None = None
    stitching: str = "symmetrical"
    grid: str = "model"
    seed: int | None = None
    device: str | None = None
    chunks: str | int | Mapping[str, int] | None = "auto"
    progress: bool | None = None
    drop_unknown: bool = False
    segments: str | Segments = "independent"
    memory: str | float | None = None

    def __post_init__(self) -> None:
        values = {
            "ds": tidy(self.ds),
            "members": planning.member_numbers(self.members),
            "seed": planning.choose_seed(self.seed),
            "guidance": planning.choose_guidance(self.guidance, self.prior.static_prior, self.effort),
            "sampler": planning.choose_sampler(self.sampler, self.steps, self.effort),
            "stitching": planning.choose_stitching(self.stitching),
            "memory": planning.choose_memory(self.memory),
            "segments": choose_segments(self.segments),
        }
        choose("grid", self.grid, GRIDS)
        planning.time_chunk(self.chunks)
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @cached_property
    def prior(self) -> Model:
        """The model."""
        return load(self.model, device=self.device)

    @cached_property
    def layout(self) -> Layout:
        """How the Dataset is written."""
        return recognise(self.ds, need=("time",))

    @cached_property
    def asked(self) -> Wanted:
        """Variables and levels of the result."""
        return wanted(self.ds, self.layout, self.prior.spec, drop_unknown=self.drop_unknown)


@dataclass(frozen=True, eq=False)
class Reports:
    """Observations that are ready to be assimilated.

    Parameters
    ----------
    stencil : Stencil or Rows
        How they are read off the trajectory.
    obs : Dataset
        All of them, with flags.
    operator : str
        What the operator does.
    errors : str
        The error deviations that are assumed where reports bring none (JSON).
    """

    stencil: Stencil | Rows
    obs: xr.Dataset
    operator: str
    errors: str = ""


def read_reports(
    task: Task,
    trajectory: Array,
    obs: Any,
    operator: Choice | Mapping[str, Choice] | None,
    error: Errors | None,
    quality: str | Quality,
    until: np.datetime64 | None = None,
    trusted: str | None = None,
    told: set[str] | None = None,
) -> Reports:
    """Observations, read, checked and brought to a trajectory.

    Parameters
    ----------
    task : Task
    trajectory : array of datetime64, (T,)
        Consecutive model times.
    obs : Dataset, DataFrame, or a list or dict of these
    operator, error, quality
        See `xappa.accessor.AppaAccessor.assimilate`.
    until : datetime64, optional
        Later reports are rejected as outside the times.
    trusted : str, optional
        Source of observations that are not compared with the climatology or each other.
    told : set of str, optional
        What the user was warned of already; what is said now is added.
    """
    checks, interpret = choose_quality(quality), choose_operator(operator)
    error = DEFAULT_ERRORS if error is None else error
    # What the vocabulary does not have can be of use to an operator that makes fields, or is told by its error.
    read, assumed = read_quietly(obs, unknown="keep" if interpret.whole_state else own_names(error))
    assumed.tell(told=told)
    reports = with_default_errors(check(read), error)
    if until is not None:
        late = np.asarray(reports["time"].values) > until
        for name in quantities(reports):
            reports = with_flag(reports, name, late, Flag.OUTSIDE_TIMES)
    spec, prior = task.prior.spec, task.prior
    own_height = surface_height(task.ds, spec, task.layout)
    height = prior.surface_height if own_height is None else own_height
    before = reports
    reports = controlled_by(prior, planning.model_address(task.model), reports, checks, surface=own_height)
    if trusted is not None and "source" in reports.coords:
        mine = np.asarray(reports["source"].values).astype(str) == trusted
        for name in quantities(reports):
            flags = np.where(mine, flags_of(before, name), flags_of(reports, name)).astype("int8")
            reports = reports.assign({f"{name}_flag": ("obs", flags, flags_of(reports, name).attrs)})
    stencil, reports = interpret(reports, spec, trajectory, surface_height=height, mask=prior.mask, layout=task.layout)
    require_used(reports)
    warn_without_error(reports, without_error(reports), told)
    require_units(reports, used_names(stencil))
    return Reports(stencil, reports, repr(interpret), errors_text(error))


def run(
    task: Task,
    trajectory: Array,
    selection: Array | slice,
    *,
    reports: Reports | Streamed | None = None,
    given: Sequence[tuple[Given, da.Array]] = (),
    rolling: Rolling | None = None,
    title: str = "Analysis",
) -> xr.Dataset:
    """The lazy result of a task.

    Parameters
    ----------
    task : Task
    trajectory : array of datetime64, (T,)
        Consecutive model times.
    selection : array of int or slice
        Which of them are in the result.
    reports : Reports, optional
    given : sequence of (Given, dask array)
        Known states.
    rolling : Rolling, optional
    title : str
        What the result is, for its attributes.

    Returns
    -------
    Dataset
        (member, time, level, latitude, longitude).
    """
    from xappa.operators.correlated import correlated_places
    from xappa.streaming.graph.diagnostics import remember
    from xappa.streaming.graph.lazy import build
    from xappa.streaming.graph.workers import require_workers
    from xappa.streaming.plan import Plan, overlap, padded_times

    require_workers()
    prior, spec, members = task.prior, task.prior.spec, task.members
    shared = overlap(spec.window)
    times = trajectory.astype("datetime64[s]")
    length = len(times)
    if rolling is None:
        times = padded_times(times, spec.window, shared, spec.step)
    else:
        step = spec.window - rolling.context
        more = rolling.first + -(-max(length - rolling.first, 0) // step) * step
        times = times[0] + spec.step * np.arange(more)
    stencil = obs = None
    streamed = reports if isinstance(reports, Streamed) else None
    if isinstance(reports, Reports):
        within = len(times) if rolling is None else rolling.first
        stencil, obs = split_windows(reports.stencil, reports.obs, within, spec.window, spec.window - shared)
    plan = Plan(
        model=planning.model_address(task.model),
        digest=prior.digest,
        device=task.device,
        times=times,
        stencil=stencil,
        guidance=task.guidance,
        sampler=task.sampler,
        stitching=task.stitching,
        seed=task.seed or 0,
        dress=get_options().dress,
        clip=get_options().clip,
        precision=prior.precision,
        correlation=None if obs is None else correlated_places(obs),
        given=tuple(part for part, _ in given),
        rolling=rolling,
        segments=task.segments,  # type: ignore[arg-type]
        memory=task.memory,  # type: ignore[arg-type]
    )
    numbers = tuple(members)  # type: ignore[arg-type]
    states = [values for _, values in given]
    size, batch = planning.time_chunk(task.chunks), planning.member_chunk(task.chunks)
    made = build(
        plan, numbers, spec, np.arange(length)[selection], size, task.progress, states, batch=batch,
        readings=None if streamed is None else streamed.readings,
        variables=None if streamed is None else streamed.variables,
    )  # fmt: skip
    remember(made, planning.counts_dataset(obs) if streamed is None else streamed.counts())
    operator = "" if reports is None else reports.operator
    attrs = planning.provenance(prior, plan, operator, made.token, obs, title, task.effort)
    attrs |= {} if reports is None else {"xappa_errors": reports.errors}
    attrs |= {} if streamed is None else streamed.provenance()
    kept = trajectory[selection]
    area = Area.covering(task.layout, spec) if task.grid == "model" else None
    result = to_dataset(made.fields, spec, kept, np.array(numbers), task.layout, task.asked, attrs, area)
    if plan.antithetic:
        result = with_pairs(result, task.layout)
    return GRIDS[task.grid](result, task.ds)


def fields_of(fields: Fields, ds: xr.Dataset) -> xr.Dataset:
    """The Dataset that ``"ds"``, or a Dataset, means."""
    return ds if isinstance(fields, str) else tidy(fields)
