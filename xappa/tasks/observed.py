"""Observations for a trajectory: through the pipeline now, or where Dask reads them, when the analysis is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from xappa._typing import Array
from xappa.observations.errors.defaults import DEFAULT_ERRORS, count_without_error, warn_without_error
from xappa.observations.qc import choose_quality
from xappa.operators import choose_operator
from xappa.operators.reports import require_used
from xappa.state import get_surface_height
from xappa.tasks import planning
from xappa.tasks.lazy_observations import LazyObservations, defer_reading, is_lazy
from xappa.tasks.pipeline import ObservationPipeline, Observations
from xappa.tasks.request import ObservingRequest

if TYPE_CHECKING:
    from xappa.operators.sources import Choice


def prepare_observations(
    request: ObservingRequest,
    trajectory: Array,
    obs: Any,
    operator: Choice | Mapping[str, Choice] | None = None,
    *,
    until: np.datetime64 | None = None,
    trusted: str | None = None,
    already_warned: set[str] | None = None,
) -> Observations | LazyObservations:
    """Observations, read, checked and brought to a trajectory.

    Parameters
    ----------
    request : ObservingRequest
    trajectory : array of datetime64, (T,)
        Consecutive model times.
    obs : Dataset, DataFrame, path, or a list or dict of these
    operator : str, operator, function, or dict of these, optional
    until, trusted
        See `ObservationPipeline`.
    already_warned : set of str, optional
        What the user was warned of already; what is said now is added.

    Raises
    ------
    NoReportsError
        If none of them can be used.
    """
    pipeline = ObservationPipeline(
        address=planning.get_model_address(request.model, request.loaded_model),
        digest=request.loaded_model.digest,
        operator=choose_operator(operator),
        error=DEFAULT_ERRORS if request.error is None else request.error,
        quality=choose_quality(request.quality),
        layout=request.layout,
        height=get_surface_height(request.ds, request.loaded_model.spec, request.layout),
        until=until,
        trusted_source=trusted,
    )
    if is_lazy(obs):
        return defer_reading(pipeline, obs, trajectory, request.loaded_model, already_warned)
    reports, assumed = pipeline.read(obs, request.loaded_model)
    assumed.warn(already_warned=already_warned)
    rows, reports = pipeline.apply_operator(reports, trajectory, request.loaded_model)
    require_used(reports)
    warn_without_error(reports, count_without_error(reports), already_warned)
    return Observations(rows, reports, repr(pipeline.operator), pipeline.errors)
