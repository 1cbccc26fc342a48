"""Each guidance with each sampler, and what is particular to the methods that `test_guidance` does not know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.exactness import DOUBLE, Linear, draws, run
from tests.test_guidance import Gaussian, states
from xappa.diffusion.conjugate_gradients import conjugate_gradients
from xappa.diffusion.gmres import gmres
from xappa.diffusion.guidance import (
    DPS,
    GUIDANCE,
    MMPS,
    InflatedCovariance,
    JacobianFree,
    LatentOptimisation,
    Observation,
    RePaint,
    SequenceCovariance,
)
from xappa.diffusion.guidance.latent_optimisation import OPTIMISERS
from xappa.diffusion.samplers import SAMPLERS
from xappa.diffusion.schedule import LogLinear
from xappa.errors import OptionError, choose

SIZE, ROWS = 6, 400
STEPS = 64
# Largest error of the mean in posterior deviations, and the range of the ratio of variances: of methods that are exact
# on this problem, and of those that are known not to be.
EXACT = (0.2, 0.75, 1.25)
WITHIN = {"dps": (1.0, 0.2, 1.3), "repaint": (1.0, 0.8, 1.9), "latent-optimisation": (0.6, 0.6, 1.6)}
# By default it goes down 16 levels in one step of first order, which loses half of the variance.
SAMPLER_OPTIONS = {"rewind": {"depth": 4}}


def white() -> Linear:
    """A prior of unit variance of which every number is observed: isotropic methods are exact."""
    unit = torch.eye(SIZE, dtype=DOUBLE)
    y = torch.tensor([0.5, -0.4, 0.8, -0.9, 0.2, 0.6], dtype=DOUBLE)
    return Linear(unit, unit, torch.full((SIZE,), 0.5, dtype=DOUBLE), y)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("guidance", GUIDANCE)
def test_each_with_each(guidance, sampler):
    options = {"iterations": 20} if guidance == "latent-optimisation" else {}
    p = white()
    guided = p.guided(GUIDANCE[guidance](**options))
    found = run(
        SAMPLERS[sampler](steps=STEPS, **SAMPLER_OPTIONS.get(sampler, {})),
        guided,
        draws(ROWS, SIZE, 3),
        LogLinear(1e-2, 30.0),
    )
    mean, covariance = p.posterior()
    error = ((found.mean(0) - mean) / covariance.diagonal().sqrt()).abs().max()
    ratio = (found.var(0) / covariance.diagonal()).mean()
    largest, low, high = WITHIN.get(guidance, EXACT)
    assert error < largest
    assert low < ratio < high


def test_a_wrong_name_is_answered_with_the_valid_ones():
    with pytest.raises(
        OptionError, match=r"Unknown guidance 'latent-optimization'.*did you mean 'latent-optimisation'"
    ):
        choose("guidance", "latent-optimization", GUIDANCE)
    with pytest.raises(
        OptionError, match=rf"Unknown sampler 'dpm\+\+'.*{', '.join(map(repr, SAMPLERS))}; did you mean"
    ):
        choose("sampler", "dpm++", SAMPLERS)


@pytest.mark.parametrize("tolerance", [None, 1e-9])
@pytest.mark.parametrize("guess", [False, True])
def test_conjugate_gradients_solve_as_gmres_does(guess, tolerance):
    draw = torch.Generator().manual_seed(0)
    root = torch.randn(4, 9, 9, generator=draw, dtype=DOUBLE)
    matrix = root @ root.mT / 9 + torch.eye(9, dtype=DOUBLE)
    b, x0 = torch.randn(2, 4, 9, generator=draw, dtype=DOUBLE)
    b[2] = 0

    def matvec(v: Tensor) -> Tensor:
        return (matrix * v[:, None]).sum(-1)

    x0 = x0 if guess else None
    first, second = (solve(matvec, b, x0, iterations=9, tolerance=tolerance) for solve in (conjugate_gradients, gmres))
    torch.testing.assert_close(first.x, second.x, rtol=1e-6, atol=1e-6)
    solved = [0, 1, 3]  # a residual relative to nothing says nothing
    assert first.x.isfinite().all() and (first.residual[solved] < 1e-6).all()
    alone = conjugate_gradients(lambda v: (matrix[1:2] * v[:, None]).sum(-1), b[1:2], None, iterations=4)
    assert torch.equal(alone.x[0], conjugate_gradients(matvec, b, None, iterations=4).x[1])


def apart() -> Gaussian:
    """Observations whose errors differ a hundredfold."""
    problem = Gaussian()
    problem.r = torch.tensor([1e-4, 0.01, 0.25, 1.0], dtype=DOUBLE)
    return problem


@pytest.mark.parametrize("kind", [MMPS, JacobianFree])
@pytest.mark.parametrize("huber", [None, 2.0])
def test_units_of_a_system_do_not_change_its_solution(kind, huber):
    problem, sigma = apart(), torch.tensor(0.8, dtype=DOUBLE)
    given = problem.denoise, problem.observation, problem.covariance
    found = [kind(40, 1e-12, huber=huber, probes=n).guide(*given)(states(5), sigma) for n in (0, 5)]
    torch.testing.assert_close(found[1], found[0], rtol=1e-6, atol=1e-6)


def test_units_are_the_same_whatever_the_batch():
    problem, sigma = apart(), torch.tensor(0.8, dtype=DOUBLE)
    together = MMPS(2, None, False, probes=3).guide(problem.denoise, problem.observation)(states(4), sigma)
    for i in range(4):
        alone = MMPS(2, None, False, probes=3).guide(problem.denoise, problem.observation)(states(4)[[i]], sigma)
        torch.testing.assert_close(alone, together[[i]], rtol=1e-12, atol=1e-12)


def test_conjugate_gradients_stop_where_the_matrix_is_not_positive():
    matrix = torch.diag(torch.tensor([1.0, -2.0, 3.0], dtype=DOUBLE))
    found = conjugate_gradients(lambda v: v @ matrix, torch.ones(1, 3, dtype=DOUBLE), iterations=20)
    assert found.x.isfinite().all() and found.iterations.item() < 20


def test_conjugate_gradients_do_not_take_a_huber_norm():
    with pytest.raises(OptionError, match=r"solver='cg' with huber.*expected solver='gmres'"):
        MMPS(solver="cg", huber=2.0)
    with pytest.raises(OptionError, match="solver='lu', expected one of 'gmres', 'cg'"):
        JacobianFree(solver="lu")
    with pytest.raises(OptionError, match="MMPS: probes=-1, expected at least 0"):
        MMPS(probes=-1)


def test_replacement_of_single_numbers():
    """Each observed one becomes the mean given y and its own noisy value; the others are the denoiser's."""
    problem, x_t, sigma = Gaussian(), 2 * states(3), torch.tensor(0.7, dtype=DOUBLE)
    problem.r[2] = 0
    found = RePaint().guide(problem.denoise, problem.observation)(x_t, sigma)
    torch.testing.assert_close(found[:, 1::2], problem.denoise(x_t, sigma)[:, 1::2], rtol=1e-6, atol=1e-6)
    expected = (sigma**2 * problem.y + problem.r * x_t[:, ::2]) / (sigma**2 + problem.r)
    torch.testing.assert_close(found[:, ::2], expected, rtol=1e-2, atol=1e-2)
    tight = RePaint(tolerance=1e-10).guide(problem.denoise, problem.observation)(x_t, sigma)
    torch.testing.assert_close(tight[:, ::2], expected, rtol=1e-6, atol=1e-6)


def test_replacement_of_what_an_operator_sees():
    """The component along its rows forgets the prior, the rest keeps the denoiser's estimate; errors are correlated."""
    problem, x_t, sigma = Gaussian(), 2 * states(3), torch.tensor(0.7, dtype=DOUBLE)
    h = states(3)
    covariance = SequenceCovariance(
        torch.tensor([0.2, 0.5, 0.9], dtype=DOUBLE), torch.zeros(3, dtype=torch.int64), torch.arange(3.0).double()
    )
    observation = Observation(problem.y[:3], lambda x: x @ h.mT, covariance)
    found = RePaint(40, 1e-12).guide(problem.denoise, observation)(x_t, sigma)
    plain, r, gram = problem.denoise(x_t, sigma), covariance @ torch.eye(3, dtype=DOUBLE), h @ h.mT
    projection = h.mT @ torch.linalg.solve(gram, h)
    kept = torch.eye(8, dtype=DOUBLE) - projection
    torch.testing.assert_close(found @ kept, plain @ kept, rtol=1e-8, atol=1e-8)
    seen = x_t @ h.mT
    gain = sigma**2 * gram @ torch.linalg.inv(r + sigma**2 * gram)
    torch.testing.assert_close(found @ h.mT, seen + (problem.y[:3] - seen) @ gain.mT, rtol=1e-6, atol=1e-6)


def test_repainting_uses_the_stand_in_for_the_derivative():
    problem, x_t, sigma = Gaussian(), states(2), torch.tensor(0.7, dtype=DOUBLE)
    curved = Observation(problem.y, lambda x: (x @ problem.h.mT) ** 3, problem.r)
    stand_in = replace(curved, tangent=lambda x: x @ problem.h.mT)
    found = RePaint().guide(problem.denoise, stand_in)(x_t, sigma)
    torch.testing.assert_close(found[:, 1::2], problem.denoise(x_t, sigma)[:, 1::2], rtol=1e-6, atol=1e-6)
    assert not torch.allclose(found, RePaint().guide(problem.denoise, curved)(x_t, sigma))


def test_the_chosen_length_brings_the_misfit_down_to_the_errors():
    problem, sigma = Gaussian(), torch.tensor(0.5, dtype=DOUBLE)
    x_t = 5 + states(4)

    def misfit(x: Tensor) -> Tensor:
        return ((problem.y - x @ problem.h.mT) ** 2 / problem.r).sum(-1) / 2

    plain = problem.denoise(x_t, sigma)
    found = DPS().guide(problem.denoise, problem.observation)(x_t, sigma)
    goal = len(problem.y) / 2
    assert (misfit(found) < misfit(plain)).all() and (misfit(found) > goal).all()
    exact = Observation(plain[:1] @ problem.h.mT, problem.observation.operator, problem.r)
    fits = DPS().guide(problem.denoise, exact)(x_t[:1], sigma)
    torch.testing.assert_close(fits, plain[:1])


@pytest.mark.parametrize("size", [1e-30, 1e-20, 0.0, -1e-6])
def test_a_derivative_of_nothing_or_of_the_wrong_sign_gives_no_step_beyond_reason(size):
    """In single precision, at a high noise level: a step along the gradient whatever its size, none if it is uphill."""
    problem, x_t = Gaussian(), states(3).float()
    observation = Observation(problem.y.float(), lambda x: x[:, ::2], problem.r.float())
    found = DPS().guide(lambda x, sigma: size * x + 1.0, observation)(x_t, torch.tensor(1e3))
    assert found.isfinite().all()
    before, after = (
        ((observation.y - z[:, ::2]) ** 2 / observation.variance).sum(-1) for z in (torch.ones(3, 8), found)
    )
    assert (after < 0.5 * before).all() if size > 0 else torch.equal(found, size * x_t + 1.0)


def test_the_published_length_does_not_depend_on_the_misfit():
    problem, sigma, x_t = Gaussian(), torch.tensor(0.5, dtype=DOUBLE), states(1)
    plain = problem.denoise(x_t, sigma)
    far, further = (
        DPS(0.1).guide(problem.denoise, replace(problem.observation, y=problem.y + by))(x_t, sigma) - plain
        for by in (1e4, 1e6)
    )
    torch.testing.assert_close(far, further, rtol=1e-3, atol=1e-6)
    twice = DPS(0.2).guide(problem.denoise, replace(problem.observation, y=problem.y + 1e4))(x_t, sigma) - plain
    torch.testing.assert_close(twice, 2 * far)


@pytest.mark.parametrize(
    ("optimiser", "rate", "iterations"),
    [("adam", 0.05, 400), ("sgd", 0.05, 400), ("lbfgs", None, 20), (torch.optim.LBFGS, None, 20), ("nadam", 0.05, 400)],
)
def test_optimisers_find_the_mode(optimiser, rate, iterations):
    problem, x_t, sigma = Gaussian(), states(3), torch.tensor(0.6, dtype=DOUBLE)
    options = LatentOptimisation(optimiser, rate, iterations, discrepancy=None)
    found = options.guide(problem.denoise, problem.observation)(x_t, sigma)
    isotropic = sigma**2 / (1 + sigma**2) * problem.unit
    expected, _ = problem.posterior(isotropic, problem.denoise(x_t, sigma))
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-3)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_takes_fields_and_finds_its_way_down(name):
    x_t, sigma = states(4, 24).view(4, 2, 3, 2, 2), torch.tensor(0.8, dtype=DOUBLE)
    y = torch.linspace(-2, 2, 24, dtype=DOUBLE)
    observation = Observation(y, lambda x: x.flatten(1), torch.full((24,), 0.2, dtype=DOUBLE))
    found = LatentOptimisation(name, iterations=20, discrepancy=None).guide(lambda x, s: 0.5 * x, observation)(
        x_t, sigma
    )
    before, after = (((y - x.flatten(1)) ** 2).sum(-1) for x in (0.5 * x_t, found))
    assert (after < before).all()


def test_optimisation_stops_at_the_errors_for_each_member_by_itself():
    """One that fits takes no step, one that can fit stops where it does, one that cannot goes on to the mode."""
    problem, sigma = Gaussian(), torch.tensor(2.0, dtype=DOUBLE)
    fits = torch.linalg.pinv(problem.denoise(problem.unit, sigma)[:, ::2].mT) @ problem.y
    x_t = torch.stack([fits, fits + 3, fits + 30])
    options = LatentOptimisation(iterations=200, learning_rate=0.05)
    guided = options.guide(problem.denoise, problem.observation)
    found = guided(x_t, sigma)
    plain = problem.denoise(x_t, sigma)
    before, after = (((problem.y - z @ problem.h.mT) ** 2 / problem.r).sum(-1) / 2 for z in (plain, found))
    goal = len(problem.y) / 2
    assert before[0] < goal < before[1] and after[1] <= goal < after[2]
    used = guided.iterations[0]
    assert used[0] == 0 < used[1] < used[2] == 200
    assert torch.equal(found[0], plain[0])
    for i in range(3):
        alone = options.guide(problem.denoise, problem.observation)(x_t[i : i + 1], sigma)
        torch.testing.assert_close(alone[0], found[i], rtol=1e-10, atol=1e-10)


def test_optimisation_begins_below_a_level_and_skips_calls():
    problem, x_t = Gaussian(), states(2)
    guided = LatentOptimisation(below=1.0, every=2).guide(problem.denoise, problem.observation)
    changed = []
    for level in (5.0, 0.9, 0.8, 0.7, 0.6):
        sigma = torch.tensor(level, dtype=DOUBLE)
        changed.append(not torch.equal(guided(x_t, sigma), problem.denoise(x_t, sigma)))
    assert changed == [False, True, False, True, False]


def test_a_floor_fits_the_clean_state():
    problem, sigma = Gaussian(), torch.tensor(1e-3, dtype=DOUBLE)
    x = 2 + states(2)
    tied, free = (
        LatentOptimisation(floor=floor).guide(problem.denoise, problem.observation)(x, sigma) for floor in (0.0, 0.3)
    )
    before, after, fitted = (
        ((problem.y - z @ problem.h.mT) ** 2 / problem.r).sum(-1) for z in (problem.denoise(x, sigma), tied, free)
    )
    assert (after > 0.9 * before).all() and (fitted < 0.6 * before).all()


def test_perturbed_observations_have_the_covariance_of_the_errors():
    sequence = SequenceCovariance(
        torch.tensor([0.5, 1.0, 2.0], dtype=DOUBLE), torch.zeros(3, dtype=torch.int64), torch.arange(3.0).double()
    )
    inflated = InflatedCovariance(sequence, torch.tensor([0.3, 0.6, 0.9], dtype=DOUBLE))
    diagonal = torch.tensor([0.1, 1.0, 0.0], dtype=DOUBLE)
    for variance in (sequence, inflated, diagonal):
        observation = Observation(torch.zeros(3, dtype=DOUBLE), lambda x: x, variance, noise=draws(40_000, 3, 1))
        errors = observation.perturb().y
        expected = torch.diag(variance) if isinstance(variance, Tensor) else variance @ torch.eye(3, dtype=DOUBLE)
        torch.testing.assert_close(errors.mT @ errors / len(errors), expected, rtol=0.05, atol=0.05)


def test_what_a_method_cannot_take_is_refused():
    problem = Gaussian()
    nothing = replace(problem.observation, noise=None)
    with pytest.raises(OptionError, match="there is no noise for it"):
        LatentOptimisation(perturb_observations=True).guide(problem.denoise, nothing)
    exact = replace(nothing, variance=torch.tensor([0.0, 1, 1, 1], dtype=DOUBLE))
    inflated = InflatedCovariance(
        SequenceCovariance(torch.ones(4).double(), torch.zeros(4, dtype=torch.int64), torch.arange(4.0).double()),
        torch.full((4,), 0.5, dtype=DOUBLE),
    )
    for name in ("dps", "latent-optimisation"):
        with pytest.raises(OptionError, match=f"'{name}'.*some have an error of 0.*'repaint'"):
            GUIDANCE[name]().guide(problem.denoise, exact)
        with pytest.raises(OptionError, match=f"'{name}'.*sums of correlated"):
            GUIDANCE[name]().guide(problem.denoise, replace(nothing, variance=inflated))


def test_wrong_options_are_named_together():
    with pytest.raises(OptionError, match=r"optimiser='adma'.*did you mean.* 'adam'.*below=-1.*iterations=0.*floor=-2"):
        LatentOptimisation("adma", iterations=0, below=-1.0, floor=-2.0)
    with pytest.raises(OptionError, match=r"DPS: zeta=0.*expected None or a number above 0"):
        DPS(0.0)
    with pytest.raises(OptionError, match=r"RePaint: iterations=0.*tolerance=2"):
        RePaint(0, 2.0)
    with pytest.raises(
        OptionError, match=r"MMPS: iterations=1.5, expected a whole number; tolerance='x', expected a number or None"
    ):
        MMPS(iterations=1.5, tolerance="x")
    with pytest.raises(OptionError, match=r"DPS: zeta=True, expected a number or None"):
        DPS(zeta=True)
    with pytest.raises(OptionError, match=r"LMS: steps='4', expected a whole number; final=1, expected True or False"):
        SAMPLERS["lms"](steps="4", final=1)
    with pytest.raises(OptionError, match=r"optimiser=5, expected a name or a function"):
        LatentOptimisation(optimiser=5)
    MMPS(iterations=np.int64(3), tolerance=np.float32(0.5)), DPS(zeta=1)
    with pytest.raises(OptionError, match=r"DPM: spacing='linear', expected one of 'schedule', 'log'"):
        SAMPLERS["dpm"](spacing="linear")
