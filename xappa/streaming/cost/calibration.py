"""Speed of evaluations on a device, from the times of a few."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from xappa.devices import synchronise, trim_host_memory
from xappa.diffusion.guidance import SolverGuidance
from xappa.model.protocol import GenerativeModel
from xappa.sampling.evaluation_cost import (
    Denoise,
    Stretch,
    build_denoiser,
    limit_probes,
    measure_evaluation,
    select_most_observed,
    with_fewer,
)
from xappa.sampling.meter import Meter
from xappa.sampling.spec import SamplingSpec

LONGEST = 8.0
"""Seconds; where even one evaluation would take longer, none is made."""
LONG = 0.6
"""Seconds of an evaluation, above which it is one of fewer times."""
BRIEF = 0.25
"""Seconds of an evaluation, about, of which the steps can be chosen."""
LEAST = 0.05
"""Share of a guided evaluation that guidance takes at least, as clocks see it."""
CALLS = 4
"""Evaluations that are timed, at most."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class EvaluationSpeed:
    """Speed of evaluations.

    Parameters
    ----------
    rate : float
        Floating-point operations a second of what guidance adds to an evaluation, of one member; infinite where it
        adds none; where nothing is observed, of the denoiser, and where nothing was timed, of a convolution.
    batched : float
        Seconds a member of the unguided denoiser on a window, in a batch.
    setup : float
        Seconds before the first evaluation.
    timed : bool
        Whether evaluations were timed, and not one convolution.
    """

    rate: float
    batched: float
    setup: float
    timed: bool


def without_observations(model: GenerativeModel, sampling: SamplingSpec) -> tuple[SamplingSpec, Stretch]:
    """The SamplingSpec without observations, and one window of it."""
    return replace(sampling, observations=None, fixed_states=()), Stretch(0, model.spec.window, 1, 0, 0)


def list_noise_levels(model: GenerativeModel, sampling: SamplingSpec) -> np.ndarray:
    """Noise levels that the sampler evaluates, descending; several evaluations may share one."""
    noise_levels = sampling.sampler.compute_noise_levels(model.schedule)
    return noise_levels.double().numpy()[: len(noise_levels) if sampling.sampler.final else -1]


def measure_speed(model: GenerativeModel, sampling: SamplingSpec, together: int, clock: Clock) -> EvaluationSpeed:
    """Time a few evaluations, for `together` members that would be sampled at once."""
    stretch, speed = select_most_observed(model, sampling), _measure_device_speed(model)
    plain, window = without_observations(model, sampling)
    prior, one = measure_evaluation(model, plain, window, 1).flop, measure_evaluation(model, sampling, stretch, 1)
    if max(prior, one.flop) > LONGEST * speed:
        return EvaluationSpeed(speed, prior / speed, 0.0, False)
    alone = _time_unguided(model, plain, window, 1, clock)
    batched = min(alone, _time_unguided(model, plain, window, together, clock)) if together > 1 else alone
    if not stretch.reports:
        return EvaluationSpeed(prior / alone, batched, 0.0, True)
    begin = clock()
    guided = build_denoiser(model, sampling, stretch, (0,))
    setup = clock() - begin
    if isinstance(sampling.guidance, SolverGuidance):
        made, seconds = _time_solver_evaluation(model, sampling, stretch, speed, clock)
    else:
        made, seconds = _time_mean_evaluation(model, sampling, stretch, guided, clock)
    # What is left of it without the networks of the prior.
    made, own = made - prior * stretch.windows, max(seconds - alone * stretch.windows, LEAST * seconds)
    return EvaluationSpeed(made / own if made > 0 else math.inf, batched, setup, True)


def _time_solver_evaluation(
    model: GenerativeModel, sampling: SamplingSpec, stretch: Stretch, speed: float, clock: Clock
) -> tuple[float, float]:
    """Operations and seconds of an evaluation that solves a system in the units that it has; one before it warms up."""
    one, sigma = measure_evaluation(model, sampling, stretch, 1), _choose_middle_level(model, sampling)
    seconds = one.flop / speed
    whole = seconds <= LONG
    if not whole:
        sampling, stretch = with_fewer(sampling, stretch, max(int(stretch.frames * LONG / seconds), 1))
    more = max(BRIEF * speed - one.flop, 0.0) / one.step
    count = int(min(1 + more, sampling.guidance.iterations))

    def evaluate(steps: int) -> None:
        guided = build_denoiser(model, sampling, stretch, (0,), steps)
        limit_probes(guided, 0)
        _evaluate(model, stretch, guided, sigma)

    # The first one takes longer. Operations are known, unless it is one of fewer times: then it counts them.
    flop = one.flop + (count - 1) * one.step
    if whole:
        evaluate(1)
    else:
        with Meter() as meter:
            evaluate(count)
        flop = meter.flop
    begin = clock()
    evaluate(count)
    return flop, clock() - begin


def _time_mean_evaluation(
    model: GenerativeModel, sampling: SamplingSpec, stretch: Stretch, guided: Denoise, clock: Clock
) -> tuple[float, float]:
    """Operations and seconds of an evaluation, the mean over some noise levels, which they may depend on."""

    def timed(sigma: float) -> float:
        begin = clock()
        _evaluate(model, stretch, guided, sigma)
        return clock() - begin

    one, grid = measure_evaluation(model, sampling, stretch, 1), list_noise_levels(model, sampling)
    first = timed(_choose_middle_level(model, sampling))
    if first > BRIEF:
        return one.first, first
    some = grid[np.linspace(0, len(grid) - 1, min(CALLS, len(grid))).astype(int)]
    return one.flop, sum(timed(float(sigma)) for sigma in some) / len(some)


def _choose_middle_level(model: GenerativeModel, sampling: SamplingSpec) -> float:
    grid = list_noise_levels(model, sampling)
    return float(grid[len(grid) // 2])


def _evaluate(model: GenerativeModel, stretch: Stretch, guided: Denoise, sigma: float) -> None:
    x = torch.randn((1, stretch.length, *model.latent_shape), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        guided((sigma * x).to(model.device), torch.tensor(sigma, dtype=torch.float32, device=model.device))
    synchronise(model.device)


def _time_unguided(model: GenerativeModel, plain: SamplingSpec, window: Stretch, members: int, clock: Clock) -> float:
    """Seconds a member of the denoiser of one window alone; the first call, which is slower, is not counted."""
    prior = build_denoiser(model, plain, window, tuple(range(members)))
    x = torch.zeros((members, window.length, *model.latent_shape), device=model.device)
    seconds = []
    for _ in range(2):
        begin = clock()
        with torch.no_grad():
            prior(x, torch.ones((), device=model.device))
        synchronise(model.device)
        trim_host_memory()  # as a run does, and memory that was given back is slower the next time
        seconds.append(clock() - begin)
    return seconds[-1] / members


def _measure_device_speed(model: GenerativeModel) -> float:
    """Floating-point operations a second of a convolution on the device."""
    x = torch.ones(1, 128, 64, 64, device=model.device)
    weight = torch.ones(128, 128, 3, 3, device=model.device)
    with Meter() as meter, torch.no_grad():
        torch.nn.functional.conv2d(x, weight, padding=1)
    best = 0.0
    for _ in range(3):
        begin = time.perf_counter()
        with torch.no_grad():
            torch.nn.functional.conv2d(x, weight, padding=1)
        synchronise(model.device)
        best = max(best, meter.flop / (time.perf_counter() - begin))
    return best
