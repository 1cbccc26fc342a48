"""Reanalysis: the trajectories, over the times of a Dataset, that observations allow."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xappa.errors import choose
from xappa.grids.axes import recognise
from xappa.labels import model_times, surface_height, to_dataset, wanted
from xappa.models.registry import load
from xappa.observations import read_observations
from xappa.observations.errors_table import with_errors
from xappa.observations.quality import check
from xappa.operators import OPERATORS
from xappa.options import get_options
from xappa.tasks import planning

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_ERRORS = "ecmwf-like"
DEFAULT_OPERATOR = "interpolate"


def assimilate(
    ds: xr.Dataset,
    obs: xr.Dataset | pd.DataFrame,
    operator: str | None = None,
    *,
    model: str | Path | None = None,
    error: Mapping[str, float] | str | None = None,
    members: int | Iterable[int] = 1,
    guidance: str | object | None = None,
    sampler: str | object | None = None,
    steps: int | None = None,
    stitching: str = "symmetrical",
    seed: int | None = None,
    device: str | None = None,
    chunks: str | int | Mapping[str, int] | None = "auto",
    progress: bool | None = None,
    drop_unknown: bool = False,
) -> xr.Dataset:
    """Assimilate observations; the twin of ``ds.appa.assimilate``, which documents the parameters.

    Parameters
    ----------
    ds : Dataset
        Its times and variables say what is wanted; its values are not used.
    obs, operator, model, error, members, guidance, sampler, steps, stitching, seed, device, chunks, progress, \
    drop_unknown
        See `xappa.accessor.AppaAccessor.assimilate`.

    Returns
    -------
    Dataset
        (member, time, level, latitude, longitude), Dask-backed.
    """
    from xappa.streaming.diagnostics import remember
    from xappa.streaming.lazy import build
    from xappa.streaming.plan import Plan, overlap, padded_times

    numbers = planning.member_numbers(members)
    methods = {
        "guidance": planning.choose_guidance(guidance),
        "sampler": planning.choose_sampler(sampler, steps),
        "stitching": planning.choose_stitching(stitching),
    }
    interpret = choose("operator", operator or DEFAULT_OPERATOR, OPERATORS)
    prior = load(model, device=device)
    spec = prior.spec
    layout = recognise(ds, need=("time",))
    trajectory, selection = model_times(ds, spec)
    asked = wanted(ds, layout, spec, drop_unknown=drop_unknown)

    reports = with_errors(check(read_observations(obs)), DEFAULT_ERRORS if error is None else error)
    own_height = surface_height(ds, spec, layout)
    height = prior.surface_height if own_height is None else own_height
    stencil, reports = interpret(reports, spec, trajectory, surface_height=height, mask=prior.mask)

    plan = Plan(
        model=planning.model_address(model),
        digest=prior.digest,
        device=device,
        times=padded_times(trajectory.astype("datetime64[s]"), spec.window, overlap(spec.window), spec.step),
        stencil=stencil,
        seed=secrets.randbelow(2**31) if seed is None else int(seed),
        dress=get_options().dress,
        clip=get_options().clip,
        **methods,
    )
    run = build(plan, numbers, spec, len(trajectory), planning.time_chunk(chunks), progress)
    remember(run, planning.counts_dataset(reports))
    attrs = planning.provenance(prior, plan, operator or DEFAULT_OPERATOR, run.token, reports)
    return to_dataset(run.fields[:, selection], spec, trajectory[selection], np.array(numbers), layout, asked, attrs)
