"""How fast a plan's evaluations are on its device, and how many steps its solver makes: a small run of two seconds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from xappa.diffusion.guidance import JacobianFree, SolverGuidance
from xappa.models.model import Model
from xappa.streaming.cost.evaluation import Stretch, denoiser, stretches, work
from xappa.streaming.cost.meter import Meter
from xappa.streaming.devices import wait
from xappa.streaming.plan import Plan

SECONDS = 2.0
"""What the small run may take, about."""
LONGEST = 4 * SECONDS
"""Where even one evaluation would take longer than that, none is made."""
LEVELS = 4
"""Noise levels of the small run; each comes after its neighbour, whose solution it starts from."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class Calibration:
    """What is known of a plan's evaluations.

    Parameters
    ----------
    levels : array (level,)
        Noise levels, downwards.
    iterations : array (level,)
        Steps of the guidance's solver in an evaluation there.
    rate : float
        Floating-point operations a second of a guided evaluation of one member.
    alone, batched : float
        Seconds a member of the unguided denoiser on a window: one member by itself, and a batch.
    setup : float
        Seconds before the first evaluation.
    timed : bool
        Whether evaluations were timed, and not one convolution.
    """

    levels: np.ndarray
    iterations: np.ndarray
    rate: float
    alone: float
    batched: float
    setup: float
    timed: bool

    def iterations_at(self, grid: np.ndarray) -> np.ndarray:
        """Steps of the solver at other noise levels, linear in their logarithm."""
        return np.interp(-np.log(grid), -np.log(self.levels), self.iterations)


def fullest(model: Model, plan: Plan) -> Stretch:
    """The stretch of a plan of which most is observed."""
    return max(stretches(model, plan), key=lambda stretch: (stretch.frames, stretch.reports))


def bare(model: Model, plan: Plan) -> tuple[Plan, Stretch]:
    """The plan without anything observed, and a window of it."""
    return replace(plan, stencil=None, given=()), Stretch(0, model.spec.window, 1, 0, 0)


def flop(model: Model, plan: Plan, stretch: Stretch, iterations: float) -> tuple[float, float]:
    """Operations of the first evaluation and of a later one, for one member; linear in the steps of the solver."""
    one = work(model, plan, stretch, 1, 1)
    if not isinstance(plan.guidance, SolverGuidance) or not stretch.reports:
        return one.first, one.flop
    two, more = work(model, plan, stretch, 1, 2), iterations - 1
    return one.first + more * (two.first - one.first), one.flop + more * (two.flop - one.flop)


def levels(model: Model, plan: Plan) -> np.ndarray:
    """Noise levels that a plan's sampler evaluates, downwards; several evaluations may share one."""
    grid = plan.sampler.grid(model.schedule)
    return grid.double().numpy()[: len(grid) if plan.sampler.final else -1]


def calibrate(model: Model, plan: Plan, together: int, clock: Clock) -> Calibration:
    """Time a few evaluations of a plan, of which `together` members would be sampled at once."""
    stretch, speed = fullest(model, plan), _speed(model)
    visited, counted = _visited(model, plan)
    known, most = visited[counted], _most(plan)
    count = np.full(len(known), most)
    once = replace(plan, guidance=_once(plan.guidance))
    plain, window = bare(model, plan)
    prior, single = flop(model, plain, window, 1)[1], flop(model, once, stretch, 1)[0]
    if max(prior, single) > LONGEST * speed:
        return Calibration(known, count, speed, prior / speed, prior / speed, 0.0, False)
    alone = _unguided(model, plain, window, 1, clock)
    batched = min(alone, _unguided(model, plain, window, together, clock)) if together > 1 else alone
    if not stretch.reports:
        return Calibration(known, count, prior / alone, alone, batched, 0.0, True)
    seconds, _, setup = _small_run(model, once, stretch, known[-1:], clock)
    rate = single / seconds
    if flop(model, plan, stretch, most)[1] * len(visited) <= LONGEST * rate:
        seconds, found, setup = _small_run(model, plan, stretch, visited, clock)
        first, later = zip(*(flop(model, plan, stretch, n) for n in found), strict=True)
        rate, count = (first[0] + sum(later[1:])) / seconds, found[counted]
    elif getattr(plan.guidance, "tolerance", None) is not None and model.static_prior:
        # The system with a static covariance is solved in about as many steps, and much sooner.
        count = _small_run(model, replace(plan, guidance=_static(plan.guidance)), stretch, visited, clock)[1][counted]
    return Calibration(known, count, rate, alone, batched, setup, True)


def _visited(model: Model, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """The noise levels of the small run, some at which the plan is guided and their neighbours; which of them count."""
    grid = levels(model, plan)
    guided = grid[grid <= getattr(plan.guidance, "below", math.inf)]
    grid = guided if len(guided) else grid
    chosen = np.unique(np.linspace(0, len(grid) - 1, min(LEVELS, len(grid))).round().astype(int))
    visited = np.unique(np.concatenate([chosen, np.maximum(chosen - 1, 0)]))
    return grid[visited], np.isin(visited, chosen)


def _most(plan: Plan) -> float:
    return float(plan.guidance.iterations) if isinstance(plan.guidance, SolverGuidance) else 1.0


def _once(guidance: object) -> object:
    """One step of the solver at every noise level."""
    if isinstance(guidance, SolverGuidance):
        return replace(guidance, iterations=1, tolerance=None, warm_start=False, below=math.inf)
    return guidance


def _static(guidance: SolverGuidance) -> JacobianFree:
    """The options of a solver, with a static covariance."""
    return JacobianFree(**{f.name: getattr(guidance, f.name) for f in fields(JacobianFree)})


def _small_run(
    model: Model, plan: Plan, stretch: Stretch, known: np.ndarray, clock: Clock
) -> tuple[float, np.ndarray, float]:
    """One member at a few noise levels, from high to low, each solution the start of the next.

    Seconds of all, steps of the solver at each, and seconds before the first.
    """
    begin = clock()
    guided = denoiser(model, plan, stretch, (0,))
    setup = clock() - begin
    generator = torch.Generator().manual_seed(0)
    shape = (1, stretch.length, *model.latent_shape)
    # One noise for all levels, as samplers without noise of their own have: solutions then change little.
    noise = torch.randn(shape, generator=generator).to(model.device)
    x, seconds = torch.zeros(shape, device=model.device), 0.0
    for sigma in known:
        x_t = x + float(sigma) * noise
        begin = clock()
        with torch.no_grad():
            x = guided(x_t, torch.tensor(sigma, dtype=torch.float32, device=model.device))
        wait(model.device)
        seconds += clock() - begin
    found = getattr(guided, "iterations", [])
    return seconds, np.array([float(n.double().mean()) for n in found] or [1.0] * len(known)), setup


def _unguided(model: Model, plain: Plan, window: Stretch, members: int, clock: Clock) -> float:
    """Seconds a member of the denoiser of one window alone; the first call, which is slower, is not counted."""
    prior = denoiser(model, plain, window, tuple(range(members)))
    x = torch.zeros((members, window.length, *model.latent_shape), device=model.device)
    seconds = []
    for _ in range(3):
        begin = clock()
        with torch.no_grad():
            prior(x, torch.ones((), device=model.device))
        wait(model.device)
        seconds.append(clock() - begin)
    return min(seconds[1:]) / members


def _speed(model: Model) -> float:
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
        wait(model.device)
        best = max(best, meter.flop / (time.perf_counter() - begin))
    return best
