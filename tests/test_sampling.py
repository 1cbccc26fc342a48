"""Sampling and decoding with the tiny model, without labels."""

from __future__ import annotations

import numpy as np
import pytest

from xappa.diffusion.guidance import JacobianFree
from xappa.diffusion.samplers import LMS, PC
from xappa.errors import IntegrityError
from xappa.model.directory import read_model
from xappa.operators.sparse import SparseOperator
from xappa.sampling.sampling_tasks import decode, sample
from xappa.sampling.spec import SamplingSpec, compute_overlap, pad_times

STEP = np.timedelta64(6, "h")


def plan_of(folder, times: int = 4, **changes) -> SamplingSpec:
    model = read_model(folder)
    first = np.datetime64("2001-03-13T00", "s")
    trajectory = pad_times(first + STEP * np.arange(times), 4, compute_overlap(4), STEP)
    options = dict(
        model=str(folder),
        digest=model.digest,
        device="cpu",
        times=trajectory,
        observations=None,
        guidance=JacobianFree(),
        sampler=LMS(steps=4),
        stitching="symmetrical",
        seed=1,
    )
    return SamplingSpec(**{**options, **changes})


def point(model, value: float, error: float, time: int = 1, cell: int = 40) -> SparseOperator:
    one = np.ones((1, 1), int)
    return SparseOperator(
        time=time * one,
        channel=0 * one,
        cell=cell * one,
        weight=one.astype(float),
        offset=np.zeros(1),
        value=np.array([value]),
        error=np.array([error]),
        observation=np.zeros(1, int),
        variable=np.zeros(1, int),
        names=("2m_temperature",),
    )


def test_padding_fills_whole_windows() -> None:
    first = np.datetime64("2000-01-01", "s")
    for count, expected in ((1, 4), (4, 4), (5, 6), (6, 6), (7, 8)):
        assert len(pad_times(first + STEP * np.arange(count), 4, 2, STEP)) == expected


@pytest.mark.parametrize("sampler", [LMS(steps=3), PC(steps=2, corrections=1)])
def test_noise_does_not_depend_on_the_members_asked_for(tiny_model, sampler) -> None:
    plan = plan_of(tiny_model, times=6, sampler=sampler)
    together = sample(plan, (0, 1, 2), f"a{sampler}").latents
    alone = sample(plan, (2,), f"b{sampler}").latents
    np.testing.assert_allclose(together[2:], alone, atol=1e-4)
    assert np.abs(together[0] - together[1]).max() > 0.1


def test_an_observation_draws_members_to_it(tiny_model) -> None:
    model = read_model(tiny_model)
    free = plan_of(tiny_model)
    expected = float(model.climatology(free.times)[1, 0].reshape(-1)[40]) + 4.0
    bound = plan_of(tiny_model, observations=point(model, expected, 0.01), sampler=LMS(steps=8), dress=False)
    members = tuple(range(6))
    fields = decode(bound, sample(bound, members, "bound").latents, members, 0)
    found = fields[:, 1, 0].reshape(6, -1)[:, 40]
    without = decode(free, sample(free, members, "free").latents, members, 0)[:, 1, 0].reshape(6, -1)[:, 40]
    assert np.abs(found.mean() - expected) < np.abs(without.mean() - expected)
    assert found.std() < without.std()


def test_dressing_adds_the_autoencoder_error(tiny_model) -> None:
    model = read_model(tiny_model)
    plan, plain = plan_of(tiny_model), plan_of(tiny_model, dress=False)
    latents = np.repeat(sample(plan, (0,), "dress").latents, 200, 0)
    members = tuple(range(200))
    noise = (decode(plan, latents, members, 0) - decode(plain, latents, members, 0)) / model.scale
    np.testing.assert_allclose(noise.std((0, 1))[0], model.error[0], rtol=0.15)


def test_decoding_in_parts_gives_the_same_numbers(tiny_model) -> None:
    plan = plan_of(tiny_model)
    latents = sample(plan, (0, 1), "parts").latents
    whole = decode(plan, latents, (0, 1), 0)
    part = decode(plan, latents[1:, 2:3], (1,), 2)
    np.testing.assert_allclose(whole[1:, 2:3], part, rtol=1e-5, atol=1e-3)


def test_another_model_under_the_same_name_is_refused(tiny_model) -> None:
    with pytest.raises(IntegrityError, match="has digest"):
        sample(plan_of(tiny_model, digest="0" * 64), (0,), "other")
