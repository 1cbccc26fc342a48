"""A Gaussian prior and a linear operator: mean and covariance of 4,000 samples against the closed-form posterior."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.exactness import DOUBLE, Flow, Linear, draws, moments, run
from xappa.diffusion.guidance import (
    MMPS,
    BlockCovariance,
    ErrorCovariance,
    InflatedCovariance,
    JacobianFree,
    LatentOptimisation,
    SequenceCovariance,
)
from xappa.diffusion.samplers import DDPM, DPM, LMS, PC

SIZE, SEEN, SAMPLES = 12, 6, 4000
DEVIATION = torch.logspace(-1.5, 0, SEEN, dtype=DOUBLE)
SEQUENCE = SequenceCovariance(DEVIATION, torch.arange(SEEN) // 3, 0.4 * torch.arange(SEEN, dtype=DOUBLE))
NEIGHBOURS = torch.full((3, 3), 0.7, dtype=DOUBLE).fill_diagonal_(1.0)
ERRORS: dict[str, Tensor | ErrorCovariance] = {
    "equal": torch.full((SEEN,), 0.1, dtype=DOUBLE),
    "heterogeneous": DEVIATION**2,
    "along sequences": SEQUENCE,
    "in blocks": BlockCovariance(DEVIATION, [(torch.tensor([0, 2, 4]), NEIGHBOURS)]),
    "correlated and not": InflatedCovariance(SEQUENCE, torch.linspace(0.5, 0.9, SEEN, dtype=DOUBLE)),
}
EXACT = [
    MMPS(SEEN, None, False),
    MMPS(SEEN, None, False, solver="cg"),
    JacobianFree(SEEN, None, False),
    JacobianFree(2 * SEEN, 1e-6, True, solver="cg"),
]
TWO = [MMPS(2, None, False), MMPS.official(), JacobianFree(2, None, True)]


def problem(errors: str, closer: float = 1.0) -> Linear:
    """Correlated numbers of different variances, of which mixtures are observed."""
    i = torch.arange(SIZE, dtype=DOUBLE)
    scale = torch.linspace(0.5, 1.5, SIZE, dtype=DOUBLE)
    p = scale[:, None] * torch.exp(-(i[:, None] - i).abs() / 3) * scale
    h = torch.zeros(SEEN, SIZE, dtype=DOUBLE)
    for row in range(SEEN):
        h[row, 2 * row : 2 * row + 2] = torch.tensor([0.7, 0.3])
    r = ERRORS[errors]
    y = torch.tensor([0.4, -1.2, 0.9, 1.8, -0.3, 0.1], dtype=DOUBLE)
    return Linear(p, h, r if closer == 1 else closer * r, y)


def sampled(guidance, errors: str, sampler) -> tuple[Tensor, Tensor]:
    p = problem(errors)
    return moments(run(sampler, p.guided(guidance, SAMPLES), draws(SAMPLES, SIZE, 5)), *p.posterior())


@pytest.mark.parametrize("errors", ERRORS)
@pytest.mark.parametrize("guidance", EXACT, ids=repr)
def test_the_exact_covariance_gives_the_posterior(guidance, errors):
    mean, variance = sampled(guidance, errors, DPM(32))
    assert mean.abs().max() < 4
    assert 0.95 < variance.mean() < 1.05
    assert (variance - 1).abs().max() < 0.15


@pytest.mark.parametrize("errors", ERRORS)
@pytest.mark.parametrize("guidance", TWO, ids=repr)
def test_two_iterations_keep_the_spread(guidance, errors):
    p = problem(errors)
    mean, covariance = p.posterior()
    found = run(LMS(64), p.guided(guidance), draws(SAMPLES, SIZE, 5))
    ratio = found.var(0) / covariance.diagonal()
    assert 0.85 < ratio.mean() < 1.05
    assert ((found.mean(0) - mean) / covariance.diagonal().sqrt()).square().mean().sqrt() < 0.15


@pytest.mark.parametrize("sampler", [LMS(96), DPM(24), DDPM(256), PC(64, 2, 0.1)], ids=repr)
def test_every_kind_of_sampler_converges_to_the_posterior(sampler):
    mean, variance = sampled(EXACT[2], "heterogeneous", sampler)
    assert mean.abs().max() < 4
    assert 0.95 < variance.mean() < 1.05


def ratio(sampler, closer: float) -> float:
    p = problem("heterogeneous", closer)
    return Flow.of(sampler, p.guided(EXACT[2]), SIZE).against(*p.posterior())[1]


def test_even_steps_of_the_logarithm_keep_the_spread_where_observations_are_precise():
    """At 12 evaluations the linear multi-step method loses a third of the variance; DPM-Solver++ some per cent."""
    for closer in (1.0, 1e-2):
        assert 0.9 < ratio(DPM(12), closer) < 1.1
        assert ratio(LMS(12, spacing="log"), closer) < 0.9
    assert abs(ratio(DPM(48), 1e-2) - 1) < 0.01


def test_perturbed_observations_spread_a_mode_that_is_exact_too_far():
    """A prior of unit variance, all observed: the mode is the mean, so that members spread as they should without."""
    unit = torch.eye(SEEN, dtype=DOUBLE)
    p = Linear(unit, unit, torch.full((SEEN,), 0.3, dtype=DOUBLE), torch.linspace(-1, 1, SEEN, dtype=DOUBLE))
    mean, covariance = p.posterior()
    spread = {}
    for perturbed in (False, True):
        options = LatentOptimisation(below=100.0, discrepancy=None, perturb_observations=perturbed, iterations=40)
        found = run(DPM(12), p.guided(options, 1000), draws(1000, SEEN, 5))
        spread[perturbed] = float((found.var(0) / covariance.diagonal()).mean())
        assert ((found.mean(0) - mean) / covariance.diagonal().sqrt()).abs().max() < 4 * (
            spread[perturbed] / 1000
        ) ** 0.5
    gain = covariance @ torch.linalg.inv(p.errors)
    expected = float(1 + ((gain @ p.errors @ gain.mT).diagonal() / covariance.diagonal()).mean())
    assert spread[False] == pytest.approx(1, abs=0.1)
    assert spread[True] == pytest.approx(expected, abs=0.15)
