"""A Gaussian prior and a linear operator: mean and covariance of 4,000 samples against the closed-form posterior."""

from __future__ import annotations

from dataclasses import replace

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
TWO = [MMPS(2, None), MMPS(2, None, solver="cg"), JacobianFree(2, None), JacobianFree(2, None, probes=4)]


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


def componentwise(guidance, errors: str) -> tuple[float, float]:
    """RMS error of the mean in posterior deviations, and mean ratio of variances, number by number."""
    p = problem(errors)
    mean, covariance = p.posterior()
    found = run(LMS(64), p.guided(guidance), draws(SAMPLES, SIZE, 5))
    variance = covariance.diagonal()
    error = ((found.mean(0) - mean) ** 2 / variance).mean().sqrt()
    return float(error), float((found.var(0) / variance).mean())


@pytest.mark.parametrize("errors", ERRORS)
@pytest.mark.parametrize("guidance", EXACT, ids=repr)
def test_the_exact_covariance_gives_the_posterior(guidance, errors):
    p = problem(errors)
    mean, variance = moments(run(DPM(40), p.guided(guidance), draws(SAMPLES, SIZE, 5)), *p.posterior())
    assert mean.abs().max() < 4
    assert 0.95 < variance.mean() < 1.05
    assert (variance - 1).abs().max() < 0.15


@pytest.mark.parametrize("errors", ERRORS)
@pytest.mark.parametrize("guidance", TWO, ids=repr)
def test_two_iterations_do_in_units_of_errors_and_prior_together(guidance, errors):
    """Each begins where the one before ended."""
    p = problem(errors)
    mean, variance = moments(run(LMS(64), p.guided(guidance), draws(SAMPLES, SIZE, 5)), *p.posterior())
    assert mean.abs().max() < 4
    assert 0.95 < variance.mean() < 1.05
    assert (variance - 1).abs().max() < 0.15


@pytest.mark.parametrize("errors", ERRORS)
def test_two_iterations_from_nothing_keep_the_spread(errors):
    """The mean is not exact after two, but within a fifth of a deviation."""
    error, spread = componentwise(MMPS(2, None, False), errors)
    assert 0.85 < spread < 1.05
    assert error < 0.2


@pytest.mark.parametrize(
    "guidance", [MMPS(2, None, False, probes=0), MMPS.official(), MMPS(2, None, True, probes=0)], ids=repr
)
@pytest.mark.parametrize("errors", ["equal", "correlated and not"])
def test_two_iterations_in_other_units_need_errors_that_are_alike(guidance, errors):
    error, spread = componentwise(guidance, errors)
    assert 0.85 < spread < 1.05 and error < 0.2


def test_units_of_the_error_alone_spread_members_too_far_where_errors_differ():
    """By deviations of 0.03 to 1, with two iterations and with as many as the default tolerance asks for."""
    assert componentwise(MMPS(2, None, False, probes=0), "heterogeneous")[1] > 1.5
    assert componentwise(MMPS(probes=0), "heterogeneous")[1] > 1.15
    assert componentwise(MMPS(), "heterogeneous")[1] < 1.06


def test_a_loose_tolerance_is_right_in_these_units_only():
    p = problem("heterogeneous")
    mean, variance = p.posterior()[0], p.posterior()[1].diagonal()
    errors = {}
    for probes in (0, 4, 16):
        found = run(LMS(), p.guided(JacobianFree(tolerance=0.2, probes=probes)), draws(SAMPLES, SIZE, 5))
        errors[probes] = ((found.mean(0) - mean) ** 2 / variance).mean().sqrt()
    assert max(errors[4], errors[16]) < 0.1 < 0.4 < errors[0]


def test_one_iteration_from_nothing_is_not_enough():
    assert componentwise(MMPS(1, None, False), "heterogeneous")[0] > 0.2


@pytest.mark.parametrize("sampler", [LMS(96), DPM(48), DDPM(512), PC(96, 2, 0.1)], ids=repr)
def test_every_kind_of_sampler_converges_to_the_posterior(sampler):
    p = problem("heterogeneous")
    mean, variance = moments(run(sampler, p.exactly, draws(SAMPLES, SIZE, 5)), *p.posterior())
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
    options = LatentOptimisation("sgd", 0.3, 20, discrepancy=None, below=100.0)
    unit = torch.eye(SEEN, dtype=DOUBLE)
    p = Linear(unit, unit, torch.full((SEEN,), 0.3, dtype=DOUBLE), torch.linspace(-1, 1, SEEN, dtype=DOUBLE))
    mean, covariance = p.posterior()
    spread = {}
    for perturbed in (False, True):
        guidance = replace(options, perturb_observations=perturbed)
        found = run(DPM(24), p.guided(guidance, 1000), draws(1000, SEEN, 5))
        spread[perturbed] = float((found.var(0) / covariance.diagonal()).mean())
        assert ((found.mean(0) - mean) / covariance.diagonal().sqrt()).abs().max() < 4 * (
            spread[perturbed] / 1000
        ) ** 0.5
    gain = covariance @ torch.linalg.inv(p.errors)
    expected = float(1 + ((gain @ p.errors @ gain.mT).diagonal() / covariance.diagonal()).mean())
    assert spread[False] == pytest.approx(1, abs=0.1)
    assert spread[True] == pytest.approx(expected, abs=0.15)
