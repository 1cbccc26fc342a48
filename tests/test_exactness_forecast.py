"""An autoregressive forecast of a Gaussian process, window by window, against Kalman's prediction.

The process is autoregressive of first order, so that its last state holds all that the past tells of what follows: a
roll of windows that share some times is then exact but for the deviation with which a window is held to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.exactness import SCHEDULE, Process
from xappa.diffusion.guidance import JacobianFree, Observation
from xappa.diffusion.samplers import DPM
from xappa.model.window_denoiser import WindowDenoiser
from xappa.sampling.background_terms import make_context_term
from xappa.sampling.spec import Autoregressive, SamplingSpec
from xappa.sampling.trajectory import TrajectorySampler

MEMBERS = 1000
KNOWN = 18
"""Times of the first piece, two windows; three more follow."""
MEMORIES = [3.0, 12.0]


@cache
def process_of(memory: float) -> Process:
    """Observed at every second time of the first piece."""
    return Process(memory=memory, seen=tuple(range(0, KNOWN, 2)))


class Denoiser:
    """The process's own, of windows (B, K, 1, 1, 2)."""

    def __init__(self, process: Process) -> None:
        self.problem = process.observed(0, process.window)

    def __call__(self, x: Tensor, sigma: Tensor, date: Tensor) -> Tensor:
        return self.problem.denoise(x.flatten(1).double(), sigma.double()).to(x).view_as(x)

    def covariance(self, v: Tensor, sigma: Tensor) -> Tensor:
        return self.problem.covariance(v.flatten(1).double(), sigma.double()).to(v).view_as(v)


@dataclass
class Reports:
    """What is observed of the process, as `TrajectorySampler` asks for it."""

    process: Process

    def make_observation(self, start: int, length: int, noise: Any = None) -> Observation:
        """Of a window."""
        problem = self.process.observed(start, length)
        h = problem.h.float()

        def operator(x: Tensor) -> Tensor:
            return x.flatten(1) @ h.mT

        return Observation(problem.y.float(), operator, problem.r.float(), operator)


def pieces(process: Process, stitching: str) -> TrajectorySampler:
    """A run of the process in the place of a model."""
    model: Any = SimpleNamespace(
        spec=SimpleNamespace(window=process.window), latent_shape=(1, 1, 2), schedule=SCHEDULE, tangent=None,
        denoiser=(denoiser := Denoiser(process)), covariance=denoiser.covariance, device=torch.device("cpu"),
        precision="float32",
    )  # fmt: skip
    model.make_window_denoisers = lambda: WindowDenoiser(model)
    times = np.datetime64("2001-03-13T00", "s") + np.timedelta64(1, "h") * np.arange(process.times)
    guidance = JacobianFree(24, 1e-6, False)
    rolling = Autoregressive(KNOWN, process.overlap)
    plan = SamplingSpec("", "", None, times, None, guidance, DPM(40), stitching, 0, autoregressive=rolling)
    return TrajectorySampler(model, plan, tuple(range(MEMBERS)), None)


@cache
def rolled(memory: float, stitching: str) -> Tensor:
    """Members (member, 2 T) of a forecast from observations."""
    process = process_of(memory)
    run = pieces(process, stitching)
    with torch.no_grad():
        first = run.sample_block(0, KNOWN, [Reports(process)])  # type: ignore[list-item]
        return run.roll_out(first, process.overlap).flatten(1).double()


def against(members: Tensor, mean: Tensor, variance: Tensor) -> tuple[float, float]:
    """RMS error of the mean in exact deviations, and mean ratio of variances."""
    error = ((members.mean(0) - mean).square() / variance).mean().sqrt()
    return float(error), float((members.var(0) / variance).mean())


def kalman(process: Process) -> tuple[Tensor, Tensor]:
    """Mean and variance (2 T,) given the observations up to each time."""
    filtered, _ = process.kalman()
    return torch.cat([m for m, _ in filtered]), torch.cat([c.diagonal() for _, c in filtered])


@pytest.mark.parametrize(("memory", "stitching"), [*((memory, "symmetrical") for memory in MEMORIES), (3.0, "blended")])
def test_from_observations(memory, stitching):
    mean, variance = kalman(process_of(memory))
    ahead = slice(2 * KNOWN, None)
    error, ratio = against(rolled(memory, stitching)[:, ahead], mean[ahead], variance[ahead])
    assert error <= 0.1
    assert 0.8 <= ratio <= 1.1


def test_what_is_ahead_follows_from_what_was_before():
    """Members go on from their own states: across the joints of windows as in the process."""
    process = process_of(3.0)
    states = rolled(3.0, "symmetrical").view(MEMBERS, -1, 2)
    for joint in (KNOWN, KNOWN + 6, KNOWN + 12):
        before, after = (states[:, k] - states[:, k].mean(0) for k in (joint - 1, joint))
        found = torch.linalg.lstsq(before, after).solution.mT
        torch.testing.assert_close(found, process.f, rtol=0, atol=0.1)


@pytest.mark.parametrize("memory", [1.5, 6.0])
def test_from_full_states(memory):
    """Each member's last states are given: Kalman's prediction from a state without error."""
    process = process_of(memory)
    run = pieces(process, "symmetrical")
    states = torch.linalg.cholesky(process.joint(6)) @ torch.ones(12, dtype=torch.float64)
    known = states.float().view(1, 6, 1, 1, 2).expand(MEMBERS, -1, -1, -1, -1)
    with torch.no_grad():
        first = run.sample_block(0, 12, [make_context_term(known, range(6))])
        found = run.roll_out(first, process.overlap)[:, 6:30].flatten(1).double()
    mean, covariance, means, variances = states[-2:], torch.zeros(2, 2, dtype=torch.float64), [], []
    for _ in range(24):
        mean, covariance = process.f @ mean, process.f @ covariance @ process.f.mT + process.q
        means.append(mean)
        variances.append(covariance.diagonal())
    error, ratio = against(found, torch.cat(means), torch.cat(variances))
    assert error <= 0.1
    assert 0.8 <= ratio <= 1.1
