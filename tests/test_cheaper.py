"""What makes evaluations cheaper changes no number: linear maps, states read one by one, guidance of trajectories."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.benchmarks.reference import ReferenceDenoiser
from tests.test_sampling import plan_of
from xappa.diffusion.guidance import MMPS, JacobianFree, Linearised, Observation
from xappa.diffusion.guidance.linearised import LinearFunction
from xappa.diffusion.samplers import LMS
from xappa.errors import OptionError
from xappa.model.dates import to_date_tensor
from xappa.model.directory import read_model
from xappa.operators.forward.frames import FrameOperators
from xappa.operators.forward.linear import WhitenedOperator
from xappa.operators.sparse import SparseOperator
from xappa.sampling.latent_observations import observe_latents
from xappa.sampling.sampling_tasks import sample

SIGMA = torch.tensor(0.7)


def reports(model, times: np.ndarray, seed: int = 0, count: int = 40, points: int = 2) -> SparseOperator:
    """Weighted means of numbers at two times, near the climatology."""
    rng = np.random.default_rng(seed)
    _, height, width = model.spec.shape
    shape = (count, points)
    first = rng.integers(0, len(times), (count, 1))
    time = np.minimum(first + rng.integers(0, 2, shape), len(times) - 1)
    channel = np.zeros(shape, int) + rng.integers(0, 2, (count, 1))
    cell = rng.integers(0, height * width, shape)
    mean = model.climatology(times).reshape(len(times), model.spec.shape[0], -1)
    scale = model.scale.reshape(model.spec.shape[0], -1)
    weight = rng.uniform(0.2, 0.8, shape)
    value = (weight * (mean[time, channel, cell] + 0.5 * scale[channel, cell])).sum(1)
    return SparseOperator(
        time, channel, cell, weight, np.zeros(count), value, 0.3 * scale[channel, cell].mean(1), np.arange(count),
        np.zeros(count, int), ("value",),
    )  # fmt: skip


def test_a_linear_function_is_its_own_derivative():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(5, 12, generator=generator, dtype=torch.float64)
    point, v = torch.randn(2, 3, 12, generator=generator, dtype=torch.float64).unbind()
    u = torch.randn(3, 5, generator=generator, dtype=torch.float64)

    def function(x: torch.Tensor) -> torch.Tensor:
        return x @ matrix.mT

    plain, general = LinearFunction(function, point), Linearised(function, point)
    torch.testing.assert_close(plain.forward(v), general.forward(v))
    torch.testing.assert_close(plain.adjoint(u), general.adjoint(u))
    torch.testing.assert_close(plain.forward(v), v @ matrix.mT)


def test_above_its_noise_level_guidance_leaves_the_denoiser_alone():
    observation = Observation(torch.ones(1, 2), lambda x: x[:, :2], torch.ones(2))

    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return x / (1 + sigma**2)

    x = torch.arange(6.0).view(2, 3)
    always, below = (MMPS(below=level).guide(denoise, observation) for level in (float("inf"), 1.0))
    low, high = torch.tensor(0.5), torch.tensor(2.0)
    assert torch.equal(below(x, high), denoise(x, high))
    assert not torch.equal(always(x, high), denoise(x, high))
    fresh = MMPS().guide(denoise, observation)
    assert torch.equal(below(x, low), fresh(x, low))
    assert below.sigma == [2.0, 0.5]
    assert below.iterations[0].tolist() == [0, 0]
    assert torch.isnan(below.residual[0]).all()


@pytest.mark.parametrize("options", [{"below": 0.0}, {"below": -1.0}, {"scope": "world"}])
def test_wrong_options_are_refused(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        JacobianFree(**options)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 5))
def test_reading_time_by_time_gives_the_same_numbers(seed, times, points):
    rng = np.random.default_rng(seed)
    shape = (12, points)
    stencil = SparseOperator(
        rng.integers(0, times, shape), rng.integers(0, 2, shape), rng.integers(0, 12, shape),
        rng.choice([0.0, 0.5, 1.5], shape), np.zeros(12), np.zeros(12), np.ones(12), np.arange(12),
        np.zeros(12, int), ("value",),
    )  # fmt: skip
    reading = WhitenedOperator(stencil, np.zeros((times, 2, 3, 4)), np.ones((2, 3, 4)), dtype=torch.float64)
    fields = torch.from_numpy(rng.standard_normal((3, len(reading.frames), 2, 3, 4))).requires_grad_()
    parts = FrameOperators(reading)
    found = parts([part(fields[:, k]) for k, part in enumerate(parts.parts)])
    expected = reading(fields)
    torch.testing.assert_close(found, expected)
    weights = torch.from_numpy(rng.standard_normal(expected.shape))
    torch.testing.assert_close(*(torch.autograd.grad((y * weights).sum(), fields)[0] for y in (found, expected)))


@pytest.mark.parametrize("guidance", [MMPS(2, tangent=False), MMPS(2), JacobianFree(3)])
def test_states_read_one_by_one_give_the_same_estimate(tiny_model, guidance):
    model = read_model(tiny_model)
    times = plan_of(tiny_model).times
    stencil = reports(model, times)
    x = torch.randn(2, len(times), *model.latent_shape, generator=torch.Generator().manual_seed(1))
    date = to_date_tensor(times)
    found = []
    for kept in (model.graph_budget, 1):
        observation = observe_latents(model.with_graph_budget(kept), stencil, times)
        guided = guidance.guide(lambda v, s: model.denoiser(v, s, date), observation, model.denoiser.covariance)
        found.append(guided(x, SIGMA))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)


def test_the_reference_as_prescribed_is_official_moment_matching(tiny_model):
    model = read_model(tiny_model)
    times = plan_of(tiny_model).times
    observation = observe_latents(model, reports(model, times), times)
    reading = WhitenedOperator(reports(model, times), model.climatology(times), model.scale, representation=model.error)
    date, seen = to_date_tensor(times), list(reading.frames)

    def denoise(v: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return model.denoiser(v, sigma, date)

    prescribed = ReferenceDenoiser(
        denoise,
        lambda k, z: model.decode(z[None, None], times[k : k + 1])[0, 0],
        lambda fields: reading(fields[:, seen]),
        reading.y,
        torch.ones_like(reading.y),
    )
    x = torch.randn(1, len(times), *model.latent_shape, generator=torch.Generator().manual_seed(2))
    official = MMPS.official().guide(denoise, observation)(x, SIGMA)
    torch.testing.assert_close(prescribed(x, SIGMA), official, rtol=1e-3, atol=1e-4)
    assert (official - denoise(x, SIGMA)).abs().max() > 1e-3


def test_a_trajectory_of_one_window_is_the_window(tiny_model):
    model = read_model(tiny_model)
    plans = [plan_of(tiny_model, guidance=JacobianFree(scope=scope)) for scope in ("window", "trajectory")]
    plans = [replace(plan, stencil=reports(model, plan.times)) for plan in plans]
    one, other = (sample(plan, (0, 1), f"one-{plan.guidance.scope}").latents for plan in plans)
    np.testing.assert_array_equal(one, other)


def test_guidance_of_a_trajectory_decodes_each_time_once(tiny_model, monkeypatch):
    from xappa.model.networks.autoencoder import ConvAutoencoder

    model = read_model(tiny_model)
    states = []
    decode = ConvAutoencoder.decode
    monkeypatch.setattr(ConvAutoencoder, "decode", lambda self, z: (states.append(len(z)), decode(self, z))[1])
    counts, means = {}, {}
    for scope in ("window", "trajectory"):
        plan = plan_of(tiny_model, times=8, guidance=JacobianFree(scope=scope), sampler=LMS(steps=6))
        plan = replace(plan, stencil=reports(model, plan.times, count=80, points=1))
        states.clear()
        means[scope] = sample(plan, (0, 1), f"count-{scope}").latents
        counts[scope] = sum(states)
    # 3 windows of 4 times overlap by 2: 12 states against 8, at 6 evaluations; the fit looks at windows in both.
    assert counts["window"] - counts["trajectory"] == 2 * 6 * (12 - 8)
    assert np.corrcoef(means["window"].ravel(), means["trajectory"].ravel())[0, 1] > 0.9
