"""Free samples: what a model holds possible, without observations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import xarray as xr

from xappa.alignment import aligned
from xappa.checked import checked
from xappa.labels import model_times
from xappa.segments import Segments
from xappa.tasks.posterior import Task, run

if TYPE_CHECKING:
    from xappa.models.protocol import ModelLike


@checked
@aligned
def sample(
    ds: xr.Dataset,
    *,
    model: ModelLike | None = None,
    members: int | Iterable[int] = 1,
    effort: str = "standard",
    sampler: str | object | None = None,
    steps: int | None = None,
    stitching: str = "symmetrical",
    segments: str | Segments = "independent",
    grid: str = "model",
    seed: int | None = None,
    device: str | None = None,
    memory: str | float | None = None,
    chunks: str | int | Mapping[str, int] | None = "auto",
    progress: bool | None = None,
    drop_unknown: bool = False,
) -> xr.Dataset:
    """Trajectories of the prior; the twin of ``ds.appa.sample``, which documents the parameters.

    Parameters
    ----------
    ds : Dataset
        Its times and variables say what is wanted; its values are not used.
    model, members, effort, sampler, steps, stitching, segments, grid, seed, device, memory, chunks, progress, \
    drop_unknown
        See `xappa.accessor.AppaAccessor.sample`.

    Returns
    -------
    Dataset
        (member, time, level, latitude, longitude), Dask-backed.
    """
    task = Task(
        ds,
        model,
        members,
        effort,
        None,
        sampler,
        steps,
        stitching,
        grid,
        seed,
        device,
        chunks,
        progress,
        drop_unknown,
        segments,
        memory=memory,
    )
    trajectory, selection = model_times(task.ds, task.prior.spec, task.layout)
    return run(task, trajectory, selection, title="Free samples")
