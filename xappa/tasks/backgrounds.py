"""Backgrounds and initial states: fields that become latents, lazily, at the times where they are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dask
import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.background import (
    ENSEMBLE,
    Background,
    LatentObservation,
    WarmStart,
    choose_background,
    count_lead_steps,
    drop_fields,
)
from xappa.errors import DatasetError, OptionError
from xappa.grids import flatten_valid_time
from xappa.grids.axes import format_time, recognise
from xappa.model.state import StateSpec
from xappa.state.latent_datasets import LATENT, PREFIX
from xappa.tasks.latents import encode
from xappa.tasks.planning import get_model_address
from xappa.tasks.request import SamplingRequest

if TYPE_CHECKING:
    import dask.array as da

    from xappa.sampling.spec import FixedState


def encode_background(
    request: SamplingRequest, background: object, trajectory: Array
) -> list[tuple[FixedState, da.Array]]:
    """Information of a background on a trajectory.

    Parameters
    ----------
    request : SamplingRequest
    background : "ds", Dataset, WarmStart, LatentObservation or None
    trajectory : array of datetime64, (T,)
        Consecutive model times.

    Returns
    -------
    list of (FixedState, dask array (member, frame, *latent))
        Empty without a background.

    Raises
    ------
    DatasetError
        If the background is not on a global grid, or lacks variables, levels or times that are needed.
    OptionError
        If an option is not valid for the model.
    """
    chosen = choose_background(background)  # type: ignore[arg-type]
    if chosen is None:
        return []
    _check(chosen, request)
    fields = request.ds if isinstance(chosen.fields, str) else flatten_valid_time(chosen.fields)
    times = _get_times(fields)
    if isinstance(chosen, WarmStart):
        lacking = trajectory[~np.isin(trajectory, times)]
        if len(lacking):
            raise DatasetError(
                f"The background lacks {len(lacking)} of the {len(trajectory)} times of the analysis, the first "
                f"{format_time(lacking[0])}; it has {_format_range(times)}. A warm start needs all of them: extend "
                "it, or use "
                "xappa.background.LatentObservation, for which one will do"
            )
        found = encode_states(request, fields, trajectory, trajectory, chosen)
        _require_error(chosen, request.loaded_model.spec, found[1].shape[0])
        return [found]
    common = trajectory[np.isin(trajectory, times)]
    if not len(common):
        raise DatasetError(
            f"The background has no time of the analysis: it has {_format_range(times)}, the analysis is from "
            f"{format_time(trajectory[0])} to {format_time(trajectory[-1])}; expected one at least, as a rule the first"
        )
    found = encode_states(request, fields, trajectory, common if chosen.times == "all" else common[:1], chosen)
    _require_error(chosen, request.loaded_model.spec, found[1].shape[0])
    return [found]


def encode_states(
    request: SamplingRequest, fields: xr.Dataset, trajectory: Array, times: Array, use: Background
) -> tuple[FixedState, da.Array]:
    """Latents of `fields` at `times`, as known states of a trajectory.

    Raises
    ------
    DatasetError, UnitsError
        If the fields are no states of the model.
    """
    from xappa.sampling.spec import FixedState

    layout = recognise(fields, need=("time",))
    coord = fields[layout.time]
    if coord.ndim:
        fields = fields.isel({coord.dims[0]: np.searchsorted(coord.values, times)})
    known = get_model_address(request.model, request.loaded_model)
    latents = encode(fields, known, dtype="float32", device=request.device)[LATENT]
    own = [dim for dim in latents.dims if str(dim).startswith(PREFIX)]
    member = next((dim for dim in latents.dims if dim not in (layout.time, *own)), None)
    if member is None:
        member, latents = "member", latents.expand_dims("member")
    if layout.time not in latents.dims:
        latents = latents.expand_dims(str(layout.time), axis=1)
    latents = latents.transpose(member, layout.time, *own)
    frames = tuple(int(k) for k in np.searchsorted(trajectory, times))
    key = dask.base.tokenize(latents.data.name)
    return FixedState(frames, drop_fields(use), key), latents.data


def encode_initial_states(request: SamplingRequest, trajectory: Array, known: Array) -> tuple[FixedState, da.Array]:
    """The last states of the Dataset, from which a forecast starts.

    Parameters
    ----------
    request : SamplingRequest
    trajectory : array of datetime64
        Of the forecast, beginning with `known`.
    known : array of datetime64
        Times of the Dataset.
    """
    exact = LatentObservation(covariance="autoencoder", times="all", each=True)
    return encode_states(request, request.ds, trajectory, known, exact)


def _check(background: Background, request: SamplingRequest) -> None:
    spec: StateSpec = request.loaded_model.spec
    count_lead_steps(background.lead, spec.step, spec.window)
    schedule = request.loaded_model.schedule
    if isinstance(background, WarmStart) and background.sigma is not None:
        low, high = schedule.sigma_min, schedule.sigma_max
        if not low < background.sigma <= high:
            raise OptionError(
                f"WarmStart: sigma={background.sigma:g}; expected a noise level of the model, from {low:g} to {high:g}"
            )


def _require_error(background: Background, spec: StateSpec, members: int) -> None:
    """Refuse a background whose error is to be that of the model's forecasts, where the model makes none."""
    if spec.window > 1:
        return
    if isinstance(background, WarmStart):
        known = background.sigma is not None or background.error is not None or members > 1
    else:
        known = background.covariance == "autoencoder" or (background.covariance != "nmc" and members >= ENSEMBLE)
    if not known:
        raise OptionError(
            f"{background!r}: the error of a background is estimated from the model's own forecasts, and this model, "
            f"which sees one state at once, makes none. Give {ENSEMBLE} members or more, or WarmStart(error=...), or "
            "LatentObservation(covariance='autoencoder', scale=...)"
        )


def _get_times(fields: xr.Dataset) -> Array:
    layout = recognise(fields)
    return np.atleast_1d(fields[layout.time].values)


def _format_range(times: Array) -> str:
    return f"{len(times)} from {format_time(times[0])} to {format_time(times[-1])}"
