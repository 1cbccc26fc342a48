"""Reanalysis: the trajectories, over the times of a Dataset, that observations allow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xappa.alignment import aligned
from xappa.background import Background
from xappa.checked import checked
from xappa.labels import model_times
from xappa.segments import Segments
from xappa.tasks.backgrounds import given_background
from xappa.tasks.posterior import Reports, Task, read_reports, run
from xappa.tasks.streamed import Streamed, is_streamed, read_streamed

if TYPE_CHECKING:
    from xappa.models.protocol import ModelLike
    from xappa.observations.errors_table import Errors
    from xappa.observations.quality import Quality
    from xappa.observations.read import Source
    from xappa.operators.sources import Choice


@checked
@aligned
def assimilate(
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
    """Assimilate observations; the twin of ``ds.appa.assimilate``, which documents the parameters.

    Parameters
    ----------
    ds : Dataset
        Its times and variables say what is wanted; its values are used as a background only, if told so.
    obs, operator, model, error, background, members, effort, guidance, sampler, steps, stitching, segments, quality, \
    grid, seed, device, memory, chunks, progress, drop_unknown
        See `xappa.accessor.AppaAccessor.assimilate`.

    Returns
    -------
    Dataset
        (member, time, level, latitude, longitude), Dask-backed.
    """
    task = Task(
        ds, model, members, effort, guidance, sampler, steps, stitching, grid, seed, device, chunks, progress,
        drop_unknown, segments, memory=memory,
    )  # fmt: skip
    trajectory, selection = model_times(task.ds, task.prior.spec, task.layout)
    reports = read(task, trajectory, obs, operator, error, quality)
    given = given_background(task, background, trajectory)
    return run(task, trajectory, selection, reports=reports, given=given)


def read(
    task: Task,
    trajectory: np.ndarray,
    obs: Source,
    operator: Choice | Mapping[str, Choice] | None,
    error: Errors | None,
    quality: str | Quality,
    told: set[str] | None = None,
) -> Reports | Streamed:
    """Observations for a trajectory: read now, or where Dask has them, by each task.

    `told` is what the user was warned of already; what is said now is added.

    Raises
    ------
    NoReportsError
        If none of them can be used.
    """
    if is_streamed(obs):
        return read_streamed(task, trajectory, obs, operator, error, quality, told)
    return read_reports(task, trajectory, obs, operator, error, quality, told=told)
