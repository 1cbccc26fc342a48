"""What a run will take, before it runs: counted from its networks, and timed for some seconds on its device."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
from dask.delayed import Delayed

from xappa.models.model import Model
from xappa.streaming.cost.budget import divide, need, weights
from xappa.streaming.cost.calibration import Clock, Pace, bare, pace_of
from xappa.streaming.cost.evaluation import decoding, fullest, known, pieces, stretches, work
from xappa.streaming.cost.solving import guided_levels, solver_steps, solves
from xappa.streaming.devices import lock
from xappa.streaming.graph.lazy import Run
from xappa.streaming.plan import Plan
from xappa.streaming.sampling import decode, model_of


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
    parts = [piece for plan in plans for piece in pieces(model, plan)]
    with lock(model.device):
        largest = _example(model, [plan for plan, _ in parts])
        division = divide(model, largest, max(len(batch) for batch, _ in run.sampled))
        model = model.within(division.kept)
        one = decoding(model)
        paces: dict[bool, Pace] = {}
        counts: dict[tuple[bool, int], np.ndarray] = {}
        totals = []
        for plan, count in parts:
            kind = _kind(plan)
            if kind[0] not in paces:
                example = _example(model, [other for other, _ in parts if _kind(other)[0] is kind[0]])
                paces[kind[0]] = pace_of(model, example, division.members, clock)
            if kind not in counts:
                example = _example(model, [other for other, _ in parts if _kind(other) == kind])
                counts[kind] = solver_steps(model, example, paces[kind[0]])
            totals.append((count, _totals(model, plan, paces[kind[0]], counts[kind], division.members)))
        memory = need(model, largest, fullest(model, largest), division.members)
    timed = all(pace.timed for pace in paces.values())
    decoded = _decoding_seconds(model, plans[0], clock) if timed else one.flop / paces[_kind(plans[0])[0]].rate
    states = run.fields.shape[0] * run.fields.shape[1]
    # Those with reports are decoded once more, to see how the sampled states fit.
    compared = members * sum(_observed_times(plan) for plan in plans)
    sampling = members * sum(count * t.flop for count, t in totals) + compared * one.flop
    seconds = members * sum(count * t.seconds for count, t in totals) + (states + compared) * decoded
    seconds += sum(paces[_kind(plan)[0]].setup * count for plan, count in parts) * -(-members // division.members)
    solved = sum(count * t.solved for count, t in totals)
    return Prediction(
        windows=sum(count * t.windows for count, t in totals),
        evaluations=members * sum(count * t.evaluations for count, t in totals),
        solver=float(sum(count * t.iterations for count, t in totals) / solved) if solved else 0.0,
        flop=float(sampling + states * one.flop),
        sampling_flop=float(sampling),
        memory=float(max(memory, weights(model) + 2 * one.peak)),
        seconds=float(seconds),
        together=division.members,
        device=str(model.device),
        timed=timed,
    )


def _read(plan: Plan, reading: Delayed | None) -> Plan:
    """The plan with its observations, if these are read on demand."""
    if reading is None:
        return plan
    stencil, places, *_ = reading.compute()
    return replace(plan, stencil=stencil if stencil is not None and len(stencil) else None, correlation=places)


def _size(model: Model, plan: Plan) -> tuple[int, int]:
    found = fullest(model, plan)
    return found.frames, found.reports


def _kind(plan: Plan) -> tuple[bool, int]:
    """Plans whose evaluations are as fast, and those in which as many states are given, too."""
    return plan.stencil is None, sum(len(given.frames) for given in known(plan))


def _example(model: Model, plans: list[Plan]) -> Plan:
    return max(plans, key=lambda plan: _size(model, plan))


def _observed_times(plan: Plan) -> int:
    return 0 if plan.stencil is None or not len(plan.stencil) else len(plan.stencil.frames)


def _decoding_seconds(model: Model, plan: Plan, clock: Clock) -> float:
    """Of one state, as results are; the device is free."""
    seconds = []
    for _ in range(2):
        begin = clock()
        decode(plan, np.zeros((1, 1, *model.latent_shape), "f4"), (0,), 0)
        seconds.append(clock() - begin)
    return min(seconds)


@dataclass(frozen=True)
class _Totals:
    """Of one member and part of the trajectory."""

    windows: int
    evaluations: int
    solved: float
    iterations: float
    flop: float
    seconds: float


def _totals(model: Model, plan: Plan, pace: Pace, count: np.ndarray, together: int) -> _Totals:
    evaluations, guided = plan.sampler.evaluations, guided_levels(model, plan)
    each, count = evaluations / len(guided), count[guided]
    plain, window = bare(model, plan)
    one = work(model, plain, window, 1).flop
    # What members share, such as the codes of noise levels, is computed once for all of them.
    prior = work(model, plain, window, together).flop / together
    windows, solved = 0, 0.0
    iterations = operations = seconds = 0.0
    for stretch in stretches(model, plan):
        windows += stretch.windows
        operations += evaluations * stretch.windows * prior
        seconds += evaluations * stretch.windows * pace.batched
        if not stretch.reports or not len(count):
            continue
        found = work(model, plan, stretch, 1)
        more = found.flop - stretch.windows * one + (count - 1) * found.step
        added = each * more.sum() + found.first - found.flop
        operations += added
        seconds += added / pace.rate
        solved, iterations = solved + each * len(count), iterations + each * count.sum() * solves(plan)
    return _Totals(windows, windows * evaluations, solved, iterations, operations, seconds)
