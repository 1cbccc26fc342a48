"""Forecasts: what follows a Dataset, or the analysis of observations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.alignment import aligned
from xappa.background import Background, WarmStart, timedelta
from xappa.checked import checked
from xappa.errors import DatasetError, OptionError, choose, warn
from xappa.labels import model_times
from xappa.models.state import StateSpec
from xappa.observations.quality import choose_quality
from xappa.operators import choose_operator
from xappa.tasks.backgrounds import given_background, initial
from xappa.tasks.posterior import Task, read_reports, run

if TYPE_CHECKING:
    import dask.array as da

    from xappa.observations.errors_table import Errors
    from xappa.observations.quality import Quality
    from xappa.observations.read import Source
    from xappa.operators.sources import Choice
    from xappa.streaming.plan import Given, Rolling

Lead = Any
"""str, timedelta, timedelta64, or a sequence of these."""

SKILL = np.timedelta64(15, "D")
"""Beyond it no forecast of the weather is better than climatology."""
LONGEST = np.timedelta64(366, "D")


@checked
@aligned
def forecast(
    ds: xr.Dataset,
    lead: Lead,
    *,
    obs: Source | None = None,
    operator: Choice | Mapping[str, Choice] | None = None,
    model: str | Path | None = None,
    error: Errors | None = None,
    background: str | xr.Dataset | Background | None = None,
    mode: str = "autoregressive",
    members: int | Iterable[int] = 1,
    effort: str = "standard",
    guidance: str | object | None = None,
    sampler: str | object | None = None,
    steps: int | None = None,
    stitching: str = "symmetrical",
    quality: str | Quality = "standard",
    grid: str = "model",
    seed: int | None = None,
    device: str | None = None,
    memory: str | float | None = None,
    chunks: str | int | Mapping[str, int] | None = "auto",
    progress: bool | None = None,
    drop_unknown: bool = False,
) -> xr.Dataset:
    """What follows `ds`, or the analysis of `obs`; the twin of ``ds.appa.forecast``, which documents the parameters.

    Parameters
    ----------
    ds : Dataset
        The forecast starts at its last time: from its states, all variables and levels of the model; or, with `obs`,
        from the observations at its times.
    lead, obs, operator, model, error, background, mode, members, effort, guidance, sampler, steps, stitching, \
    quality, grid, seed, device, memory, chunks, progress, drop_unknown
        See `xappa.accessor.AppaAccessor.forecast`.

    Returns
    -------
    Dataset
        (member, time, level, latitude, longitude), with ``lead_time`` along time; Dask-backed.
    """
    choose("mode", mode, MODES)
    choose_quality(quality)
    choose_operator(operator)
    task = Task(
        ds, model, members, effort, guidance, sampler, steps, stitching, grid, seed, device, chunks, progress,
        drop_unknown, memory=memory,
    )  # fmt: skip
    spec = task.prior.spec
    leads = lead_numbers(lead, spec)
    past, own = model_times(task.ds, spec, task.layout)
    if obs is None and background is not None:
        raise OptionError(
            "Found background= without obs=; expected both, or neither: without observations a forecast starts from "
            "the states of the Dataset itself. For a forecast of another model as a constraint see xappa.experimental"
        )
    if isinstance(background, WarmStart):
        raise OptionError(
            "Found a WarmStart as the background of a forecast; expected fields or a LatentObservation: nothing is "
            "known of the times ahead to start from. With another model's forecast of them use "
            "xappa.experimental.constrain"
        )
    # States of the Dataset count as far back as the next window looks.
    past = past if obs is not None else _recent(past, own, spec.window // 2)
    now = past[-1]
    trajectory = past[0] + spec.step * np.arange(len(past) + leads[-1])
    given: list[tuple[Given, da.Array]] = []
    if obs is None:
        reports = None
        given.append(initial(task, trajectory, past))
    else:
        reports = read_reports(task, trajectory, obs, operator, error, quality, until=now)
        given += given_background(task, background, past)
    rolling = MODES[mode](len(past), spec)
    selection = len(past) - 1 + leads
    result = run(task, trajectory, selection, reports=reports, given=given, rolling=rolling, title="Forecast")
    time = str(task.layout.time)
    ahead = (trajectory[selection] - now).astype("timedelta64[ns]")
    about = {"standard_name": "forecast_period", "long_name": "Time since the last state or observation"}
    result = result.assign_coords(lead_time=(time, ahead, about))
    return result.assign_attrs(xappa_forecast_from=str(now.astype("datetime64[s]")))


def _rolling(known: int, spec: StateSpec) -> Rolling:
    from xappa.streaming.plan import Rolling, overlap, padded_times

    shared = overlap(spec.window)
    first = len(padded_times(np.arange(known).astype("datetime64[s]"), spec.window, shared, np.timedelta64(1, "s")))
    return Rolling(first, shared)


def _at_once(known: int, spec: StateSpec) -> None:
    return None


MODES = {"autoregressive": _rolling, "all-at-once": _at_once}
"""Names that choose how a forecast goes beyond the first window."""


def lead_numbers(lead: Lead, spec: StateSpec) -> Array:
    """Steps of the model after now that are wanted: all up to one lead, or those of a sequence.

    Raises
    ------
    OptionError
        If a lead is not ahead, no multiple of the step, or too long.
    """
    several = isinstance(lead, Sequence | np.ndarray) and not isinstance(lead, str) and np.ndim(lead) > 0
    values = list(lead) if several else [lead]
    if not values:
        raise OptionError("lead is empty; expected a lead such as '48h', or several")
    asked = np.array([timedelta("lead", value) for value in values])
    problems, hours = [], spec.step_hours
    for value, given in zip(values, asked, strict=True):
        past = given % spec.step
        if given <= np.timedelta64(0, "s"):
            problems.append(f"{value!r} is not ahead; expected a lead above 0")
        elif past != np.timedelta64(0, "s"):
            near = [f"{(given - past + k * spec.step) / np.timedelta64(1, 'h'):g}h" for k in (0, 1)]
            near = [text for text in near if text != "0h"]
            problems.append(f"{value!r} is no multiple of the model's {hours} h; the nearest: {' and '.join(near)}")
        elif given > LONGEST:
            days = int(LONGEST / np.timedelta64(1, "D"))
            problems.append(
                f"{value!r} is longer than {days} days, where nothing is left of the initial state; use ds.appa.sample "
                "for the model's climate"
            )
    if problems:
        raise OptionError("lead: " + "; ".join(problems))
    if asked.max() > SKILL:
        warn(
            f"The longest lead is {asked.max() / np.timedelta64(1, 'D'):g} days; beyond some "
            f"{SKILL / np.timedelta64(1, 'D'):g} days a forecast is a sample of the model's climate"
        )
    counts = np.unique((asked / spec.step).astype(int))
    return counts if several else np.arange(1, int(counts[0]) + 1)


def _recent(trajectory: Array, own: Array, most: int) -> Array:
    """The last consecutive times of the Dataset, at most so many."""
    if not len(own):
        raise DatasetError("The Dataset has no time; expected one state at least to start from")
    gaps = np.flatnonzero(np.diff(own) > 1)
    first = own[gaps[-1] + 1] if len(gaps) else own[0]
    return trajectory[max(first, len(trajectory) - most) :]
