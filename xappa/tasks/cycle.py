"""Cycling: forecast and analysis by turns, over weeks."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import xarray as xr

from xappa._files import replace_atomically, write_text
from xappa._typing import Array
from xappa.background import LatentObservation, drop_fields, parse_timedelta
from xappa.errors import DatasetError, NoReportsError, OptionError
from xappa.grids.axes import format_time
from xappa.observations import read_observations
from xappa.observations.errors.defaults import DEFAULT_ERRORS
from xappa.observations.qc import choose_quality
from xappa.observations.user_variables import user_defined_names
from xappa.operators import choose_operator
from xappa.options import get_options
from xappa.signatures import select_fields, with_parameters_of
from xappa.state import OutputSelection, check_units, find_model_times, get_surface_height, to_dataset, with_pairs
from xappa.state.area import GridSubset
from xappa.streaming.store.zarr import to_zarr
from xappa.tasks.backgrounds import encode_background
from xappa.tasks.forecast import forecast
from xappa.tasks.innovations import compute_innovations
from xappa.tasks.lazy_observations import LazyObservations, is_lazy
from xappa.tasks.observed import prepare_observations
from xappa.tasks.pipeline import Observations
from xappa.tasks.posterior import build_analysis
from xappa.tasks.request import AnalysisRequest, ObservingRequest
from xappa.tasks.template import template
from xappa.tokens import tokenize
from xappa.vocabulary import PAIR

if TYPE_CHECKING:
    from xappa.observations.read import Source
    from xappa.operators.sources import Choice

PLAN = "cycle.json"
ANALYSIS, FORECAST = 0, 1


@dataclass(frozen=True)
class CycleResult:
    """What cycling has made.

    Parameters
    ----------
    analysis : Dataset
        (member, time, [level,] latitude, longitude), written as the Dataset that was cycled over: of each step the
        times that it is the first to reach; lazy, from the store, which holds all of the model's variables under its
        own names.
    innovations : Dataset
        By ``step`` (the last time of each) and ``variable``: see `xappa.tasks.innovations.compute_innovations`. The
        background
        is read as the analysis is, by the same operator and with the same height of the surface.
    """

    analysis: xr.Dataset
    innovations: xr.Dataset


@dataclass(frozen=True, eq=False)
class CycleRequest(ObservingRequest):
    """Forecasts and analyses by turns.

    Parameters
    ----------
    ds : Dataset
        Its times, a whole number of steps, are cycled over; its variables and levels are kept, in its names, units and
        order. Its values are not used, but for the height of its surface. As in `assimilate`, operators are given its
        names and units.
    obs : Dataset, DataFrame or path of a file; or a dict or list of these
        As for `assimilate`.
    operator : str, operator, function, or dict of these, optional
        As for `assimilate`.
    store : path
        Folder for the steps; made if it is not there.
    window : str or timedelta, default "24h"
        Length of an analysis window.
    step : str or timedelta, optional
        From the end of one window to that of the next; a divisor of `window`. Default: `window`.
    background : LatentObservation, optional
        How forecasts enter; its fields play no part. Default: covariance of the ensemble, from 4 members on.
    members : int or iterable of int, default 8
        Number of members, or the member numbers.
    seed : int, default 0
        Noise is a function of (seed, step, member, time).
    """

    obs: Source
    operator: Choice | Mapping[str, Choice] | None = None
    _: KW_ONLY
    store: str | Path
    window: Any = "24h"
    step: Any = None
    background: LatentObservation | None = None
    members: int | Iterable[int] = 8
    seed: int = 0

    def validate(self) -> None:
        """Refuse options that are not valid."""
        if self.background is not None and not isinstance(self.background, LatentObservation):
            raise OptionError(
                f"background={self.background!r}; expected an object xappa.background.LatentObservation, or None"
            )
        super().validate()


@with_parameters_of(CycleRequest)
def cycle(request: CycleRequest) -> CycleResult:
    """Forecast and analysis by turns: each window's background is a forecast from an analysis that saw none of it.

    The analysis of the window that ends at T has as background, at its first time, the forecast of the analysis that
    ended where the window begins. With ``step`` less than `window`, analyses are made more often than windows are long;
    the forecasts then reach back over several steps, so that no report is used twice in what one analysis knows. The
    first windows, before which there is no analysis, have no background. A window without a usable report has the
    forecast as its analysis; before there is one, free samples.

    Runs at once, a step at a time; each is written to `store` whole or not at all. A call with the same arguments goes
    on where the last one stopped, in another process too; functions are the same if they do the same.

    Returns
    -------
    Cycled
        ``analysis`` and ``innovations``.

    Raises
    ------
    OptionError
        If window, step and the model's step do not fit, or `store` holds a cycle of other arguments.
    ObservationError
        If the observations cannot be used, as of `assimilate`, or no window has a usable report.

    Examples
    --------
    >>> month = xappa.template("2018-11-01T06", "2018-12-01T00")  # doctest: +SKIP
    >>> cycled = xappa.cycle(month, obs, window="24h", store="november")  # doctest: +SKIP
    >>> cycled.innovations["mean"].sel(variable="2m_temperature").plot()  # doctest: +SKIP
    """
    spec = request.loaded_model.spec
    check_units(request.ds, spec, request.layout)
    trajectory, _ = find_model_times(request.ds, spec, request.layout)
    length, stride = _count_model_steps(request.window, request.step, spec.step, len(trajectory))
    unknown = "keep" if choose_operator(request.operator).whole_state else user_defined_names(request.error)
    obs = request.obs if is_lazy(request.obs) else read_observations(request.obs, unknown=unknown).compute()
    use = request.background or LatentObservation()
    options = select_fields(request, ObservingRequest)
    for name in ("ds", "seed", "drop_unknown", "error", "quality"):
        del options[name]
    height = get_surface_height(request.ds, spec, request.layout)
    about = {
        "model": request.loaded_model.digest, "members": list(request.member_numbers),
        "seed": request.chosen_seed, "window": length,
        "step": stride, "Dataset": tokenize([request.output, repr(request.layout), height]),
        "options": _tokenise_options(request, use), "operator": tokenize(choose_operator(request.operator)),
        "error": tokenize(DEFAULT_ERRORS if request.error is None else request.error),
        "quality": tokenize(choose_quality(request.quality)), "observations": dask.base.tokenize(obs),
        "first": format_time(trajectory[0]),
    }  # fmt: skip
    windows = [(max(0, end - length), end) for end in range(stride, len(trajectory) + 1, stride)]
    folder = Path(request.store)

    already_warned: set[str] = set()

    def reports_of(times: Array) -> Observations | LazyObservations:
        # The user's own Dataset says what operators see, and how high the surface is.
        return prepare_observations(request, times, obs, request.operator, already_warned=already_warned)

    if not _has_begun(folder, about):
        covered = [trajectory[first:end] for first, end in windows]
        _require_reports(covered, spec.step, np.asarray(obs["time"].values).astype("M8[s]"), reports_of)
        _begin(folder, about)
    whole = template(trajectory[0], trajectory[-1], request.model)
    for number, (first, end) in enumerate(windows):
        if _is_complete(folder, number):
            continue
        past = reports = None
        if end - length >= stride:
            before = xr.open_zarr(_make_step_path(folder, (end - length) // stride - 1), consolidated=False)
            ahead = [f"{k * spec.step_hours}h" for k in range(1, length + 1)]
            past = forecast(before, ahead, **options, seed=_derive_seed(request, number, FORECAST))
            past = past.compute()
        with contextlib.suppress(NoReportsError):
            reports = reports_of(trajectory[first:end])
        seed = _derive_seed(request, number, ANALYSIS)
        part = AnalysisRequest(whole.isel(time=slice(first, end)), **options, seed=seed)
        _write(folder, number, *_analyse_window(part, reports, past, use))
    return _read(folder, len(windows), stride, request)


def _require_reports(windows: Sequence[Array], step: np.timedelta64, when: Array, read: Callable[[Array], Any]) -> None:
    """Refuse observations that no window can use, and what is wrong with all of them, before anything is sampled.

    Parameters
    ----------
    windows : sequence of array of datetime64
        Times of each.
    step : timedelta64
        Of the model.
    when : array of datetime64, (obs,)
        Times of the reports.
    read : callable
        Reads the reports of a window.

    Raises
    ------
    NoReportsError
        Quoting what is said of the first window that has any report.
    """
    reported = [window for window in windows if ((when > window[0] - step) & (when < window[-1] + step)).any()]
    reason = ""
    for window in reported or windows[:1]:
        try:
            read(window)
            return
        except NoReportsError as error:
            reason = reason or f"from {format_time(window[0])} to {format_time(window[-1])}: {error}"
    raise NoReportsError(f"No window of the cycle has a usable report. The first, {reason}")


def _analyse_window(
    window: AnalysisRequest,
    reports: Observations | LazyObservations | None,
    past: xr.Dataset | None,
    use: LatentObservation,
) -> tuple[xr.Dataset, xr.Dataset]:
    """The analysis of a window, lazy, and the innovations of its background."""
    trajectory, selection = find_model_times(window.ds, window.loaded_model.spec, window.layout)
    if reports is None:
        analysis = build_analysis(window, trajectory, selection, title="Free samples") if past is None else past
        return analysis, xr.Dataset()
    given = encode_background(window, None if past is None else replace(use, fields=past), trajectory)
    analysis = build_analysis(window, trajectory, selection, reports=reports, given=given)
    reading = None if past is None else reports.stencil
    if past is None or reading is None:
        return analysis, xr.Dataset()
    return analysis, compute_innovations(past, reading, window.loaded_model.spec)


def _write(folder: Path, number: int, analysis: xr.Dataset, found: xr.Dataset) -> None:
    """One step: its innovations, then its analysis, which makes it whole."""
    with replace_atomically(folder / f"{_make_step_path(folder, number).stem}.innovations.nc") as part:
        found.to_netcdf(part)
    # An unfinished store has its name already; here a name says that the step is whole.
    unfinished = folder / f"unfinished-{number:05d}.zarr"
    to_zarr(analysis, unfinished, overwrite=True)
    unfinished.replace(_make_step_path(folder, number))


def _count_model_steps(window: Any, step: Any, model_step: np.timedelta64, times: int) -> tuple[int, int]:
    """Window and step in steps of the model."""
    length = parse_timedelta("window", window)
    stride = length if step is None else parse_timedelta("step", step)
    hours = int(model_step / np.timedelta64(1, "h"))
    problems = [
        f"{name}={value!r}: expected a multiple of the model's {hours} h, above 0"
        for name, value, own in (("window", window, length), ("step", step, stride))
        if own <= np.timedelta64(0, "s") or own % model_step != np.timedelta64(0, "s")
    ]
    if not problems and length % stride != np.timedelta64(0, "s"):
        problems.append(f"window={window!r} is no multiple of step={step!r}: reports would be used twice")
    if not problems and times % int(stride / model_step):
        count = int(stride / model_step)
        problems.append(
            f"the Dataset has {times} times of the model, expected a multiple of {count}, those of a step: "
            f"{times // count * count} or {(times // count + 1) * count}"
        )
    if problems:
        raise OptionError("; ".join(problems))
    return int(length / model_step), int(stride / model_step)


def _tokenise_options(request: CycleRequest, use: LatentObservation) -> str:
    """Token of how states are sampled and decoded, with what the session's options have to do with it."""
    session = get_options()
    decoding = [session.dress, session.clip, request.loaded_model.precision]
    return tokenize([request.chosen_guidance, request.chosen_sampler, drop_fields(use), *decoding])


def _derive_seed(request: CycleRequest, number: int, kind: int) -> int:
    """Noise of a forecast and of the analysis that it is the background of must not be the same."""
    entropy = np.random.SeedSequence([request.chosen_seed, number, kind])
    return int(entropy.generate_state(1, np.uint64)[0] >> np.uint64(1))


def _make_step_path(folder: Path, number: int) -> Path:
    return folder / f"step-{number:05d}.zarr"


def _is_complete(folder: Path, number: int) -> bool:
    return _make_step_path(folder, number).exists()


def _has_begun(folder: Path, about: dict[str, Any]) -> bool:
    """Whether the folder holds this cycle; otherwise it must be new."""
    plan = folder / PLAN
    if plan.exists():
        found = json.loads(plan.read_text())
        differing = [key for key in about if found.get(key) != about[key]]
        if differing:
            raise OptionError(
                f"{folder} holds a cycle with other {', '.join(differing)}; expected the same arguments, or another "
                "store"
            )
        return True
    if folder.exists() and any(folder.iterdir()):
        raise OptionError(f"{folder} is there and holds no cycle; expected a new or empty folder")
    return False


def _begin(folder: Path, about: dict[str, Any]) -> None:
    write_text(folder / PLAN, json.dumps(about, indent=1))


def _read(folder: Path, count: int, stride: int, request: CycleRequest) -> CycleResult:
    """All steps, each with the times that it is the first to reach."""
    parts, found, ends = [], [], []
    for number in range(count):
        step = xr.open_zarr(_make_step_path(folder, number), consolidated=False).isel(time=slice(-stride, None))
        step = step.drop_vars("lead_time", errors="ignore")
        parts.append(step.drop_attrs(deep=False))
        statistics = xr.open_dataset(folder / f"{_make_step_path(folder, number).stem}.innovations.nc").load()
        if "variable" in statistics.dims:
            found.append(statistics)
            ends.append(step["time"].values[-1])
    analysis = xr.concat(parts, "time", join="exact", coords="minimal", compat="override", data_vars="minimal")
    analysis = _select_requested(analysis, request)
    if not found:
        return CycleResult(analysis, xr.Dataset(coords={"step": np.array([], "M8[s]")}))
    joined = xr.concat(found, "step", join="outer", coords="minimal", compat="override")
    return CycleResult(analysis, joined.assign_coords(step=np.array(ends)))


def _select_requested(analysis: xr.Dataset, request: CycleRequest) -> xr.Dataset:
    """The variables and levels that were asked for, as the user's Dataset is written; lazy."""
    spec, output = request.loaded_model.spec, request.output
    lacking = [name for name in output.variables if name not in analysis]
    if lacking:
        raise DatasetError(f"The store lacks {lacking}; expected what cycling writes: use another store")
    attrs = {
        "title": "Cycled analysis sampled by xappa",
        "xappa_model": request.loaded_model.name,
        "xappa_seed": request.chosen_seed,
    }
    times, members, parts = analysis["time"].values, analysis["member"].values, []
    area = GridSubset.covering(request.layout, spec)
    # One by one, so that only what is computed is read.
    for name in output.variables:
        levels = spec.levels_of(name)
        field = analysis[name].sel(level=list(levels)) if levels else analysis[name].expand_dims("level")
        alone = replace(spec, channels=tuple(channel for channel in spec.channels if channel[0] == name))
        states = field.transpose("member", "time", "level", "latitude", "longitude").data
        wanted = OutputSelection((name,), output.levels)
        parts.append(to_dataset(states, alone, times, members, request.layout, wanted, attrs, area))
    result = xr.merge(parts, join="exact", compat="override", combine_attrs="override")
    return with_pairs(result, request.layout) if PAIR in analysis.coords else result
