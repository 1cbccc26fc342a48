"""A Gaussian process in time, longer than the denoiser's window: the composed posterior against Kalman's."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from tests.exactness import DOUBLE, Flow, Process
from xappa.diffusion.guidance import MMPS, JacobianFree
from xappa.diffusion.samplers import DPM

GUIDANCE = JacobianFree(8, 1e-8, False)
STITCHINGS = ["symmetrical", "blended"]


@cache
def composed(process: str, stitching: str, scope: str = "window") -> Flow:
    found = PROCESSES[process]
    guidance = JacobianFree(16, 1e-8, False, scope=scope)
    return Flow.of(DPM(40), found.denoiser(guidance, stitching), 2 * found.times)


PROCESSES = {
    "smoothing": Process(),
    "forecast": Process(seen=tuple(range(0, 18, 2))),
    "background": Process(seen=tuple(range(18, 36, 2))),
    "forgetful": Process(memory=1.5),
}


def kalman(process: str, smoothed: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    states = PROCESSES[process].kalman()[smoothed]
    variance = torch.cat([covariance.diagonal() for _, covariance in states])
    return torch.cat([mean for mean, _ in states]), torch.diag(variance)


def test_the_oracle_is_the_closed_form():
    """Kalman's smoother gives what the joint Gaussian of all times does; so do the windows, if one covers all."""
    process = PROCESSES["smoothing"]
    mean, covariance = process.observed(0, process.times).posterior()
    torch.testing.assert_close(kalman("smoothing")[0], mean, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(kalman("smoothing")[1].diagonal(), covariance.diagonal(), rtol=1e-8, atol=1e-8)
    whole = Process(window=36, overlap=0)
    found = Flow.of(DPM(40), whole.denoiser(MMPS(16, 1e-8, False), "symmetrical"), 72)
    error, ratio = found.against(mean, covariance)
    assert error < 0.02 and ratio == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("stitching", STITCHINGS)
@pytest.mark.parametrize("process", PROCESSES)
def test_smoothing(process, stitching):
    error, ratio = composed(process, stitching).against(*kalman(process))
    assert error <= 0.1
    assert 0.8 <= ratio <= 1.1


@pytest.mark.parametrize("stitching", STITCHINGS)
def test_filtering(stitching):
    """The last time of a trajectory knows of what was before it only."""
    error, ratio = composed("smoothing", stitching).against(*kalman("smoothing", smoothed=False), slice(-2, None))
    assert error <= 0.1
    assert 0.8 <= ratio <= 1.1


@pytest.mark.parametrize("stitching", [*STITCHINGS, "causal"])
def test_forecast(stitching):
    """Beyond the last observation: Kalman's prediction, whose spread grows to the climate's."""
    error, ratio = composed("forecast", stitching).against(*kalman("forecast"), slice(36, None))
    assert error <= 0.1
    assert 0.8 <= ratio <= 1.1


@pytest.mark.parametrize("stitching", STITCHINGS)
def test_a_guided_trajectory_is_as_good_as_guided_windows(stitching):
    error, ratio = composed("smoothing", stitching, "trajectory").against(*kalman("smoothing"))
    assert error <= 0.1
    assert 0.8 <= ratio <= 1.1


def test_each_weight_of_a_blend_is_worth_it():
    """A plain mean of the windows is far from the smoother; a causal choice further, but for what comes last."""
    errors = {
        stitching: composed("smoothing", stitching).against(*kalman("smoothing"))[0]
        for stitching in ("symmetrical", "blended", "average", "causal")
    }
    assert errors["blended"] < 1.2 * errors["symmetrical"]
    assert errors["average"] > 2 * errors["blended"]
    assert errors["causal"] > errors["average"]


def test_windows_that_do_not_overlap_know_nothing_of_each_other():
    apart = Process(overlap=0)
    found = Flow.of(DPM(24), apart.denoiser(GUIDANCE, "symmetrical"), 72)
    rows, columns = torch.arange(24), torch.arange(24, 48)
    assert found.covariance[rows[:, None], columns].abs().max() < 1e-10
    assert composed("smoothing", "symmetrical").covariance[23, 24].abs() > 1e-3
    assert found.mean.dtype == DOUBLE
