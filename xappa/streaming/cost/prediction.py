"""Predicted cost of a run: counted from its networks, and timed for some seconds on its device."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, replace

import numpy as np
from dask.delayed import Delayed

from xappa.devices import lock
from xappa.model.protocol import GenerativeModel
from xappa.sampling.evaluation_cost import (
    count_solves,
    list_stretches,
    measure_decoding,
    measure_evaluation,
    select_most_observed,
    split_into_joint_plans,
)
from xappa.sampling.memory_budget import estimate_memory, plan_batches
from xappa.sampling.sampling_tasks import decode, load_model
from xappa.sampling.spec import SamplingSpec
from xappa.streaming.cost.calibration import Clock, EvaluationSpeed, measure_speed, without_observations
from xappa.streaming.cost.solving import estimate_solver_steps, find_guided_levels
from xappa.streaming.graph.lazy import AnalysisGraph

Part = tuple[SamplingSpec, int]
"""Sampling of a segment, and how often a trajectory has it."""


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


def predict(run: AnalysisGraph, clock: Clock = time.perf_counter) -> Prediction:
    """Predicted cost of a run.

    Parameters
    ----------
    run : AnalysisGraph
    clock : callable, optional
        Seconds; default those of the wall.
    """
    samplings = [_read_observations(sampling, reading) for sampling, reading in run.parts]
    model, members = load_model(samplings[0]), len(run.members)
    parts = [part for sampling in samplings for part in split_into_joint_plans(model, sampling)]
    with lock(model.device):
        largest = _select_most_observed_segment(model, [sampling for sampling, _ in parts])
        division = plan_batches(model, largest, max(len(batch) for batch, _ in run.sampled))
        model, together = model.with_graph_budget(division.graph_budget), division.members
        state = measure_decoding(model)
        paces = _measure_speeds(model, parts, together, clock)
        member = _sum_member(model, parts, paces, together)
        memory = estimate_memory(model, largest, select_most_observed(model, largest), together)
    timed = all(pace.timed for pace in paces.values())
    decoded = (
        _time_decoding(model, samplings[0], clock) if timed else state.flop / paces[_has_reports(samplings[0])].rate
    )
    states = run.fields.shape[0] * run.fields.shape[1]
    # Those with reports are decoded once more, to see how the sampled states fit.
    compared = members * sum(_count_observed_times(sampling) for sampling in samplings)
    sampling = members * member.flop + compared * state.flop
    seconds = members * member.seconds + (states + compared) * decoded + -(-members // together) * member.setup
    return Prediction(
        windows=member.windows,
        evaluations=members * member.evaluations,
        solver=float(member.iterations / member.guided) if member.guided else 0.0,
        flop=float(sampling + states * state.flop),
        sampling_flop=float(sampling),
        memory=float(max(memory, model.nbytes + 2 * state.peak)),
        seconds=float(seconds),
        together=together,
        device=str(model.device),
        timed=timed,
    )


def _read_observations(sampling: SamplingSpec, reading: Delayed | None) -> SamplingSpec:
    """The SamplingSpec with its observations, which are read now if a task makes them."""
    if reading is None:
        return sampling
    observations, places, *_ = reading.compute()
    return replace(
        sampling,
        observations=observations if observations is not None and len(observations) else None,
        correlation=places,
    )


def _has_reports(sampling: SamplingSpec) -> bool:
    return sampling.observations is not None


def _measure_speeds(
    model: GenerativeModel, parts: list[Part], together: int, clock: Clock
) -> dict[bool, EvaluationSpeed]:
    """Speed of evaluations, with reports and without."""
    examples = _select_examples(model, parts)
    return {reported: measure_speed(model, example, together, clock) for reported, example in examples.items()}


def _select_examples(model: GenerativeModel, parts: list[Part]) -> dict[bool, SamplingSpec]:
    """The segment with the most reports, and one without reports."""
    groups: dict[bool, list[SamplingSpec]] = {}
    for sampling, _ in parts:
        groups.setdefault(_has_reports(sampling), []).append(sampling)
    return {reported: _select_most_observed_segment(model, samplings) for reported, samplings in groups.items()}


def _select_most_observed_segment(model: GenerativeModel, samplings: list[SamplingSpec]) -> SamplingSpec:
    def size(sampling: SamplingSpec) -> tuple[int, int]:
        stretch = select_most_observed(model, sampling)
        return stretch.frames, stretch.reports

    return max(samplings, key=size)


def _count_observed_times(sampling: SamplingSpec) -> int:
    return 0 if sampling.observations is None or not len(sampling.observations) else len(sampling.observations.frames)


def _time_decoding(model: GenerativeModel, sampling: SamplingSpec, clock: Clock) -> float:
    """Seconds to decode one state, as for results, on an idle device."""
    seconds = []
    for _ in range(2):
        begin = clock()
        decode(sampling, np.zeros((1, 1, *model.latent_shape), "f4"), (0,), 0)
        seconds.append(clock() - begin)
    return min(seconds)


@dataclass(frozen=True)
class _Totals:
    """Cost of one member.

    Parameters
    ----------
    windows, evaluations : int
    guided : float
        Evaluations that reports guide, each noise level weighed by those it stands for.
    iterations : float
        Steps of the solver in all of them.
    flop, seconds : float
    setup : float
        Seconds before the first evaluations, which all members that are sampled at once share.
    """

    windows: int
    evaluations: int
    guided: float
    iterations: float
    flop: float
    seconds: float
    setup: float


def _sum_member(
    model: GenerativeModel, parts: list[Part], paces: dict[bool, EvaluationSpeed], together: int
) -> _Totals:
    """Cost of the whole trajectory, the sum over all parts."""
    examples = _select_examples(model, parts)
    steps = {reported: estimate_solver_steps(model, example, paces[reported]) for reported, example in examples.items()}
    found = [
        (
            count,
            _compute_totals(model, sampling, paces[_has_reports(sampling)], steps[_has_reports(sampling)], together),
        )
        for sampling, count in parts
    ]
    return _Totals(*(sum(count * getattr(totals, f.name) for count, totals in found) for f in fields(_Totals)))


def _compute_totals(
    model: GenerativeModel, sampling: SamplingSpec, pace: EvaluationSpeed, steps: np.ndarray, together: int
) -> _Totals:
    """Cost of one part of the trajectory, whose solver makes `steps` (level,) in a system."""
    evaluations, guided = sampling.sampler.evaluations, find_guided_levels(model, sampling)
    each, steps = evaluations / len(guided), steps[guided]
    plain, window = without_observations(model, sampling)
    one = measure_evaluation(model, plain, window, 1).flop
    # What members share, such as the codes of noise levels, is computed once for all of them.
    prior = measure_evaluation(model, plain, window, together).flop / together
    windows, guiding = 0, 0.0
    iterations = operations = seconds = 0.0
    for stretch in list_stretches(model, sampling):
        windows += stretch.windows
        operations += evaluations * stretch.windows * prior
        seconds += evaluations * stretch.windows * pace.batched
        if not stretch.reports or not len(steps):
            continue
        found = measure_evaluation(model, sampling, stretch, 1)
        more = found.flop - stretch.windows * one + (steps - 1) * found.step
        added = each * more.sum() + found.first - found.flop
        operations += added
        seconds += added / pace.rate
        guiding, iterations = guiding + each * len(steps), iterations + each * steps.sum() * count_solves(sampling)
    return _Totals(windows, windows * evaluations, guiding, iterations, operations, seconds, pace.setup)
