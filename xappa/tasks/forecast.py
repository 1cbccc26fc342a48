"""Forecasts: what follows a Dataset, or the analysis of observations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.background import WarmStart
from xappa.background import parse_timedelta as length_of
from xappa.errors import DatasetError, OptionError, choose, warn
from xappa.model.state import StateSpec
from xappa.signatures import with_parameters_of
from xappa.state import find_model_times
from xappa.tasks.backgrounds import encode_background, encode_initial_states
from xappa.tasks.observed import prepare_observations
from xappa.tasks.posterior import build_analysis
from xappa.tasks.request import AnalysisRequest

if TYPE_CHECKING:
    import dask.array as da

    from xappa.observations.read import Source
    from xappa.operators.sources import Choice
    from xappa.sampling.spec import Autoregressive, FixedState

Lead = str | timedelta | np.timedelta64 | Sequence[str | timedelta | np.timedelta64]

SKILL = np.timedelta64(15, "D")
"""Beyond it no forecast of the weather is better than climatology."""
LONGEST = np.timedelta64(366, "D")


@dataclass(frozen=True, eq=False)
class ForecastRequest(AnalysisRequest):
    """A forecast, from states or from observations.

    Parameters
    ----------
    lead : str, timedelta, or a sequence of these
        ``"48h"``: all model times up to 48 hours ahead. ``["24h", "48h"]``: these two. At most 366 days.
    obs : xarray.Dataset, pandas.DataFrame or path of a file; or a dict or list of these, optional
        As for `assimilate`. Reports later than the last time of `ds` are rejected. `operator`, `error`, `background`
        and `quality` are for these.
    operator : str, operator, function, or dict of these, optional
        As for `assimilate`.
    mode : str, default "autoregressive"
        ``"autoregressive"``: a window of the model at a time, each given the last states of the one before.
        ``"all-at-once"``: the whole trajectory, all its windows together, in `segments` where it is long.
    """

    lead: Lead
    _: KW_ONLY
    obs: Source | None = None
    operator: Choice | Mapping[str, Choice] | None = None
    mode: str = "autoregressive"

    def validate(self) -> None:
        """Refuse options that are not valid."""
        choose("mode", self.mode, MODES)
        super().validate()
        if self.obs is None and self.background is not None:
            raise OptionError(
                "Found background= without obs=; expected both, or neither: without observations a forecast starts "
                "from the states of the Dataset itself. For a forecast of another model as a constraint see "
                "xappa.experimental"
            )
        if isinstance(self.background, WarmStart):
            raise OptionError(
                "Found a WarmStart as the background of a forecast; expected fields or a LatentObservation: nothing is "
                "known of the times ahead to start from. With another model's forecast of them use "
                "xappa.experimental.constrain"
            )


@with_parameters_of(ForecastRequest)
def forecast(request: ForecastRequest) -> xr.Dataset:
    """Forecast from a Dataset, or from the analysis of observations at its times.

    Without `obs` the forecast starts from the states of `ds` (the last ones, up to half a window of the model): all
    variables and levels of the model, on any global grid. They are held to within the error of the model's
    autoencoder; member i starts from member i of `ds`, counted round. With `obs` the values of `ds` are not used, and
    members of the forecast continue members of the analysis.

    Returns
    -------
    xarray.Dataset
        As of `assimilate`, at the times ahead, with the coordinate ``lead_time`` along time.

    Raises
    ------
    xappa.errors.OptionError
        If a lead is not ahead, no multiple of the model's step, or too long.
    xappa.errors.XappaError
        As `assimilate`. States with missing values are found when they are computed.

    Examples
    --------
    >>> ahead = analysis.appa.forecast("5D", members=8, seed=1)  # doctest: +SKIP
    >>> ahead = past.appa.forecast(["24h", "48h"], obs=obs, members=8, seed=0)  # doctest: +SKIP
    """
    spec = request.loaded_model.spec
    if spec.window < 2:
        raise OptionError(
            f"forecast: the model {request.loaded_model.name!r} sees one state at once, and knows of no development in "
            "time; expected one with a window of 2 or more. ds.appa.sample and ds.appa.assimilate work with it"
        )
    leads = list_lead_steps(request.lead, spec)
    past, own = find_model_times(request.ds, spec, request.layout)
    # States of the Dataset count as far back as the next window looks.
    past = past if request.obs is not None else _select_recent(past, own, spec.window // 2)
    now = past[-1]
    trajectory = past[0] + spec.step * np.arange(len(past) + leads[-1])
    reports = None
    given: list[tuple[FixedState, da.Array]] = []
    if request.obs is None:
        given.append(encode_initial_states(request, trajectory, past))
    else:
        reports = prepare_observations(request, trajectory, request.obs, request.operator, until=now)
        given += encode_background(request, request.background, past)
    rolling = MODES[request.mode](len(past), spec)
    selection = len(past) - 1 + leads
    result = build_analysis(
        request, trajectory, selection, reports=reports, given=given, rolling=rolling, title="Forecast"
    )
    time = str(request.layout.time)
    ahead = (trajectory[selection] - now).astype("timedelta64[ns]")
    about = {"standard_name": "forecast_period", "long_name": "Time since the last state or observation"}
    result = result.assign_coords(lead_time=(time, ahead, about))
    return result.assign_attrs(xappa_forecast_from=str(now.astype("datetime64[s]")))


def _make_autoregressive(known: int, spec: StateSpec) -> Autoregressive:
    from xappa.sampling.spec import Autoregressive, compute_overlap, pad_times

    shared = compute_overlap(spec.window)
    first = len(pad_times(np.arange(known).astype("datetime64[s]"), spec.window, shared, np.timedelta64(1, "s")))
    return Autoregressive(first, shared)


def _use_single_block(known: int, spec: StateSpec) -> None:
    return None


MODES = {"autoregressive": _make_autoregressive, "all-at-once": _use_single_block}
"""Names that choose how a forecast goes beyond the first window."""


def list_lead_steps(lead: Any, spec: StateSpec) -> Array:
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
    leads = np.array([length_of("lead", value) for value in values])
    problems, hours = [], spec.step_hours
    for value, given in zip(values, leads, strict=True):
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
    if leads.max() > SKILL:
        warn(
            f"The longest lead is {leads.max() / np.timedelta64(1, 'D'):g} days; beyond some "
            f"{SKILL / np.timedelta64(1, 'D'):g} days a forecast is a sample of the model's climate"
        )
    counts = np.unique((leads / spec.step).astype(int))
    return counts if several else np.arange(1, int(counts[0]) + 1)


def _select_recent(trajectory: Array, own: Array, most: int) -> Array:
    """The last consecutive times of the Dataset, at most so many."""
    if not len(own):
        raise DatasetError("The Dataset has no time; expected one state at least to start from")
    gaps = np.flatnonzero(np.diff(own) > 1)
    first = own[gaps[-1] + 1] if len(gaps) else own[0]
    return trajectory[max(first, len(trajectory) - most) :]
