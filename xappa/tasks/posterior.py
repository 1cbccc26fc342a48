"""What the tasks that sample have in common: from a request and what is known to a lazy result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.operators import split_windows
from xappa.options import get_options
from xappa.state import to_dataset, with_pairs
from xappa.state.area import GridSubset
from xappa.tasks import planning
from xappa.tasks.lazy_observations import LazyObservations
from xappa.tasks.pipeline import Observations
from xappa.tasks.regrid import GRIDS
from xappa.tasks.request import TrajectoryRequest

if TYPE_CHECKING:
    import dask.array as da

    from xappa.sampling.spec import Autoregressive, FixedState


def build_analysis(
    request: TrajectoryRequest,
    trajectory: Array,
    selection: Array | slice,
    *,
    reports: Observations | LazyObservations | None = None,
    given: Sequence[tuple[FixedState, da.Array]] = (),
    rolling: Autoregressive | None = None,
    title: str = "Analysis",
) -> xr.Dataset:
    """The lazy result of a request.

    Parameters
    ----------
    request : TrajectoryRequest
    trajectory : array of datetime64, (T,)
        Consecutive model times.
    selection : array of int or slice
        Which of them are in the result.
    reports : Observations or LazyObservations, optional
    given : sequence of (FixedState, dask array)
        Known states.
    rolling : Autoregressive, optional
    title : str
        What the result is, for its attributes.

    Returns
    -------
    Dataset
        (member, time, level, latitude, longitude).
    """
    from xappa.operators.forward.correlated import select_correlation_coordinates
    from xappa.sampling.spec import SamplingSpec, compute_overlap, pad_times
    from xappa.streaming.graph.diagnostics import remember
    from xappa.streaming.graph.lazy import build_graph
    from xappa.workers import require_workers

    require_workers()
    prior, spec, members = request.loaded_model, request.loaded_model.spec, request.member_numbers
    shared = compute_overlap(spec.window)
    times = trajectory.astype("datetime64[s]")
    length = len(times)
    if rolling is None:
        times = pad_times(times, spec.window, shared, spec.step)
    else:
        step = spec.window - rolling.context
        more = rolling.first + -(-max(length - rolling.first, 0) // step) * step
        times = times[0] + spec.step * np.arange(more)
    within = len(times) if rolling is None else rolling.first
    stencil = obs = None
    lazy = reports if isinstance(reports, LazyObservations) else None
    if isinstance(reports, Observations):
        stencil, obs = split_windows(reports.stencil, reports.obs, within, spec.window, spec.window - shared)
    plan = SamplingSpec(
        model=planning.get_model_address(request.model, request.loaded_model),
        digest=prior.digest,
        device=request.device,
        times=times,
        stencil=stencil,
        guidance=request.chosen_guidance,
        sampler=request.chosen_sampler,
        stitching=request.stitching,
        seed=request.chosen_seed,
        dress=get_options().dress,
        clip=get_options().clip,
        precision=prior.precision,
        correlation=None if obs is None else select_correlation_coordinates(obs),
        fixed_states=tuple(part for part, _ in given),
        autoregressive=rolling,
        segments=request.chosen_segments,
        memory=request.memory_bytes,
    )
    states = [values for _, values in given]
    size, batch = planning.choose_time_chunk(request.chunks), planning.choose_member_chunk(request.chunks)
    made = build_graph(
        plan, members, spec, np.arange(length)[selection], size, request.progress, states, batch=batch,
        readings=None if lazy is None else lazy.plan_reading(within),
        variables=None if lazy is None else lazy.variables,
    )  # fmt: skip
    remember(made, planning.make_counts_dataset(obs) if lazy is None else lazy.count_reports())
    operator = "" if reports is None else reports.operator
    attrs = planning.make_provenance(prior, plan, operator, made.token, obs, title, request.effort)
    attrs |= {} if reports is None else {"xappa_errors": reports.errors}
    attrs |= {} if lazy is None else lazy.collect_provenance()
    kept = trajectory[selection]
    area = GridSubset.covering(request.layout, spec) if request.grid == "model" else None
    result = to_dataset(made.fields, spec, kept, np.array(members), request.layout, request.output, attrs, area)
    if plan.antithetic:
        result = with_pairs(result, request.layout)
    return GRIDS[request.grid](result, request.ds)
