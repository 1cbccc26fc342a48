"""What a run will take, before it runs: counted from its networks, and timed for two seconds on its device."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from dask.delayed import Delayed

from xappa.diffusion.guidance import SolverGuidance
from xappa.models.model import Model
from xappa.streaming.budget import divide, need, weights
from xappa.streaming.devices import lock
from xappa.streaming.evaluation import Stretch, decoding, denoiser, pieces, stretches, work
from xappa.streaming.lazy import Run
from xappa.streaming.meter import Meter
from xappa.streaming.plan import Plan
from xappa.streaming.sampling import decode, model_of

SECONDS = 2.0
"""What timing may take, about."""
LEVELS = 4
"""Noise levels of the small run that is timed."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class Prediction:
    """Totals of a run.

    Parameters
    ----------
    windows : int
        Windows of the model that members are sampled in, over all segments.
    evaluations : int
        Calls of the denoiser, over all windows and members.
    solver : float
        Steps of the solver an evaluation of a window with reports, on average.
    flop, sampling_flop : float
        Floating-point operations: all, and without decoding the result.
    memory : float
        Bytes at the fullest, with the networks.
    seconds : float
    together : int
        Members that are sampled at once.
    device : str
    timed : bool
        Whether seconds come from a small run of this very kind, or from the speed of one convolution.
    """

    windows: int
    evaluations: int
    solver: float
    flop: float
    sampling_flop: float
    memory: float
    seconds: float
    together: int
    device: str
    timed: bool


def predict(run: Run, clock: Clock = time.perf_counter) -> Prediction:
    """What a run will take.

    Parameters
    ----------
    run : Run
    clock : callable, optional
        Seconds; default those of the wall.
    """
    plans = [_read(plan, reading) for plan, reading in run.parts]
    model, members = model_of(plans[0]), len(run.members)
    states = run.fields.shape[0] * run.fields.shape[1]
    parts = [piece for plan in plans for piece in pieces(model, plan)]
    with lock(model.device):
        fullest = max((plan for plan, _ in parts), key=lambda plan: _size(model, plan))
        division = divide(model, fullest, max(len(batch) for batch, _ in run.sampled))
        model = model.within(division.kept)
        timings: dict[bool, _Timing] = {}
        totals = []
        for plan, count in parts:
            kind = plan.stencil is None
            if kind not in timings:
                alike = [other for other, _ in parts if (other.stencil is None) is kind]
                timings[kind] = _time(model, max(alike, key=lambda plan: _size(model, plan)), clock)
            totals.append((count, _totals(model, plan, timings[kind])))
        one = decoding(model)
        memory = need(model, fullest, _fullest(model, fullest), division.members)
    timing = next(iter(timings.values()))
    # It holds the device itself.
    begin = clock()
    if not timing.rate:
        decode(parts[0][0], np.zeros((1, 1, *model.latent_shape), "f4"), (0,), 0)
    decoded = clock() - begin
    sampling = members * sum(count * t.flop for count, t in totals)
    flop = sampling + states * one.flop
    seconds = members * sum(count * t.seconds for count, t in totals) + states * decoded
    seconds += sum(timings[plan.stencil is None].setup for plan, _ in parts) * -(-members // division.members)
    solved = sum(count * t.solved for count, t in totals)
    return Prediction(
        windows=sum(count * t.windows for count, t in totals),
        evaluations=members * sum(count * t.evaluations for count, t in totals),
        solver=sum(count * t.iterations for count, t in totals) / solved if solved else 0.0,
        flop=flop,
        sampling_flop=sampling,
        memory=max(memory, weights(model) + 2 * one.peak),
        seconds=flop / timing.rate if timing.rate else seconds,
        together=division.members,
        device=str(model.device),
        timed=not timing.rate,
    )


def _read(plan: Plan, reading: Delayed | None) -> Plan:
    """The plan with its observations, if these are read on demand."""
    if reading is None:
        return plan
    stencil, places = reading.compute()
    return replace(plan, stencil=stencil if len(stencil) else None, correlation=places)


def _fullest(model: Model, plan: Plan) -> Stretch:
    return max(stretches(model, plan), key=lambda stretch: (stretch.frames, stretch.reports))


def _size(model: Model, plan: Plan) -> tuple[int, int]:
    found = _fullest(model, plan)
    return found.frames, found.reports


@dataclass(frozen=True)
class _Timing:
    """Of one member: noise levels, downwards, and the seconds and steps of the solver of an evaluation there."""

    levels: np.ndarray
    seconds: np.ndarray
    iterations: np.ndarray
    stretch: Stretch
    plain: float = 0.0
    setup: float = 0.0
    rate: float = 0.0


@dataclass(frozen=True)
class _Totals:
    """Of one member and part of the trajectory."""

    windows: int
    evaluations: int
    solved: int
    iterations: float
    flop: float
    seconds: float


def _totals(model: Model, plan: Plan, timing: _Timing) -> _Totals:
    grid = levels(model, plan)
    each = plan.sampler.evaluations / len(grid)
    below = getattr(plan.guidance, "below", math.inf)
    steps = _at(grid, timing.levels, timing.iterations)
    seconds = _at(grid, timing.levels, timing.seconds)
    windows = evaluations = solved = 0
    iterations = flop = total = 0.0
    for stretch in stretches(model, plan):
        observed = stretch.reports > 0
        windows += stretch.windows
        evaluations += stretch.windows * plan.sampler.evaluations
        bare = replace(plan, stencil=None, given=())
        none = work(model, bare, replace(stretch, frames=0, reports=0), 1, 1).flop
        for sigma, n, s in zip(grid, steps, seconds, strict=True):
            if not observed or sigma > below:
                flop += each * none
                total += each * timing.plain * stretch.windows
                continue
            flop += each * max(_flop(model, plan, stretch, n), none)
            # What is observed at more times takes longer, what is not does not.
            share = (stretch.frames or 1) / max(timing.stretch.frames, 1)
            base = timing.plain * stretch.windows
            total += each * (base + max(s - timing.plain * timing.stretch.windows, 0.0) * share)
            solved, iterations = solved + 1, iterations + n
    return _Totals(windows, evaluations, solved, iterations, flop, total)


def _flop(model: Model, plan: Plan, stretch: Stretch, iterations: float) -> float:
    """Of an evaluation, linear in the steps of its solver."""
    if not isinstance(plan.guidance, SolverGuidance):
        return work(model, plan, stretch, 1, 1).flop
    one, two = (work(model, plan, stretch, 1, n).flop for n in (1, 2))
    return one + (iterations - 1) * (two - one)


def levels(model: Model, plan: Plan) -> np.ndarray:
    """Noise levels that a plan's sampler evaluates, downwards; several evaluations may share one."""
    grid = plan.sampler.grid(model.schedule)
    return grid.double().numpy()[: len(grid) if plan.sampler.final else -1]


def _at(grid: np.ndarray, known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values at other noise levels, linear in their logarithm."""
    return np.interp(-np.log(grid), -np.log(known), values)


def _time(model: Model, plan: Plan, clock: Clock) -> _Timing:
    """A small run of one member: a few noise levels, from high to low, each solution the start of the next."""
    stretch = _fullest(model, plan)
    grid = levels(model, plan)
    below = getattr(plan.guidance, "below", math.inf)
    if not (grid <= below).any():
        below = math.inf
    grid = grid[grid <= below]
    chosen = grid[np.unique(np.linspace(0, len(grid) - 1, min(LEVELS, len(grid))).round().astype(int))]
    most = float(plan.guidance.iterations) if isinstance(plan.guidance, SolverGuidance) else 1.0
    rate = _speed(model)
    expected = len(chosen) * _flop(model, plan, stretch, most) / rate
    if expected > 4 * SECONDS:
        return _Timing(chosen, np.zeros(len(chosen)), np.full(len(chosen), most), stretch, rate=rate)
    begin = clock()
    guided = denoiser(model, plan, stretch, (0,))
    setup = clock() - begin
    generator = torch.Generator().manual_seed(0)
    shape = (1, stretch.length, *model.latent_shape)
    x, seconds, iterations = torch.zeros(shape, device=model.device), [], []
    plain = _plain(model, plan, stretch, clock)
    for sigma in chosen:
        x_t = x + float(sigma) * torch.randn(shape, generator=generator).to(model.device)
        begin = clock()
        with torch.no_grad():
            x = guided(x_t, torch.tensor(sigma, dtype=torch.float32, device=model.device))
        _wait(model)
        seconds.append(clock() - begin)
        found = getattr(guided, "iterations", [])
        iterations.append(float(found[-1].double().mean()) if found else 1.0)
    return _Timing(chosen, np.array(seconds), np.array(iterations), stretch, plain, setup)


def _plain(model: Model, plan: Plan, stretch: Stretch, clock: Clock) -> float:
    """Seconds of the denoiser of one window alone; the first call, which is slower, is not counted."""
    bare = replace(plan, stencil=None, given=())
    one = replace(stretch, length=model.spec.window, windows=1, frames=0, reports=0)
    prior = denoiser(model, bare, one, (0,))
    x = torch.zeros((1, model.spec.window, *model.latent_shape), device=model.device)
    seconds = []
    for _ in range(3):
        begin = clock()
        with torch.no_grad():
            prior(x, torch.ones((), device=model.device))
        _wait(model)
        seconds.append(clock() - begin)
    return min(seconds[1:])


def _speed(model: Model) -> float:
    """Floating-point operations a second of a convolution on the device."""
    x = torch.ones(1, 128, 64, 64, device=model.device)
    weight = torch.ones(128, 128, 3, 3, device=model.device)
    best = 0.0
    for _ in range(3):
        begin = time.perf_counter()
        with Meter() as meter, torch.no_grad():
            torch.nn.functional.conv2d(x, weight, padding=1)
        _wait(model)
        best = max(best, meter.flop / (time.perf_counter() - begin))
    return best


def _wait(model: Model) -> None:
    """Until the device has done what it was told."""
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    elif model.device.type == "mps":
        torch.mps.synchronize()
