"""azula, the diffusion library of Appa's authors, as an independent oracle for the parts it has.

It is no dependency of the tests: it asks for torchvision, which it does not need here. ``pip install --no-deps azula
einops`` makes it importable.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.exactness import DOUBLE, Linear
from xappa.diffusion.conjugate_gradients import conjugate_gradients
from xappa.diffusion.gmres import gmres
from xappa.diffusion.guidance import DPS, MMPS, JacobianFree, Observation, RePaint
from xappa.diffusion.samplers import DDIM, DDPM, DPM, LMS, PC
from xappa.diffusion.schedule import LogLinear

azula = pytest.importorskip("azula", reason="azula 0.11 is not importable (pip install --no-deps azula einops)")
covariances = pytest.importorskip("azula.linalg.covariance")
denoise = pytest.importorskip("azula.denoise")
solve = pytest.importorskip("azula.linalg.solve")
noise = pytest.importorskip("azula.noise")
sample = pytest.importorskip("azula.sample")
theirs = pytest.importorskip("azula.guidance")

LOW, HIGH, SIZE, ROWS = 1e-2, 50.0, 6, 3
OURS, THEIRS = LogLinear(LOW, HIGH), noise.VESchedule(LOW, HIGH)
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def problem() -> Linear:
    i = torch.arange(SIZE, dtype=DOUBLE)
    p = torch.exp(-(i[:, None] - i).abs() / 2)
    return Linear(
        p, torch.eye(SIZE, dtype=DOUBLE)[::2], torch.tensor([0.05, 0.2, 0.4], dtype=DOUBLE), normal(3, seed=1)
    )


def denoiser():
    p = problem().p
    values, vectors = torch.linalg.eigh(p)
    full = covariances.FullCovariance(vectors, values)
    torch.testing.assert_close(full(torch.eye(SIZE, dtype=DOUBLE)), p)
    return denoise.GaussianDenoiser(torch.zeros(SIZE, dtype=DOUBLE), full, THEIRS)


def recorded(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Tensor]:
    """Draws that both libraries take in turn."""
    count = iter(range(10**6))
    monkeypatch.setattr(torch, "randn_like", lambda x, **kwargs: normal(*x.shape, seed=100 + next(count)).to(x))
    return lambda k: normal(ROWS, SIZE, seed=100 + k)


def test_levels_are_those_of_its_variance_exploding_schedule():
    t = torch.linspace(0, 1, 9, dtype=DOUBLE)
    alpha, sigma = THEIRS(t)
    assert alpha.tolist() == [1.0] * 9
    torch.testing.assert_close(OURS(t), sigma)


def test_the_gaussian_denoiser():
    x_t, level = normal(ROWS, SIZE), torch.tensor(0.4, dtype=DOUBLE)
    torch.testing.assert_close(problem().denoise(x_t, OURS(level)), denoiser()(x_t, level).mean, **CLOSE)


@pytest.mark.parametrize(
    ("ours", "name", "options"),
    [
        (DDPM(12), "DDPMSampler", {}),
        (DDIM(12), "DDIMSampler", {}),
        (LMS(12, 1), "zABSampler", {"order": 1}),
        (LMS(12, 2), "zABSampler", {"order": 2}),
        (LMS(12, 3), "zABSampler", {"order": 3}),
    ],
    ids=repr,
)
def test_samplers(monkeypatch, ours, name, options):
    draw = recorded(monkeypatch)
    start = HIGH * normal(ROWS, SIZE, seed=7)
    expected = getattr(sample, name)(denoiser(), steps=12, silent=True, dtype=DOUBLE, **options)(start)
    torch.testing.assert_close(ours(problem().denoise, start, draw, OURS), expected, **CLOSE)


def test_the_corrector_without_its_predictor_is_langevin(monkeypatch):
    """Its predictor is stochastic and ours is not: one corrector each, at the first level, is what can be compared."""
    draw = recorded(monkeypatch)
    x, delta = HIGH * normal(ROWS, SIZE, seed=7), 0.1
    sigma = torch.tensor(HIGH, dtype=DOUBLE)
    estimate = denoiser()(x, torch.tensor(1.0, dtype=DOUBLE)).mean
    corrected = x + delta * (estimate - x) + math.sqrt(2 * delta) * sigma * draw(0)
    after = denoiser()(corrected, torch.tensor(1.0, dtype=DOUBLE)).mean
    low = torch.tensor(LOW, dtype=DOUBLE)
    expected = after + low / sigma * (corrected - after)
    torch.testing.assert_close(PC(1, 1, delta)(problem().denoise, x, draw, OURS), expected, **CLOSE)


def test_few_step_solvers_meet():
    """Its exponential Adams-Bashforth and our DPM-Solver++ differ in the third order of the step."""
    start = HIGH * normal(ROWS, SIZE, seed=7)

    def gap(steps: int) -> float:
        expected = sample.xEABSampler(denoiser(), order=2, steps=steps, silent=True, dtype=DOUBLE)(start)
        found = DPM(steps)(problem().denoise, start, lambda k: start, OURS)
        return float((found - expected).abs().max())

    assert gap(128) < 0.3 * gap(64) < 0.1 * gap(32)


@pytest.mark.parametrize("iterations", [1, 2, 4])
@pytest.mark.parametrize("name", ["gmres", "cg"])
def test_solvers(name, iterations):
    root = normal(5, 8, 8)
    matrix = root @ root.mT + torch.eye(8, dtype=DOUBLE)
    b = normal(5, 8, seed=2)
    ours = {"gmres": gmres, "cg": conjugate_gradients}[name]

    def matvec(v: Tensor) -> Tensor:
        return (matrix @ v[..., None])[..., 0]

    found = ours(matvec, b, iterations=iterations).x
    torch.testing.assert_close(found, getattr(solve, name)(matvec, b, iterations=iterations), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("iterations", [1, 2, 3])
@pytest.mark.parametrize("solver", ["gmres", "cg"])
@pytest.mark.parametrize("free", [False, True], ids=["mmps", "jacobian-free"])
def test_moment_matching(free, solver, iterations):
    p, oracle = problem(), denoiser()
    options = {"tolerance": None, "warm_start": False, "whiten": False, "probes": 0, "solver": solver}
    guided = (JacobianFree if free else MMPS)(iterations, **options).guide(p.denoise, p.observation(), p.covariance)
    given = {"y": p.y, "A": lambda x: x @ p.h.mT, "cov_y": covariances.DiagonalCovariance(p.r), "solver": solver}
    if free:
        values, vectors = torch.linalg.eigh(p.p)
        expected = theirs.JFPSDenoiser(
            oracle, cov_x=covariances.FullCovariance(vectors, values), iterations=iterations, **given
        )
    else:
        expected = theirs.MMPSDenoiser(oracle, iterations=iterations, **given)
    x_t = normal(ROWS, SIZE)
    for t in (0.2, 0.5, 0.9):
        level = torch.tensor(t, dtype=DOUBLE)
        torch.testing.assert_close(guided(x_t, OURS(level)), expected(x_t, level).mean, **CLOSE)


def test_posterior_sampling_with_a_given_step(monkeypatch):
    """Its step moves by zeta; ours moves the estimate, of which a DDPM step takes the share tau."""
    recorded(monkeypatch)
    p, steps = problem(), 24
    tau = 1 - (LOW / HIGH) ** (2 / steps)
    start = HIGH * normal(1, SIZE, seed=7)
    expected = theirs.DPSSampler(
        denoiser(), y=p.y, A=lambda x: x @ p.h.mT, zeta=0.05, steps=steps, silent=True, dtype=DOUBLE
    )(start)
    plain = Observation(p.y, lambda x: x @ p.h.mT, torch.ones(3, dtype=DOUBLE))
    guided = DPS(0.05 / tau).guide(p.denoise, plain)
    found = DDPM(steps)(guided, start, lambda k: normal(1, SIZE, seed=100 + k), OURS)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_painting_over_gives_the_same_distribution():
    """Exact observations of single numbers: mean and spread of the rest, with one pass at every level."""
    p, mask = problem(), torch.zeros(SIZE, dtype=torch.bool)
    mask[::2] = True
    values = torch.zeros(SIZE, dtype=DOUBLE).masked_scatter(mask, p.y)
    rows = 1500
    start = HIGH * normal(rows, SIZE, seed=7)
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    expected = theirs.RePaintSampler(
        denoiser(), y=values.expand(rows, -1), mask=mask, iterations=1, eta=1.0, steps=64, silent=True, dtype=DOUBLE
    )(start)
    torch.random.set_rng_state(state)
    exact = Observation(p.y, lambda x: x @ p.h.mT, torch.zeros(3, dtype=DOUBLE))
    found = DDPM(64)(RePaint().guide(p.denoise, exact), start, lambda k: normal(rows, SIZE, seed=200 + k), OURS)
    standard = (found.var(0) / rows).sqrt()
    assert ((found - expected).mean(0).abs() < 6 * standard + 2 * LOW / rows**0.5).all()
    torch.testing.assert_close(found.var(0)[1::2], expected.var(0)[1::2], rtol=0.15, atol=0)
