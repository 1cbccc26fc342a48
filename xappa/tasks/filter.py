"""Filtering: the state now, given observations up to now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import xarray as xr

from xappa.alignment import aligned
from xappa.background import Background
from xappa.checked import checked
from xappa.labels import model_times
from xappa.segments import Segments
from xappa.tasks.backgrounds import given_background
from xappa.tasks.posterior import Task, read_reports, run

if TYPE_CHECKING:
    from xappa.models.protocol import ModelLike
    from xappa.observations.errors_table import Errors
    from xappa.observations.quality import Quality
    from xappa.observations.read import Source
    from xappa.operators.sources import Choice


@checked
@aligned
def filter(
    ds: xr.Dataset,
    obs: Source,
    operator: Choice | Mapping[str, Choice] | None = None,
    *,
    model: ModelLike | None = None,
    error: Errors | None = None,
    background: str | xr.Dataset | Background | None = None,
    members: int | Iterable[int] = 1,
    effort: str = "standard",
    guidance: str | object | None = None,
    sampler: str | object | None = None,
    steps: int | None = None,
    stitching: str = "symmetrical",
    segments: str | Segments = "independent",
    quality: str | Quality = "standard",
    grid: str = "model",
    seed: int | None = None,
    device: str | None = None,
    memory: str | float | None = None,
    chunks: str | int | Mapping[str, int] | None = "auto",
    progress: bool | None = None,
    drop_unknown: bool = False,
) -> xr.Dataset:
    """The state at the last time, given observations up to then; the twin of ``ds.appa.filter``.

    Parameters
    ----------
    ds : Dataset
        Its last time is now; observations are used from its first time on.
    obs, operator, model, error, background, members, effort, guidance, sampler, steps, stitching, segments, quality, \
    grid, seed, device, memory, chunks, progress, drop_unknown
        See `xappa.accessor.AppaAccessor.assimilate`.

    Returns
    -------
    Dataset
        (member, time, level, latitude, longitude), with one time; Dask-backed.
    """
    task = Task(
        ds, model, members, effort, guidance, sampler, steps, stitching, grid, seed, device, chunks, progress,
        drop_unknown, segments, memory=memory,
    )  # fmt: skip
    trajectory, _ = model_times(task.ds, task.prior.spec, task.layout)
    reports = read_reports(task, trajectory, obs, operator, error, quality, until=trajectory[-1])
    given = given_background(task, background, trajectory)
    return run(task, trajectory, slice(len(trajectory) - 1, None), reports=reports, given=given, title="State")
