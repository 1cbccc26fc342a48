"""What may still change: constraints on a frozen prior, all in one call.

A model that was trained once answers questions that it was not trained for, if what is known is given as a constraint:
a forcing at the lower boundary, a forecast of another model, observations.

References
----------
Yang et al. (2025), Generative assimilation and prediction for weather and climate, https://arxiv.org/abs/2503.03038
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.background import WarmStart
from xappa.errors import DatasetError, OptionError
from xappa.grids import flatten_valid_time
from xappa.grids.axes import format_time, recognise
from xappa.model.state import StateSpec
from xappa.observations.schema import build_observations, concat
from xappa.signatures import with_parameters_of
from xappa.state import find_model_times, to_array
from xappa.tasks.backgrounds import encode_background
from xappa.tasks.observed import prepare_observations
from xappa.tasks.posterior import build_analysis
from xappa.tasks.request import ObservingRequest, TrajectoryRequest

if TYPE_CHECKING:
    import pandas as pd

    from xappa.model.protocol import GenerativeModel
    from xappa.operators.sources import Choice

__all__ = ["constrain"]


FORCING = "forcing"
"""Source of the prescribed fields among the observations."""
SHARE = 0.1
"""Error of a prescribed field, where none is given, over the deviation of the model's climate."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ConstrainRequest(ObservingRequest, TrajectoryRequest):
    """Constraints on trajectories.

    Parameters
    ----------
    forcing : Dataset, optional
        Fields of one or more of the model's variables, such as the sea surface temperature, on any grid of latitudes
        and longitudes. They are prescribed at every time of `ds`: as observed fields with a small error, at each point
        of the model's grid. Each time of `ds` takes the field of that time; a forcing without time holds throughout.
    forecast : Dataset or WarmStart, optional
        A forecast of any model, with all variables of this one, at all times of `ds`: sampling starts from it, noised.
        What it has of this model's climate is kept. `xappa.background.WarmStart` says from which noise level.
    obs : Dataset, DataFrame, or a list or dict of these, optional
        As for `assimilate`.
    operator : str, operator or function, optional
        For `obs`.
    forcing_error : mapping of str to float, optional
        Standard deviations of the forcing's errors, in the vocabulary's units. Default: a tenth of the deviation of
        the model's climate.
    """

    forcing: xr.Dataset | None = None
    forecast: xr.Dataset | WarmStart | None = None
    obs: xr.Dataset | pd.DataFrame | Mapping[str, Any] | None = None
    operator: Choice | None = None
    forcing_error: Mapping[str, float] | None = None

    def validate(self) -> None:
        """Refuse options that are not valid."""
        if self.forcing is None and self.forecast is None and self.obs is None:
            raise OptionError("No constraint: expected forcing=, forecast= or obs=; without any, use ds.appa.sample")
        super().validate()


@with_parameters_of(ConstrainRequest)
def constrain(request: ConstrainRequest) -> xr.Dataset:
    """Trajectories of the prior under constraints: forcing, a forecast, observations, or any of them together.

    Experimental: names and defaults may change without notice. The values of `ds` are not used.

    Returns
    -------
    Dataset
        As of `assimilate`.

    Raises
    ------
    OptionError
        If there is no constraint at all.
    DatasetError
        If the forcing lacks times of `ds`, or has no variable of the model.
    """
    trajectory, selection = find_model_times(request.ds, request.loaded_model.spec, request.layout)
    start = request.forecast
    if start is not None and not isinstance(start, WarmStart):
        start = WarmStart(start)
    given = encode_background(request, start, trajectory)
    sources: dict[str, Any] = {}
    if request.forcing is not None:
        sources[FORCING] = prescribe_fields(request.forcing, request.loaded_model, trajectory, request.forcing_error)
    if (obs := request.obs) is not None:
        sources |= {str(key): value for key, value in obs.items()} if isinstance(obs, dict) else {"obs": obs}
    reports = None
    if sources:
        operators = {key: request.operator for key in sources if key != FORCING and request.operator is not None}
        reports = prepare_observations(request, trajectory, sources, operators or None, trusted=FORCING)
    result = build_analysis(
        request, trajectory, selection, reports=reports, given=given, title="Constrained trajectories"
    )
    return result.assign_attrs(xappa_experimental="constrain")


def prescribe_fields(
    forcing: xr.Dataset, prior: GenerativeModel, trajectory: Array, errors: Mapping[str, float] | None
) -> xr.Dataset:
    """Fields as observations at every point of the model's grid and every time of the trajectory.

    Parameters
    ----------
    forcing : Dataset
    prior : GenerativeModel
    trajectory : array of datetime64, (T,)
    errors : mapping of str to float, optional

    Returns
    -------
    Dataset
        Observations in the schema, with errors.
    """
    spec, fields = prior.spec, flatten_valid_time(forcing)
    layout = recognise(fields, need=("latitude", "longitude"))
    names = [name for name in layout.names.values() if name in spec.variables]
    if not names:
        raise DatasetError(
            f"The forcing has none of the model's variables: found {', '.join(map(str, fields.data_vars)) or 'none'}; "
            f"expected some of {', '.join(spec.variables)}"
        )
    if unknown := sorted(set(errors or {}) - set(names)):
        raise OptionError(f"forcing_error names {unknown}; the forcing has {names}")
    part = replace(spec, channels=tuple(channel for channel in spec.channels if channel[0] in names))
    if layout.time is None or fields[layout.time].ndim == 0:
        name = layout.time or "time"
        fields = fields.drop_vars(name, errors="ignore").expand_dims({name: trajectory[:1]})
        layout = recognise(fields)
        which = np.zeros(len(trajectory), int)
    else:
        own = fields[layout.time].values
        lacking = trajectory[~np.isin(trajectory, own)]
        if len(lacking):
            raise DatasetError(
                f"The forcing lacks {len(lacking)} of {len(trajectory)} times, the first "
                f"{format_time(lacking[0])}; expected "
                f"all from {format_time(trajectory[0])} to {format_time(trajectory[-1])}: interpolate it in time, "
                "with forcing.interp"
            )
        fields = fields.isel({fields[layout.time].dims[0]: np.searchsorted(own, trajectory)})
        which = np.arange(len(trajectory))
    values = to_array(fields, part, layout)[which]
    return _make_reports(values, part, prior, trajectory, errors or {})


def _make_reports(
    values: Array, part: StateSpec, prior: GenerativeModel, trajectory: Array, errors: Mapping[str, float]
) -> xr.Dataset:
    """Every value (time, channel, latitude, longitude) as a report of its own."""
    found = []
    rows, columns = np.meshgrid(part.latitude, part.longitude, indexing="ij")
    count = rows.size
    for k, (name, level) in enumerate(part.channels):
        channel = prior.spec.channels.index((name, level))
        usual = SHARE * np.where(prior.mask[channel], prior.scale[channel], np.nan).reshape(-1)
        deviation = np.full(count, float(errors[name])) if name in errors else usual
        there = prior.mask[channel].reshape(-1)
        coordinates = {
            "time": np.repeat(trajectory, there.sum()),
            "latitude": np.tile(rows.reshape(-1)[there], len(trajectory)),
            "longitude": np.tile(columns.reshape(-1)[there], len(trajectory)),
        }
        if level is not None:
            coordinates["level"] = np.full(len(coordinates["time"]), float(level))
        elif prior.surface_height is not None:
            height = np.asarray(prior.surface_height, float).reshape(-1)[there]
            coordinates["altitude"] = np.tile(height, len(trajectory))
        reported = values[:, k].reshape(len(trajectory), -1)[:, there].reshape(-1)
        found.append(
            build_observations(coordinates, {name: reported}, {name: np.tile(deviation[there], len(trajectory))})
        )
    return concat(found)
