"""Backgrounds, initial states and forecasts against closed forms: a prior that is Gaussian, and known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given as over
from hypothesis import strategies as st

from xappa.background import LatentObservation, WarmStart, count_lead_steps
from xappa.diffusion.gaussian import GaussianDenoiser
from xappa.diffusion.guidance import JacobianFree, Observation
from xappa.diffusion.guidance.covariance import InflatedCovariance, SequenceCovariance, apply_covariance
from xappa.diffusion.joint import join_observations
from xappa.diffusion.latent_covariance import LatentCovariance, estimate_covariance, make_stationary, normalise_power
from xappa.diffusion.noise import draw_member_noise
from xappa.diffusion.samplers import LMS
from xappa.diffusion.schedule import Rectified, Truncated
from xappa.errors import DatasetError, OptionError
from xappa.model.directory import read_model
from xappa.sampling import forecast_differences, sampling_tasks
from xappa.sampling.background_terms import CONTEXT, make_background_terms
from xappa.sampling.spec import Autoregressive, FixedState, SamplingSpec

STEP = np.timedelta64(6, "h")
FIRST = np.datetime64("2001-03-13T00", "s")


@pytest.fixture(scope="module")
def gaussian(tiny_model):
    """The tiny model without its network, so that its prior is Gaussian; with its folder and dense covariance."""
    folder, model = tiny_model, read_model(tiny_model)
    model.denoiser = GaussianDenoiser(model.denoiser.prior, None)
    shape = (model.spec.window, *model.latent_shape)
    size = int(np.prod(shape))
    dense = model.denoiser.prior.apply_function(torch.eye(size).view(size, *shape), lambda p: p).reshape(size, size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling_tasks, "load_model", lambda plan: model)
        yield folder, model, ((dense + dense.T) / 2).double().numpy()


def plan_of(folder, model, **changes) -> SamplingSpec:
    options = dict(
        model=str(folder), digest=model.digest, device="cpu", times=FIRST + STEP * np.arange(model.spec.window),
        stencil=None, guidance=JacobianFree(iterations=60, tolerance=1e-2), sampler=LMS(steps=20),
        stitching="symmetrical", seed=5, dress=False,
    )  # fmt: skip
    return SamplingSpec(**{**options, **changes})


def prior_states(model, count: int, seed: int = 9) -> np.ndarray:
    noise = draw_member_noise(seed, range(count), range(model.spec.window), model.latent_shape)
    return model.denoiser.prior.sample(noise).numpy()


def compare(found: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> None:
    """Members (member, ...) against a Gaussian: its mean to within 4 standard errors, its variance to 5 %."""
    error = (found.mean(0) - mean) / np.sqrt(variance)
    assert np.sqrt(np.square(error).mean()) < 4 / np.sqrt(len(found))
    assert 0.95 < (found.var(0, ddof=1) / variance).mean() < 1.05


def test_a_background_as_an_observation_gives_the_exact_posterior(gaussian) -> None:
    folder, model, p = gaussian
    states = 0.5 * prior_states(model, 6)[:, :2]
    use = LatentObservation(covariance="ensemble", times="all")
    plan = plan_of(folder, model, fixed_states=(FixedState((0, 1), use, "a"),))
    known = make_background_terms(model, plan, range(1), [states])[0]
    assert known.spectrum is not None
    observation = known.make_observation(0, model.spec.window)
    r = (observation.variance @ torch.eye(len(observation.y))).double().numpy()
    n = len(observation.y)
    gain = p[:, :n] @ np.linalg.inv(p[:n, :n] + r)
    mean, covariance = gain @ observation.y.double().numpy(), p - gain @ p[:n]
    found = sampling_tasks._sample(plan, tuple(range(200)), None, [states]).latents.reshape(200, -1)
    compare(found, mean, covariance.diagonal())
    # Without the correlations of its errors the background would count for more, or less.
    independent = p[:, :n] @ np.linalg.inv(p[:n, :n] + np.diag(r.diagonal())) @ observation.y.double().numpy()
    assert np.square(found.mean(0) - mean).mean() < np.square(found.mean(0) - independent).mean()


def test_a_warm_start_leaves_the_variance_that_its_noise_level_says(gaussian) -> None:
    folder, model, _ = gaussian
    background = prior_states(model, 1)
    plan = plan_of(folder, model, fixed_states=(FixedState((0, 1, 2, 3), WarmStart(sigma=0.7), "b"),))
    found = sampling_tasks._sample(plan, tuple(range(400)), None, [background]).latents
    prior, z = model.denoiser.prior, torch.from_numpy(background)
    mean = prior.apply_function(z, lambda v: (v / (v + 0.49)).sqrt())[0].numpy()
    unit = torch.eye(z.numel()).view(z.numel(), *z.shape[1:])
    variance = prior.apply_function(unit, lambda v: 0.49 * v / (v + 0.49)).reshape(z.numel(), -1).diagonal().numpy()
    compare(found.reshape(400, -1), mean.reshape(-1), variance)


def test_the_noise_level_follows_from_the_error(gaussian) -> None:
    folder, model, _ = gaussian
    ensemble = prior_states(model, 8)
    level = sampling_tasks.make_warm_start(
        model,
        plan_of(folder, model, fixed_states=(FixedState((0, 1, 2, 3), WarmStart(error=0.6), "c"),)),
        range(2),
        [ensemble],
    )[1]
    assert level**2 / (1 + level**2) == pytest.approx(0.36)
    plan = plan_of(folder, model, fixed_states=(FixedState((0, 1, 2, 3), WarmStart(), "c"),))
    start, level = sampling_tasks.make_warm_start(model, plan, range(9), [0.3 * ensemble])
    spread = float(0.3 * np.sqrt(ensemble.var(0, ddof=1).mean()))
    assert level**2 / (1 + level**2) == pytest.approx(spread**2, rel=1e-3)
    torch.testing.assert_close(start[8], start[0])


def test_differences_of_forecasts_have_the_variance_that_the_prior_gives(gaussian) -> None:
    _, model, p = gaussian
    lead, half, size = 2, 1, int(np.prod(model.latent_shape))
    found = forecast_differences._compute_differences(model, np.datetime64("2001-03"), lead, 24)
    assert found.shape == (24, 2, *model.latent_shape)

    def block(i: int, j: int) -> np.ndarray:
        return p[i * size : (i + 1) * size, j * size : (j + 1) * size]

    def gain(i: int) -> np.ndarray:
        return block(lead, i) @ np.linalg.inv(block(i, i) + forecast_differences.KNOWN**2 * np.eye(size))

    long, short = gain(0), gain(half)
    cross = long @ block(0, half) @ short.T
    expected = long @ block(0, 0) @ long.T + short @ block(half, half) @ short.T - cross - cross.T
    expected += 2 * block(lead, lead) - long @ block(0, lead) - short @ block(half, lead)
    assert np.square(found[:, 0]).mean() == pytest.approx(np.trace(expected) / size, rel=0.12)


def test_a_rolled_forecast_goes_on_as_the_prior_says(gaussian) -> None:
    folder, model, p = gaussian
    size = int(np.prod(model.latent_shape))
    truth = prior_states(model, 1)[:, :2]
    use = LatentObservation(covariance="autoencoder", times="all", each=True)
    plan = plan_of(
        folder,
        model,
        times=FIRST + STEP * np.arange(6),
        fixed_states=(FixedState((0, 1), use, "d"),),
        autoregressive=Autoregressive(4, 2),
    )
    found = sampling_tasks._sample(plan, tuple(range(80)), None, [truth]).latents
    assert found.shape[1] == 6
    known = make_background_terms(model, plan, range(1), [truth])[0].deviation[0].square().numpy().reshape(-1)

    def conditional(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n = 2 * size
        gain = p[:, :n] @ np.linalg.inv(p[:n, :n] + np.diag(r))
        return gain, p - gain @ p[:n]

    gain, first = conditional(np.tile(np.broadcast_to(known, (size,)), 2))
    mean = gain @ truth.reshape(-1)
    after, second = conditional(np.full(2 * size, CONTEXT**2))
    step = after[2 * size :]
    expected = step @ mean[2 * size :]
    variance = (second[2 * size :, 2 * size :] + step @ first[2 * size :, 2 * size :] @ step.T).diagonal()
    compare(found[:, 4:].reshape(80, -1), expected, variance)


def test_missing_states_are_refused_with_their_time(gaussian) -> None:
    folder, model, _ = gaussian
    states = prior_states(model, 1)[:, :2]
    states[0, 1, 0, 0, 0] = np.nan
    plan = plan_of(folder, model, fixed_states=(FixedState((0, 1), LatentObservation(covariance="autoencoder"), "e"),))
    with pytest.raises(DatasetError, match="1 of 2 states .* first at 2001-03-13T06:00"):
        sampling_tasks._sample(plan, (0,), None, [states])


@over(st.integers(1, 4), st.integers(1, 4), st.integers(2, 9), st.integers(1, 3), st.integers(0, 99))
def test_latent_covariance_is_a_covariance(frames, height, width, channels, seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    shape = (frames, height, width, channels)
    deviation = torch.rand(shape, generator=generator, dtype=torch.float64) + 0.2
    power = torch.rand(height, channels, width // 2 + 1, generator=generator, dtype=torch.float64) + 0.05
    walk = torch.randn(frames, 3 * frames, generator=generator, dtype=torch.float64)
    time = walk @ walk.mT / (3 * frames) + 0.1 * torch.eye(frames)
    time = time / (time.diagonal()[:, None] * time.diagonal()).sqrt()
    covariance = LatentCovariance(deviation, normalise_power(power, width), time)
    unit = torch.eye(deviation.numel(), dtype=torch.float64)
    r = covariance @ unit
    torch.testing.assert_close(r, r.mT)
    torch.testing.assert_close(r.diagonal(), covariance.variance)
    torch.testing.assert_close(covariance.solve(r), unit, atol=1e-7, rtol=1e-7)
    torch.testing.assert_close(covariance.whiten(covariance.whiten(r).mT), unit, atol=1e-6, rtol=1e-6)


def test_the_estimate_finds_the_covariance_of_its_sample() -> None:
    generator = torch.Generator().manual_seed(0)
    spectrum = normalise_power(torch.tensor([[[4.0, 2.0, 1.0, 0.5, 0.1]]]).expand(3, 2, 5), 8)
    time = torch.tensor([[1.0, 0.7], [0.7, 1.0]])
    deviation = torch.tensor([0.5, 2.0]).view(2, 1, 1, 1).expand(2, 3, 8, 2)
    truth = LatentCovariance(deviation, spectrum, time)
    white = torch.randn(400, truth.deviation.numel(), generator=generator)
    errors = (truth.deviation * truth.correlate(white)).view(400, 2, 3, 8, 2)
    found = estimate_covariance(errors, 0.0)
    torch.testing.assert_close(found[0], deviation, rtol=0.05, atol=0)
    torch.testing.assert_close(found[1], spectrum, rtol=0.15, atol=0.02)
    assert float(found[2][0, 1]) == pytest.approx(0.95 * 0.7, abs=0.02)
    longer = make_stationary(found[2], 4)
    assert torch.linalg.eigvalsh(longer).min() > 0
    assert longer.diagonal().tolist() == pytest.approx([1.0] * 4)


def test_joined_observations_are_the_observations_side_by_side() -> None:
    generator = torch.Generator().manual_seed(1)
    matrices = [torch.randn(m, 5, generator=generator, dtype=torch.float64) for m in (3, 4)]
    ys = [torch.randn(3, generator=generator, dtype=torch.float64), torch.randn(2, 4, generator=generator).double()]
    maps = [lambda x, a=a: x @ a.mT for a in matrices]
    variance = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)
    sequence = SequenceCovariance(torch.ones(4).double(), torch.zeros(4).int(), torch.arange(4).double())
    inflated = InflatedCovariance(sequence, torch.full((4,), 0.8).double())
    parts = [Observation(ys[0], maps[0], variance, maps[0]), Observation(ys[1], maps[1], inflated, maps[1])]
    joint = join_observations(parts)
    x = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    deviation = variance.sqrt()
    torch.testing.assert_close(joint.operator(x), torch.cat([x @ matrices[0].mT / deviation, x @ matrices[1].mT], 1))
    torch.testing.assert_close(joint.tangent(x), joint.operator(x))
    assert joint.y.shape == (2, 7)
    v = torch.randn(2, 7, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(apply_covariance(joint.variance, v), torch.cat([v[:, :3], inflated @ v[:, 3:]], 1))
    whole = dataclasses.replace(parts[1], linearise=lambda x: (_Matrix(matrices[1]), x @ matrices[1].mT), tangent=None)
    a, value = join_observations([parts[0], whole]).linearise(x)
    torch.testing.assert_close(value, joint.operator(x))
    torch.testing.assert_close(a.forward(x), joint.operator(x))
    torch.testing.assert_close((a.adjoint(v) * x).sum(), (a.forward(x) * v).sum())
    assert join_observations([]) is None
    assert join_observations(parts[:1]) is parts[0]


class _Matrix:
    def __init__(self, matrix: torch.Tensor) -> None:
        self.matrix = matrix

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        return v @ self.matrix.mT

    def adjoint(self, u: torch.Tensor) -> torch.Tensor:
        return u @ self.matrix


def test_a_truncated_schedule_starts_where_it_is_told() -> None:
    part = Truncated.below(Rectified(), 0.7)
    assert float(part(torch.ones(1))) == pytest.approx(0.7, rel=1e-4)
    assert float(part(torch.zeros(1))) == pytest.approx(1e-3, rel=1e-4)
    with pytest.raises(OptionError, match=r"sigma=2000; expected a noise level above 0.001 and up to 1000"):
        Truncated.below(Rectified(), 2000.0)


def test_wrong_options_are_all_named() -> None:
    with pytest.raises(OptionError, match=r"samples=1.*sigma=-1"):
        WarmStart(sigma=-1, samples=1)
    with pytest.raises(OptionError, match=r"WarmStart: fields='forecast.nc': expected 'ds' or a Dataset"):
        WarmStart("forecast.nc")
    with pytest.raises(OptionError, match=r"LatentObservation: fields=5: expected"):
        LatentObservation(5)
    with pytest.raises(OptionError, match=r"both sigma= and error="):
        WarmStart(sigma=1.0, error=0.5)
    with pytest.raises(OptionError, match=r"covariance='nmcc': expected one of 'auto'.*times='last'"):
        LatentObservation(covariance="nmcc", times="last")
    with pytest.raises(OptionError, match=r"lead='7h' .* multiple of the model's step of 6 h, from 12 h to 18 h"):
        count_lead_steps("7h", STEP, 4)
    assert [count_lead_steps(None, STEP, window) for window in (4, 8)] == [3, 4]
