"""The Huber norm in guidance: against a direct minimisation, bounds of influence, and the plain Gaussian."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from tests.test_guidance import DOUBLE, SCHEDULE, Gaussian, states
from xappa.diffusion.guidance import (
    DPS,
    GUIDANCE,
    MMPS,
    SDA,
    W2C,
    JacobianFree,
    LatentOptimisation,
    Observation,
    RePaint,
    SolverGuidance,
    huber,
)
from xappa.diffusion.samplers import LMS
from xappa.errors import OptionError

THRESHOLD = 2.5
ROBUST = [name for name, kind in GUIDANCE.items() if any(f.name == "huber" and f.type != "None" for f in fields(kind))]
CONVERGED = {"iterations": 16, "tolerance": 1e-10}
KINDS = [MMPS(**CONVERGED, huber=THRESHOLD), JacobianFree(**CONVERGED, huber=THRESHOLD)]


def problem(outlier: float = 0.0, size: int = 16) -> Gaussian:
    """Every second number observed, with errors as large as they claim to be; the fourth one with an outlier."""
    found = Gaussian(size)
    found.h = found.unit[::2]
    found.r = torch.linspace(0.1, 0.4, size // 2, dtype=DOUBLE)
    truth = torch.linalg.cholesky(found.p) @ states(1, size)[0]
    noise = states(3, size // 2)[2]
    found.y = found.h @ truth + found.r.sqrt() * noise.clamp(-2, 2)
    found.y[3] += outlier
    return found


def minimiser(p: Gaussian, covariance: Tensor, mean: Tensor) -> Tensor:
    """Where the Gaussian prior and the Huber norm of the misfit add up to least: Newton's method with a line search."""
    inverse, rows = torch.linalg.inv(covariance), []

    def cost(x: Tensor, m: Tensor) -> Tensor:
        size = ((p.y - p.h @ x) / p.r.sqrt()).abs()
        norm = torch.where(size <= THRESHOLD, size**2 / 2, THRESHOLD * size - THRESHOLD**2 / 2)
        return (x - m) @ inverse @ (x - m) / 2 + norm.sum()

    for m in mean:
        x = m.clone()
        for _ in range(300):
            residual = (p.y - p.h @ x) / p.r.sqrt()
            inside = (residual.abs() <= THRESHOLD).to(DOUBLE)
            gradient = inverse @ (x - m) - p.h.mT @ (residual.clamp(-THRESHOLD, THRESHOLD) / p.r.sqrt())
            if gradient.abs().max() < 1e-10:
                break
            step = torch.linalg.solve(inverse + p.h.mT @ torch.diag(inside / p.r) @ p.h, gradient)
            length = 1.0
            while length > 1e-12 and cost(x - length * step, m) > cost(x, m) - 1e-4 * length * gradient @ step:
                length /= 2
            x = x - length * step
        assert gradient.abs().max() < 1e-6
        rows.append(x)
    return torch.stack(rows)


@pytest.mark.parametrize("guidance", KINDS, ids=lambda g: type(g).__name__)
@pytest.mark.parametrize("sigma", [0.1, 1.0, 50.0])
@pytest.mark.parametrize("outlier", [0.0, 1e3, 1e6])
def test_the_estimate_is_the_minimum_of_the_huber_norm(guidance, sigma, outlier):
    p, level = problem(outlier), torch.tensor(sigma, dtype=DOUBLE)
    x_t = sigma * states(3, 16)
    expected = minimiser(p, p.covariance(p.unit, level), p.denoise(x_t, level))
    guided = guidance.guide(p.denoise, p.observation, p.covariance)
    for _ in range(4):
        found = guided(x_t, level)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("guidance", KINDS, ids=lambda g: type(g).__name__)
def test_a_gross_outlier_barely_moves_the_posterior(guidance):
    """By no more than its bounded pull times the variance that the others leave: d / sigma_o Cov[x, x_i]."""
    x_t, sigma = states(4, 16), torch.tensor(2.0, dtype=DOUBLE)
    p = problem()
    others = [0, 1, 2, 4, 5, 6, 7]
    without = Gaussian(16)
    without.h, without.r, without.y = p.h[others], p.r[others], p.y[others]
    mean, left = without.posterior(p.covariance(p.unit, sigma), p.denoise(x_t, sigma))
    bound = THRESHOLD / p.r[3].sqrt() * (left @ p.h[3]).abs()
    moved = {}
    for outlier in (1e2, 1e4, 1e6):
        wrong = problem(outlier)
        guided = guidance.guide(wrong.denoise, wrong.observation, wrong.covariance)
        for _ in range(4):
            found = guided(x_t, sigma)
        # The inequality is strict where a neighbour reaches its own threshold; rounding aside it is met with equality.
        assert ((found - mean).abs() <= 1.02 * bound + 1e-4).all()
        moved[outlier] = found
        plain = replace(guidance, huber=None).guide(wrong.denoise, wrong.observation, wrong.covariance)(x_t, sigma)
        assert (plain - mean).abs().max() > 20 * (found - mean).abs().max()
    torch.testing.assert_close(moved[1e4], moved[1e6], rtol=0, atol=1e-4)


@pytest.mark.parametrize("outlier", [0.0, 1e3, 1e6])
def test_latent_optimisation_finds_the_minimum_of_the_huber_norm(outlier):
    p, sigma, x_t = problem(outlier), torch.tensor(1.0, dtype=DOUBLE), states(3, 16)
    expected = minimiser(p, sigma**2 / (1 + sigma**2) * p.unit, p.denoise(x_t, sigma))
    options = LatentOptimisation("sgd", 0.05, 800, discrepancy=None, huber=THRESHOLD)
    torch.testing.assert_close(options.guide(p.denoise, p.observation)(x_t, sigma), expected, rtol=0, atol=1e-5)


def test_the_discrepancy_principle_does_not_wait_for_a_gross_error():
    p, wrong = problem(size=64), problem(1e6, 64)
    x_t, sigma = 3 + states(3, 64), torch.tensor(2.0, dtype=DOUBLE)
    options = LatentOptimisation(learning_rate=0.05, iterations=300, discrepancy=1.5, huber=THRESHOLD)
    stopped = options.guide(wrong.denoise, wrong.observation)
    found = stopped(x_t, sigma)
    assert stopped.iterations[0].min() > 0 and stopped.iterations[0].max() < 300
    residual = ((p.y - found @ p.h.mT) / p.r.sqrt())[:, torch.arange(32) != 3]
    assert (huber.compute_bounded_misfit(residual, THRESHOLD) <= 1.5 * 16 - THRESHOLD**2 / 2).all()
    waiting = replace(options, huber=None).guide(wrong.denoise, wrong.observation)
    waiting(x_t, sigma)
    assert (waiting.iterations[0] == 300).all()


@pytest.mark.parametrize("zeta", [None, 0.3])
def test_a_gross_error_does_not_choose_the_way_of_posterior_sampling(zeta):
    """Sound observations come as near as without it, and nearer than if it is taken for Gaussian."""
    x_t, sigma = 3 + states(3, 16), torch.tensor(1.0, dtype=DOUBLE)
    p, wrong, sound = problem(), problem(1e4), torch.arange(8) != 3

    def misfit(q: Gaussian, threshold: float | None) -> Tensor:
        found = DPS(zeta, threshold).guide(q.denoise, q.observation)(x_t, sigma)
        return (((p.y - found @ p.h.mT) ** 2 / p.r)[:, sound]).sum(-1)

    clean, robust, plain = misfit(p, None), misfit(wrong, THRESHOLD), misfit(wrong, None)
    before = (((p.y - p.denoise(x_t, sigma) @ p.h.mT) ** 2 / p.r)[:, sound]).sum(-1)
    assert (robust < before).all() and (robust < clean + 0.5 * (before - clean)).all()
    assert (plain > robust).all()
    assert zeta is not None or (plain > 1e3 * before).all()


@pytest.mark.parametrize("name", ROBUST)
def test_clean_observations_give_the_gaussian_estimate(name):
    """All residuals are within a threshold of 8 deviations, so that the weights are 1."""
    p, x_t, sigma = problem(), states(3, 16), torch.tensor(1.5, dtype=DOUBLE)
    tight = CONVERGED if issubclass(GUIDANCE[name], SolverGuidance) else {}
    plain = GUIDANCE[name](**tight).guide(p.denoise, p.observation, p.covariance)(x_t, sigma)
    robust = GUIDANCE[name](**tight, huber=8.0).guide(p.denoise, p.observation, p.covariance)(x_t, sigma)
    torch.testing.assert_close(robust, plain, rtol=0, atol=1e-8)


@pytest.mark.parametrize("kind", [SDA, W2C])
def test_pulls_of_the_methods_without_a_solver_are_bounded(kind):
    x_t, sigma = states(2, 16), torch.tensor(0.5, dtype=DOUBLE)

    def pull(outlier: float, threshold: float | None) -> Tensor:
        p = problem(outlier)
        return kind(huber=threshold).guide(p.denoise, p.observation)(x_t, sigma) - p.denoise(x_t, sigma)

    torch.testing.assert_close(pull(1e3, THRESHOLD), pull(1e6, THRESHOLD))
    assert pull(1e6, None).abs().max() > 1e4 * pull(1e6, THRESHOLD).abs().max()


def test_samples_are_those_without_the_outlier():
    """The whole way through a sampler, everything observed three times: the plain mean is carried off."""
    p, draws = problem(), states(400, 16)
    p.h, p.r = p.unit.repeat(3, 1), torch.full((48,), 0.3, dtype=DOUBLE)
    p.y = p.h @ (torch.linalg.cholesky(p.p) @ states(1, 16)[0]) + p.r.sqrt() * states(1, 48)[0].clamp(-2, 2)
    wrong = replace(p)
    wrong.h, wrong.r, wrong.y = p.h, p.r, p.y.clone()
    wrong.y[20] += 1e3
    start = SCHEDULE(torch.ones(1)).item() * draws
    means = [
        LMS(32)(JacobianFree(huber=h).guide(q.denoise, q.observation, q.covariance), start, states, SCHEDULE).mean(0)
        for q, h in ((p, None), (wrong, THRESHOLD), (wrong, None))
    ]
    _, covariance = p.posterior(p.p, torch.zeros(1, 16, dtype=DOUBLE))
    deviation = covariance.diagonal().sqrt()
    assert ((means[1] - means[0]) / deviation).abs().max() < 1.5
    assert ((means[2] - means[0]) / deviation).abs().max() > 100


def test_members_do_not_know_of_each_other():
    p, x_t = problem(50.0), states(4, 16)
    kinds = (JacobianFree, MMPS, SDA, W2C, DPS, LatentOptimisation)
    for guidance in (kind(huber=2.0) for kind in kinds):
        together = guidance.guide(p.denoise, p.observation, p.covariance)(x_t, torch.tensor(0.7))
        for i in range(4):
            alone = guidance.guide(p.denoise, p.observation, p.covariance)(x_t[[i]], torch.tensor(0.7))
            torch.testing.assert_close(alone, together[[i]], rtol=1e-12, atol=1e-12)


def test_exact_observations_keep_their_weight():
    p = problem()
    p.r[2] = 0.0
    guided = JacobianFree(**CONVERGED, huber=0.5).guide(p.denoise, p.observation, p.covariance)
    found = guided(states(2, 16), torch.tensor(1.0, dtype=DOUBLE))
    torch.testing.assert_close((found @ p.h.mT)[:, 2], p.y[2].expand(2), rtol=0, atol=1e-6)


def test_weights_and_penalty():
    residual = torch.tensor([-4.0, -2.0, 0.0, 1.0, 8.0], dtype=DOUBLE, requires_grad=True)
    assert huber.weights(residual.detach(), 2.0).tolist() == [0.5, 1.0, 1.0, 1.0, 0.25]
    total = huber.penalty(residual, 2.0)
    assert total.tolist() == [6.0, 2.0, 0.0, 0.5, 14.0]
    (pull,) = torch.autograd.grad(total.sum(), residual)
    torch.testing.assert_close(pull, (huber.weights(residual, 2.0) * residual).detach())


def test_diagnostics_are_of_the_last_system():
    p = problem(10.0)
    guided = JacobianFree(huber=2.0).guide(p.denoise, p.observation, p.covariance)
    LMS(4)(guided, 100 * states(3, 16), states, SCHEDULE)
    assert torch.stack(guided.residual).shape == torch.stack(guided.iterations).shape == (4, 3)
    assert torch.stack(guided.residual).max() <= 0.1


@pytest.mark.parametrize("kind", [MMPS, JacobianFree, SDA, W2C, DPS, LatentOptimisation])
def test_wrong_thresholds_are_refused(kind):
    with pytest.raises(OptionError, match=rf"{kind.__name__}: huber=-1.*expected None or a number above [01]"):
        kind(huber=-1.0)


def test_thresholds_within_what_errors_explain_are_refused():
    for kind in (DPS, LatentOptimisation):
        with pytest.raises(OptionError, match="huber=0.9, expected None or a number above 1"):
            kind(huber=0.9)
    assert DPS(0.1, 0.9).huber == LatentOptimisation(discrepancy=None, huber=0.9).huber == 0.9


def test_painting_over_knows_no_threshold():
    with pytest.raises(OptionError, match=r"RePaint: huber=2.5, and .*painted over.*use another guidance"):
        RePaint(huber=THRESHOLD)  # type: ignore[arg-type]


def test_observations_of_each_member_are_weighed_each():
    p, x_t, sigma = problem(), states(2, 16), torch.tensor(1.0, dtype=DOUBLE)
    y = torch.stack([p.y, problem(100.0).y])
    observation = Observation(y, p.observation.operator, p.r)
    both = KINDS[1].guide(p.denoise, observation, p.covariance)
    both(x_t, sigma)
    alone = KINDS[1].guide(p.denoise, replace(observation, y=y[1]), p.covariance)
    alone(x_t[[1]], sigma)
    torch.testing.assert_close(both(x_t, sigma)[[1]], alone(x_t[[1]], sigma))
