"""Cost of one evaluation of the denoiser of a SamplingSpec, measured without computing it."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from xappa._typing import Denoise
from xappa.background import WarmStart
from xappa.diffusion.composition import TrajectoryDenoiser
from xappa.diffusion.guidance import Guidance, SolverGuidance
from xappa.diffusion.guidance.solver import REWEIGHTED, SolvingDenoiser
from xappa.model.protocol import GenerativeModel
from xappa.operators.composite import CompositeOperator
from xappa.operators.sparse import SparseOperator
from xappa.sampling.background_terms import make_context_term
from xappa.sampling.meter import Meter, RepeatedWork, Work, count_with_meter, measure_repeated, measure_work
from xappa.sampling.spec import ContinueFrom, FixedState, SamplingSpec
from xappa.sampling.trajectory import TrajectorySampler, list_window_starts
from xappa.tokens import tokenize as token_of

SIGMA = 0.5
"""Noise level of evaluations that are only metered: any does, as long as guidance acts at it."""
METERED = 2
"""Steps of the solver that are metered; what more of them keep is known. Probes: more of them keep no more."""
REMEMBERED = 256
"""Evaluations whose operations are remembered."""
_KNOWN: OrderedDict[Hashable, RepeatedWork] = OrderedDict()
LARGE = 2**30
"""Bytes of a decoded state's graph above which nothing is done only to be metered."""
ADDITIVE = ("flop", "first", "step")
"""Costs proportional to the number of decoded states; the peak is so only beyond those decoded at once."""


@dataclass(frozen=True)
class Stretch:
    """Times that are denoised at once: one window, or a trajectory of several.

    Parameters
    ----------
    start, length : int
        Indices of its times along the trajectory.
    windows : int
        Windows of the model in it.
    frames : int
        Times whose states are decoded.
    reports : int
        Rows of the linear system: reports, and the numbers of each fixed latent state.
    """

    start: int
    length: int
    windows: int
    frames: int
    reports: int


def list_stretches(model: GenerativeModel, sampling: SamplingSpec) -> list[Stretch]:
    """Parts of the denoiser, each with all of its times at once."""
    window, length = model.spec.window, len(sampling.times)
    values = int(np.prod(model.latent_shape))
    starts = list_window_starts(length, window)
    whole = len(starts) > 1 and getattr(sampling.guidance, "scope", "window") == "trajectory"
    cuts = [(0, length, len(starts))] if whole else [(start, window, 1) for start in starts]
    found = []
    counts = [(0, 0)] * len(cuts) if sampling.observations is None else _count_reports(sampling.observations, cuts)
    for (start, size, windows), (reports, frames) in zip(cuts, counts, strict=True):
        held = [
            frame
            for given in list_latent_observations(sampling)
            for frame in given.frames
            if start <= frame < start + size
        ]
        found.append(Stretch(start, size, windows, frames, reports + values * len(held)))
    return found


def _count_reports(
    observations: SparseOperator | CompositeOperator, cuts: Sequence[tuple[int, int, int]]
) -> list[tuple[int, int]]:
    """Reports that read nothing outside each stretch, and times that they read."""
    if not isinstance(observations, SparseOperator) or not len(observations):
        parts = [observations.select_window(start, size) for start, size, _ in cuts]
        return [(len(part), len(part.frames) if len(part) else 0) for part in parts]
    kinds = observations.by_span
    found = []
    for start, size, _ in cuts:
        inside = (kinds.first >= start) & (kinds.last < start + size)
        found.append((int(kinds.number[inside].sum()), int(kinds.read[inside].any(axis=0).sum())))
    return found


def select_most_observed(model: GenerativeModel, sampling: SamplingSpec) -> Stretch:
    """The stretch with the most reports."""
    return max(list_stretches(model, sampling), key=lambda stretch: (stretch.frames, stretch.reports))


def list_latent_observations(sampling: SamplingSpec) -> list[FixedState]:
    """The given states that are observations of the latents."""
    return [given for given in sampling.fixed_states if not isinstance(given.use, WarmStart)]


def split_into_joint_plans(model: GenerativeModel, sampling: SamplingSpec) -> list[tuple[SamplingSpec, int]]:
    """Plans that are sampled at once, which a rolling one is made of, and how many there are of each."""
    if sampling.autoregressive is None:
        return [(sampling, 1)]
    window, rolling = model.spec.window, sampling.autoregressive
    first = replace(sampling, times=sampling.times[: rolling.first], autoregressive=None)
    more = (len(sampling.times) - rolling.first) // (window - rolling.context)
    after = FixedState(tuple(range(rolling.context)), ContinueFrom(), "")
    later = replace(
        sampling, times=sampling.times[:window], observations=None, fixed_states=(after,), autoregressive=None
    )
    return [(first, 1), (later, more)] if more else [(first, 1)]


def with_iterations(guidance: Guidance | None, iterations: int) -> Guidance | None:
    """The guidance with so many steps of its solver at every noise level, where it has one."""
    if isinstance(guidance, SolverGuidance):
        return replace(guidance, iterations=iterations, tolerance=None, below=math.inf)
    return guidance


def measure_evaluation(
    model: GenerativeModel, sampling: SamplingSpec, stretch: Stretch, members: int, iterations: float = 1
) -> RepeatedWork:
    """Cost of an evaluation of a stretch, by the numbers of members and of solver steps."""
    alike = _make_key(model, sampling, stretch, members, ("alike", *_make_operator_key(sampling, stretch)))
    if alike not in _KNOWN:
        _KNOWN[alike] = _measure_cached(model, sampling, stretch, members, True)
    found = _KNOWN[alike]
    more = (iterations - 1) * found.step
    return replace(found, flop=found.flop + more, first=found.first + more)


def measure_peak_memory(model: GenerativeModel, sampling: SamplingSpec, stretch: Stretch, members: int) -> float:
    """Bytes at the fullest, with `METERED` steps of the solver; found sooner than operations are."""
    whole = _make_key(model, sampling, stretch, members, (True, stretch.reports)) in _KNOWN
    return _measure_cached(model, sampling, stretch, members, whole).peak


def _make_key(
    model: GenerativeModel, sampling: SamplingSpec, stretch: Stretch, members: int, about: Hashable
) -> Hashable:
    return (
        model.digest, model.precision, model.graph_budget, stretch.length, stretch.frames,
        token_of(with_iterations(sampling.guidance, 1)), members, about,
    )  # fmt: skip


def _make_operator_key(sampling: SamplingSpec, stretch: Stretch) -> tuple:
    """What else the operations depend on: the number of reports plays no part where all that is read is linear."""
    if not isinstance(sampling.observations, SparseOperator) or sampling.correlation is not None:
        return (stretch.reports, sampling.correlation is not None)
    return ("linear", stretch.reports - len(sampling.observations.select_window(stretch.start, stretch.length)))


def _measure_cached(
    model: GenerativeModel, sampling: SamplingSpec, stretch: Stretch, members: int, whole: bool
) -> RepeatedWork:
    key = _make_key(model, sampling, stretch, members, (whole, stretch.reports))
    if key not in _KNOWN:
        _KNOWN[key] = _measure_operations(model, sampling, stretch, members, whole)
        while len(_KNOWN) > REMEMBERED:
            _KNOWN.popitem(last=False)
    return _KNOWN[key]


def _measure_operations(
    model: GenerativeModel, sampling: SamplingSpec, stretch: Stretch, members: int, whole: bool
) -> RepeatedWork:
    few = model.states_per_batch // members + 1
    if stretch.frames > few + 1:
        # More states than are decoded at once: each takes as much as any.
        parts = [with_fewer(sampling, stretch, count) for count in (few, few + 1)]
        frames = [fewer.frames for _, fewer in parts]
        if few <= frames[0] < frames[1]:
            one, more = (_meter_evaluation(model, own, fewer, members, whole) for own, fewer in parts)
            share = (stretch.frames - frames[0]) / (frames[1] - frames[0])
            grown = {f: getattr(one, f) + share * (getattr(more, f) - getattr(one, f)) for f in ADDITIVE}
            return RepeatedWork(peak=one.peak + share * max(more.peak - one.peak, 0.0), **grown)
    return _meter_evaluation(model, sampling, stretch, members, whole)


def with_fewer(sampling: SamplingSpec, stretch: Stretch, count: int) -> tuple[SamplingSpec, Stretch]:
    """Copy with only the reports of a stretch's first times, or of the first period that ends in it."""
    rows = sampling.observations
    if rows is None or not stretch.frames:
        return sampling, stretch
    all_of_it = rows.select_window(stretch.start, stretch.length)
    first_times, last_times = rows.compute_spans()
    inside = (first_times >= stretch.start) & (last_times < stretch.start + stretch.length)
    last = stretch.start + int(all_of_it.frames[min(count, stretch.frames) - 1])
    last = max(last, int(last_times[inside].min()))
    chosen = rows.select(np.flatnonzero(inside & (last_times <= last)))
    own = replace(sampling, observations=chosen)
    fewer = chosen.select_window(stretch.start, stretch.length)
    reports = stretch.reports - len(all_of_it) + len(fewer)
    return own, replace(stretch, frames=len(fewer.frames), reports=reports)


def _meter_evaluation(
    model: GenerativeModel, sampling: SamplingSpec, stretch: Stretch, members: int, whole: bool
) -> RepeatedWork:
    """All of it; or, unless `whole`, only the peak of an evaluation with `METERED` steps, which is found sooner."""
    shape = (members, stretch.length, *model.latent_shape)

    def functions() -> list[Callable[[], None]]:
        """The evaluation, and one with another step of the solver, where it has one."""
        denoise = build_denoiser(model, sampling, stretch, tuple(range(members)), 1 if whole else METERED)
        if not whole:
            limit_probes(denoise, METERED)

        def evaluate() -> None:
            x, sigma = torch.randn(shape, device=model.device), torch.tensor(SIGMA)
            with torch.no_grad():
                denoise(x, sigma)

        def longer() -> None:
            set_solver_steps(denoise, METERED)
            evaluate()

        return [evaluate, longer] if isinstance(denoise, SolvingDenoiser) else [evaluate]

    try:
        return measure_repeated(*functions()) if whole else RepeatedWork(0.0, measure_work(functions()[0]).peak, 0.0)
    except RuntimeError:
        # What it does depends on values: do it, where that is possible.
        if model.graph_bytes > LARGE:
            raise
        with Meter() as meter:
            return count_with_meter(meter, *functions())


def set_solver_steps(denoise: Denoise, count: int) -> None:
    """Let a denoiser's solver make so many steps from now on, where it has one."""
    if isinstance(denoise, SolvingDenoiser):
        denoise.options = replace(denoise.options, iterations=count)


def limit_probes(denoise: Denoise, most: int) -> None:
    """Let a denoiser's solver find its units from no more probes: 0 leaves the system in the units that it has."""
    if isinstance(denoise, SolvingDenoiser):
        denoise.options = replace(denoise.options, probes=min(denoise.options.probes, most))


def build_denoiser(
    model: GenerativeModel,
    sampling: SamplingSpec,
    stretch: Stretch,
    members: tuple[int, ...],
    iterations: int | None = None,
    states: Tensor | None = None,
) -> Denoise:
    """The denoiser of a stretch, guided where it is observed.

    Parameters
    ----------
    model : GenerativeModel
    sampling : SamplingSpec
    stretch : Stretch
    members : tuple of int
    iterations : int, optional
        Steps of the solver at every noise level; default those of the guidance.
    states : Tensor, (1, time, *latent), optional
        Placeholder for the fixed states, at all times of the trajectory; default zeros.
    """
    if iterations is not None:
        sampling = replace(sampling, guidance=with_iterations(sampling.guidance, iterations))
    if states is None:
        states = torch.zeros((1, len(sampling.times), *model.latent_shape), device=model.device)
    held = [
        make_context_term(states[:, list(given.frames)], given.frames) for given in list_latent_observations(sampling)
    ]
    last = stretch.start + stretch.length
    part, guided = TrajectorySampler(model, sampling, members, None).build_denoiser(stretch.start, last, held, True)
    return guided[0] if len(guided) == 1 else without_finite_check(part)


def without_finite_check(denoise: Denoise) -> Denoise:
    """Without the check of its result, which needs values."""
    if isinstance(denoise, TrajectoryDenoiser):
        parts = [getattr(part, "denoiser", part) for part in denoise.windows]
        return TrajectoryDenoiser(parts, denoise.window, denoise.overlap, denoise.stitching)
    return getattr(denoise, "denoiser", denoise)


def count_solves(sampling: SamplingSpec) -> int:
    """Systems that are solved in one evaluation."""
    return 1 if getattr(sampling.guidance, "huber", None) is None else 1 + REWEIGHTED


def measure_decoding(model: GenerativeModel) -> Work:
    """Cost of decoding one state."""

    def decode() -> None:
        with torch.no_grad():
            model.decode(torch.zeros(1, 1, *model.latent_shape, device=model.device), np.zeros(1, "M8[s]"))

    return measure_work(decode)
