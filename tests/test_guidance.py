"""Guidance against closed forms of Gaussian problems, exact derivatives and recorded outputs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from xappa.diffusion.guidance import GUIDANCE, MMPS, SDA, W2C, GuidedDenoiser, JacobianFree, Linearised, Observation
from xappa.diffusion.samplers import LMS, PC
from xappa.diffusion.schedule import LogLinear
from xappa.errors import OptionError

DOUBLE = torch.float64
SCHEDULE = LogLinear(1e-2, 100.0)
EXACT = MMPS(iterations=4, tolerance=None, warm_start=False)


@dataclass
class Gaussian:
    """x ~ N(0, P) with P_ij = exp(-|i - j| / 2); every second number is observed, with different errors."""

    size: int = 8

    def __post_init__(self) -> None:
        i = torch.arange(self.size, dtype=DOUBLE)
        self.p, self.unit = torch.exp(-(i[:, None] - i).abs() / 2), torch.eye(self.size, dtype=DOUBLE)
        self.h = self.unit[::2]
        self.r = torch.linspace(0.1, 0.4, len(self.h), dtype=DOUBLE)
        self.y = torch.tensor([0.3, -1.0, 1.5, 0.2], dtype=DOUBLE)[: len(self.h)]

    def denoise(self, x_t: Tensor, sigma: Tensor) -> Tensor:
        return x_t @ torch.linalg.solve(self.p + sigma**2 * self.unit, self.p)

    def covariance(self, v: Tensor, sigma: Tensor) -> Tensor:
        return sigma**2 * self.denoise(v, sigma)

    @property
    def observation(self) -> Observation:
        return Observation(self.y, lambda x: x @ self.h.mT, self.r)

    def posterior(self, p: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (B, d) and covariance of N(mean, p) given y."""
        gain = torch.linalg.solve(self.h @ p @ self.h.mT + torch.diag(self.r), self.h @ p).mT
        return mean + (self.y - mean @ self.h.mT) @ gain.mT, p - gain @ self.h @ p

    def guided_exactly(self, x_t: Tensor, sigma: Tensor) -> Tensor:
        """E[x | x_t, y]."""
        return self.posterior(self.covariance(self.unit, sigma), self.denoise(x_t, sigma))[0]


def states(rows: int, size: int = 8) -> Tensor:
    return torch.randn(rows, size, generator=torch.Generator().manual_seed(1), dtype=DOUBLE)


def posterior_sample(guidance, sampler, members: int = 4000) -> tuple[Tensor, Tensor]:
    """Mean, in standard errors, and variance of samples relative to the exact posterior: 0 and 1."""
    problem, draw = Gaussian(), torch.Generator().manual_seed(2)

    def noise(k: int) -> Tensor:
        return torch.randn(members, problem.size, generator=draw, dtype=DOUBLE)

    denoiser = guidance.guide(problem.denoise, problem.observation, problem.covariance)
    found = sampler(denoiser, SCHEDULE(torch.ones(1)).item() * noise(0), noise, SCHEDULE)
    mean, covariance = problem.posterior(problem.p, torch.zeros(1, problem.size, dtype=DOUBLE))
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), (found - mean).mT, upper=False).mT
    return white.mean(0) * members**0.5, white.var(0)


@pytest.mark.parametrize(("folder", "outputs"), [("guidance", 88), ("guidance_decoder", 44)])
def test_recorded_outputs_are_reproduced(shared, check_recorded, folder, outputs):
    rows = check_recorded(shared(f"fixtures/{folder}"))
    assert len(rows) == outputs
    assert [row for row in rows if not row.ok] == []


@pytest.mark.parametrize("guidance", [EXACT, JacobianFree(4, None, False), MMPS(8, 1e-10, True)], ids=repr)
@pytest.mark.parametrize("sigma", [0.03, 1.0, 50.0])
def test_moment_matching_is_exact_for_gaussians(guidance, sigma):
    problem, level = Gaussian(), torch.tensor(sigma, dtype=DOUBLE)
    guided = guidance.guide(problem.denoise, problem.observation, problem.covariance)
    for scale in (1.0, 1.1):  # the second call begins where the first ended
        x_t = scale * sigma * states(5)
        torch.testing.assert_close(guided(x_t, level), problem.guided_exactly(x_t, level), rtol=1e-7, atol=1e-7)


def test_jacobian_free_with_the_exact_covariance_is_moment_matching():
    problem, x_t = Gaussian(), states(20)
    given = problem.denoise, problem.observation, problem.covariance
    for sigma in torch.tensor([0.1, 1.0, 10.0]):
        first, second = (kind(2, None, False).guide(*given)(x_t, sigma) for kind in (MMPS, JacobianFree))
        torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-7)


def test_posterior_samples_have_the_posterior_moments():
    mean, variance = posterior_sample(EXACT, LMS(64))
    assert mean.abs().max() < 4
    assert 0.95 < variance.mean() < 1.05
    assert (variance - 1).abs().max() < 4 * (2 / 4000) ** 0.5


def test_posterior_of_the_probability_flow_without_sampling_error():
    """The flow is affine here, so that its images of 0 and of unit vectors are mean and factor of the covariance."""
    problem, start = Gaussian(), SCHEDULE(torch.ones(1)).item()
    rows = torch.cat([torch.zeros(1, 8, dtype=DOUBLE), start * problem.unit])
    guided = EXACT.guide(problem.denoise, problem.observation)
    origin, *images = LMS(128)(guided, rows, states, SCHEDULE).split([1] + [1] * 8)
    factor = torch.cat(images) - origin
    mean, covariance = problem.posterior(problem.p, torch.zeros(1, 8, dtype=DOUBLE))
    deviation = covariance.diagonal().sqrt()
    assert ((origin - mean) / deviation).abs().max() < 0.02
    root = torch.linalg.inv(torch.linalg.cholesky(covariance))
    ratios = torch.linalg.eigvalsh(root @ factor.mT @ factor @ root.mT)
    assert ratios.min() > 0.99 and ratios.max() < 1.02


@pytest.mark.parametrize("guidance", [MMPS.official(), MMPS(2, None, False), MMPS(2)], ids=repr)
@pytest.mark.parametrize("sampler", [LMS(32), PC(32)], ids=repr)
def test_few_iterations_keep_the_spread(guidance, sampler):
    _, variance = posterior_sample(guidance, sampler)
    assert 0.85 < variance.mean() < 1.05


@pytest.mark.parametrize("guidance", [MMPS(), JacobianFree()], ids=repr)
def test_tolerance_is_met_and_recorded_for_each_member(guidance):
    problem = Gaussian()
    guided = guidance.guide(problem.denoise, problem.observation, problem.covariance)
    LMS(16)(guided, 100 * states(5), states, SCHEDULE)
    assert guided.sigma == pytest.approx(SCHEDULE(torch.linspace(1, 0, 17))[:16].tolist())
    residual, iterations = torch.stack(guided.residual), torch.stack(guided.iterations)
    assert residual.shape == iterations.shape == (16, 5)
    assert residual.max() <= 0.1 and iterations.max() <= 4


def test_moment_matching_solves_with_the_stand_in_and_goes_back_by_the_operator_itself():
    problem, x_t, sigma = Gaussian(), states(3), torch.tensor(0.7, dtype=DOUBLE)
    curved = Observation(problem.y, lambda x: (x @ problem.h.mT) ** 3, problem.r)
    stand_in = replace(curved, tangent=problem.observation.operator)
    x_hat, covariance = problem.denoise(x_t, sigma), problem.covariance(problem.unit, sigma)
    system = problem.h @ covariance @ problem.h.mT + torch.diag(problem.r)
    g = torch.linalg.solve(system, (problem.y - curved.operator(x_hat)).mT).mT
    exact = x_hat + (3 * (x_hat @ problem.h.mT) ** 2 * g) @ problem.h @ covariance
    given = replace(curved, linearise=lambda x: (Linearised(problem.observation.operator, x), curved.operator(x)))
    for observation in (stand_in, given):
        torch.testing.assert_close(EXACT.guide(problem.denoise, observation)(x_t, sigma), exact)
    own, told = EXACT.guide(problem.denoise, curved)(x_t, sigma), replace(EXACT, tangent=False)
    assert not torch.allclose(exact, own)
    torch.testing.assert_close(told.guide(problem.denoise, stand_in)(x_t, sigma), own)


def test_a_warm_start_saves_iterations():
    problem, counts = Gaussian(), []
    for warm in (False, True):
        guided = MMPS(8, 0.01, warm).guide(problem.denoise, problem.observation)
        assert isinstance(guided, GuidedDenoiser)
        LMS(32)(guided, 100 * states(5), states, SCHEDULE)
        counts.append(torch.stack(guided.iterations).sum())
    assert counts[1] < 0.8 * counts[0]


def test_members_do_not_know_of_each_other():
    problem, x_t = Gaussian(), states(4)
    for kind in (MMPS, JacobianFree, SDA, W2C):
        together = kind().guide(problem.denoise, problem.observation, problem.covariance)(x_t, torch.tensor(0.7))
        for i in range(4):
            alone = kind().guide(problem.denoise, problem.observation, problem.covariance)(x_t[[i]], torch.tensor(0.7))
            torch.testing.assert_close(alone, together[[i]], rtol=1e-12, atol=1e-12)


def test_observations_of_each_member():
    problem, x_t, sigma = Gaussian(), states(3), torch.tensor(0.7)
    y = torch.stack([problem.y, -problem.y, 2 * problem.y])
    together = EXACT.guide(problem.denoise, replace(problem.observation, y=y))(x_t, sigma)
    for i in range(3):
        alone = EXACT.guide(problem.denoise, replace(problem.observation, y=y[i]))(x_t[[i]], sigma)
        torch.testing.assert_close(alone, together[[i]])


@pytest.mark.parametrize("kind", [SDA, W2C])
def test_isotropic_methods_are_exact_for_white_noise(kind):
    """With P = I and all observed, the variance sigma^2 / (1 + sigma^2) is no approximation."""
    problem, sigma, x_t = Gaussian(), torch.tensor(0.6, dtype=DOUBLE), states(3)
    problem.p = problem.h = problem.unit
    problem.r, problem.y = torch.full((8,), 0.3, dtype=DOUBLE), states(1)[0]
    guided = kind().guide(problem.denoise, problem.observation)
    torch.testing.assert_close(guided(x_t, sigma), problem.guided_exactly(x_t, sigma))
    assert guided.sigma == [pytest.approx(0.6)] and guided.residual == []


def test_without_tweedie_the_covariance_in_the_system_is_isotropic():
    problem, sigma, x_t = Gaussian(), torch.tensor(0.6, dtype=DOUBLE), states(3)
    problem.p = problem.unit
    guided = replace(EXACT, tweedie=False).guide(problem.denoise, problem.observation)
    torch.testing.assert_close(guided(x_t, sigma), problem.guided_exactly(x_t, sigma))


def test_exact_observations_are_met():
    problem = Gaussian()
    problem.r = torch.tensor([0.0, 0.1, 0.0, 0.2], dtype=DOUBLE)
    guided = replace(EXACT, whiten=True, probes=0).guide(problem.denoise, problem.observation)
    x_hat = guided(states(3), torch.tensor(0.5, dtype=DOUBLE))
    torch.testing.assert_close((x_hat @ problem.h.mT)[:, ::2], problem.y[::2].expand(3, 2))


def test_whitening_divides_by_the_error():
    problem = Gaussian()
    problem.r[0] = 0
    white = problem.observation.whiten()
    deviation = problem.r.sqrt()
    deviation[0] = 1
    x = states(2)
    torch.testing.assert_close(white.y * deviation, problem.y)
    torch.testing.assert_close(white.operator(x) * deviation, problem.observation.operator(x))
    assert white.variance.tolist() == [0, 1, 1, 1]


def test_whitening_pays_where_errors_exceed_what_the_prior_leaves():
    problem, x_t, sigma = Gaussian(), states(50), torch.tensor(0.05, dtype=DOUBLE)
    problem.r = torch.logspace(-2, 1, 4, dtype=DOUBLE)
    exact = problem.guided_exactly(x_t, sigma)
    two = replace(EXACT, iterations=2, probes=0)
    plain, white = (
        (replace(two, whiten=w).guide(problem.denoise, problem.observation)(x_t, sigma) - exact).norm()
        for w in (False, True)
    )
    assert white < 0.01 * plain


@pytest.mark.parametrize("name", GUIDANCE)
def test_without_observations_the_denoiser_is_the_plain_one(name):
    problem = Gaussian()
    nothing = Observation(torch.empty(0), lambda x: x[:, :0], torch.empty(0))
    assert GUIDANCE[name]().guide(problem.denoise, None) == problem.denoise
    assert GUIDANCE[name]().guide(problem.denoise, nothing) == problem.denoise


def test_outputs_carry_no_graph_and_inputs_are_left_alone():
    problem, x_t = Gaussian(), states(2)
    for name in GUIDANCE:
        guided = GUIDANCE[name]().guide(problem.denoise, problem.observation, problem.covariance)
        with torch.no_grad():
            assert not guided(x_t, torch.tensor(0.5)).requires_grad
        assert not guided(x_t, torch.tensor(0.5)).requires_grad and not x_t.requires_grad


def test_jacobian_free_says_what_to_do_without_a_prior():
    problem = Gaussian()
    with pytest.raises(OptionError, match="this model has none; use 'mmps'"):
        JacobianFree().guide(problem.denoise, problem.observation)


def test_wrong_options_are_named_together():
    with pytest.raises(OptionError, match=r"MMPS: iterations=0.*tolerance=2"):
        MMPS(iterations=0, tolerance=2.0)
    with pytest.raises(OptionError, match="gamma=-1"):
        SDA(gamma=-1)


class SmallDecoder(nn.Module):
    """All that decoders are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.inner = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.leave = nn.Conv2d(8, 8, 1)
        self.linear = nn.ConvTranspose2d(3, 2, 2, stride=2)

    def forward(self, z: Tensor) -> Tensor:
        y = self.enter(z)
        y = y + self.inner(nn.functional.silu(nn.functional.layer_norm(y.movedim(1, -1), (8,)).movedim(-1, 1)))
        return nn.functional.pixel_shuffle(self.leave(y), 2) + self.linear(z)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_products_with_the_jacobian_are_those_of_forward_mode():
    torch.manual_seed(0)
    decoder = SmallDecoder().double().requires_grad_(False)
    z, v = (torch.randn(4, 3, 5, 6, dtype=DOUBLE) for _ in range(2))

    def observe(x: Tensor) -> Tensor:
        return decoder(x).flatten(1)[:, ::7].square()

    function = Linearised(observe, z)
    value, expected = torch.func.jvp(observe, (z,), (v,))[:2]
    torch.testing.assert_close(function.value, value)
    torch.testing.assert_close(function.forward(v), expected)
    torch.testing.assert_close(function.forward(2 * v), 2 * expected)
    u = torch.randn_like(value)
    torch.testing.assert_close((u * expected).sum(), (function.adjoint(u) * v).sum())
