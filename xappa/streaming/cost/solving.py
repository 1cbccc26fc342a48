"""Steps of the solver, noise level by noise level: the same problem with fewer reports.

Where a tolerance ends the solver, its steps depend on the problem. Two things make a cheap one that is like it. The
estimate of the static prior, or for moment matching all of the denoiser that is linear, stands in for the denoiser, and
its derivative for that of the denoiser. And only the reports of a few times are read: conjugate gradients, and
residuals that are minimal, need a number of steps that grows with the root of the condition number at most, and that
with the number of reports, as what they have in common adds up. States that are given are drawn from the prior, since
the run's are states of its climate.

References
----------
.. [1] Saad, Iterative methods for sparse linear systems, 2003, section 6.11, https://doi.org/10.1137/1.9780898718003
"""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor

from xappa.diffusion.guidance import MMPS, JacobianFree, Observation, SolverGuidance
from xappa.diffusion.guidance.jacobian_free import JacobianFreeDenoiser
from xappa.diffusion.guidance.solver import SolvingDenoiser
from xappa.diffusion.samplers import DPM
from xappa.model.protocol import GenerativeModel
from xappa.sampling.evaluation_cost import (
    Denoise,
    Stretch,
    build_denoiser,
    count_solves,
    list_latent_observations,
    measure_evaluation,
    select_most_observed,
    with_fewer,
)
from xappa.sampling.spec import SamplingSpec
from xappa.streaming.cost.calibration import EvaluationSpeed, list_noise_levels

TIMES = 2
"""Whose reports are read."""
LEVELS = 6
"""Noise levels that are visited at most, each after its neighbour, whose solution it starts from."""
STEPS = 8
"""Steps of the sampler that draws states."""
SECONDS = 2.0
"""What solving the problem itself may take, where there is no other."""


def find_guided_levels(model: GenerativeModel, sampling: SamplingSpec) -> np.ndarray:
    """Mask of the noise levels that are guided."""
    return list_noise_levels(model, sampling) <= getattr(sampling.guidance, "below", math.inf)


def estimate_solver_steps(model: GenerativeModel, sampling: SamplingSpec, pace: EvaluationSpeed) -> np.ndarray:
    """Steps of the solver in a system, (level,), at each noise level."""
    stretch, grid, where = (
        select_most_observed(model, sampling),
        list_noise_levels(model, sampling),
        find_guided_levels(model, sampling),
    )
    found = np.ones(len(grid))
    if not isinstance(sampling.guidance, SolverGuidance) or not stretch.reports or not where.any():
        return found
    found[:] = most = sampling.guidance.iterations
    if sampling.guidance.tolerance is None:
        return found
    if model.static_prior:
        own, fewer = with_fewer(sampling, stretch, TIMES)
        grown = (stretch.reports / fewer.reports) ** 0.5
        found[where] = np.minimum(grown * _count_visited_steps(model, own, fewer, grid[where], True), most)
    elif _estimate_seconds(model, sampling, stretch, pace) * where.sum() <= SECONDS:
        found[where] = _count_visited_steps(model, sampling, stretch, grid[where], False)
    return found


def _estimate_seconds(model: GenerativeModel, sampling: SamplingSpec, stretch: Stretch, pace: EvaluationSpeed) -> float:
    """Seconds of an evaluation in which the solver makes all steps."""
    return (
        measure_evaluation(model, sampling, stretch, 1, sampling.guidance.iterations).flop / pace.rate
        if pace.timed
        else math.inf
    )


def _count_visited_steps(
    model: GenerativeModel, sampling: SamplingSpec, stretch: Stretch, grid: np.ndarray, static: bool
) -> np.ndarray:
    """Steps at each level; where there are many, some are visited with their neighbours, and others lie between."""
    few = np.arange(len(grid))
    if len(grid) > LEVELS:
        few = np.unique(np.linspace(0, len(grid) - 1, LEVELS // 2).round().astype(int))
    visited = np.unique(np.concatenate([few, np.maximum(few - 1, 0)]))
    found = _count_solver_steps(model, sampling, stretch, grid[visited], static)[np.isin(visited, few)]
    return np.interp(np.arange(len(grid)), few, found)


def _count_solver_steps(
    model: GenerativeModel, sampling: SamplingSpec, stretch: Stretch, grid: np.ndarray, static: bool
) -> np.ndarray:
    """Steps of one member's solver at levels, downwards, each solution the start of the next."""
    guided = cast(
        SolvingDenoiser, (_build_linear_denoiser if static else _build_plan_denoiser)(model, sampling, stretch)
    )
    # One noise for all levels, as samplers without noise of their own have: solutions then change little.
    noise = _draw_white_noise(model, stretch.length, 1)
    x = torch.zeros_like(noise)
    found = np.zeros(len(grid))
    with torch.no_grad():
        for level, sigma in enumerate(grid):
            x = guided(x + float(sigma) * noise, torch.tensor(sigma, dtype=torch.float32, device=model.device))
            found[level:] = guided.iterations[-1].double().mean() / count_solves(sampling)
            if level and found[level] <= 1:
                break  # those below start from solutions that are nearer still
    return found


def _draw_white_noise(model: GenerativeModel, times: int, seed: int) -> Tensor:
    shape = (1, times, *model.latent_shape)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(model.device)


def _build_plan_denoiser(model: GenerativeModel, sampling: SamplingSpec, stretch: Stretch) -> Denoise:
    """The denoiser; of the fixed states only the variance is known."""
    return build_denoiser(model, sampling, stretch, (0,), states=_draw_white_noise(model, len(sampling.times), 0))


def _build_linear_denoiser(model: GenerativeModel, sampling: SamplingSpec, stretch: Stretch) -> Denoise:
    """A denoiser with the same options, whose prior and operator are linear."""
    options = {field.name: getattr(sampling.guidance, field.name) for field in fields(JacobianFree)}
    guidance = JacobianFree(**options)
    matching = isinstance(sampling.guidance, MMPS)
    sampling = replace(sampling, guidance=guidance)
    itself = cast(JacobianFreeDenoiser, _build_plan_denoiser(model, sampling, stretch))
    if matching:
        linear = build_denoiser(model.to_linear(), replace(sampling, observations=None, fixed_states=()), stretch, (0,))
    else:

        def linear(x_t: Tensor, sigma: Tensor) -> Tensor:
            return itself.covariance(x_t, sigma) / sigma**2

    def covariance(v: Tensor, sigma: Tensor) -> Tensor:
        return sigma**2 * linear(v, sigma)

    if list_latent_observations(sampling):
        drawn = _draw_prior_sample(model, _draw_white_noise(model, stretch.length, 0), linear)
        # The same at all times of the trajectory, of which the stretch is a part.
        states = drawn[:, (np.arange(len(sampling.times)) - stretch.start) % stretch.length]
        itself = cast(JacobianFreeDenoiser, build_denoiser(model, sampling, stretch, (0,), states=states))
    return guidance.wrap(linear, _linearise_observation(itself.observation, model, stretch), covariance)


def _linearise_observation(observation: Observation, model: GenerativeModel, stretch: Stretch) -> Observation:
    """With the map that stands in for the operator's derivative in place of the operator, where there is one."""
    tangent = observation.tangent
    if tangent is None:
        return observation
    with torch.no_grad():
        offset = observation.operator(torch.zeros_like(_draw_white_noise(model, stretch.length, 0)))
    return replace(observation, operator=lambda x: offset + tangent(x))


def _draw_prior_sample(model: GenerativeModel, white: Tensor, linear: Denoise) -> Tensor:
    """A sample of the static prior."""
    start = model.schedule(torch.ones(1)).item() * white
    return DPM(steps=STEPS)(linear, start, lambda k: white, model.schedule)
