"""Members in pairs of opposite noise: each is a sample, their mean has less noise, and scores know of it."""

from __future__ import annotations

import tracemalloc
from itertools import permutations

import numpy as np
import pytest
import torch
import xarray as xr

import xappa
from xappa.diffusion.noise import Noise, draw_member_noise
from xappa.diffusion.samplers import SAMPLERS
from xappa.diffusion.schedule import Rectified
from xappa.verification import scores
from xappa.verification.members import find_partners
from xappa.vocabulary import PAIR

MEMBERS = range(6)


def pairs(values: np.ndarray, numbers: list[int]) -> xr.DataArray:
    return xr.DataArray(values, {PAIR: ("member", numbers)}, ("member", "obs"))


def drawn(rng: np.random.Generator, members: int, points: int, correlation: float) -> xr.DataArray:
    """Standard normal members in pairs of this correlation."""
    first, own = rng.standard_normal((2, members // 2, points))
    second = correlation * first + np.sqrt(1 - correlation**2) * own
    return pairs(np.stack([first, second], 1).reshape(members, points), [k // 2 for k in range(members)])


def test_odd_members_have_the_opposite_noise_of_the_even_ones_before_them():
    plain = draw_member_noise(7, MEMBERS, [0, 6], (3, 4), 2)
    paired = draw_member_noise(7, MEMBERS, [0, 6], (3, 4), 2, antithetic=True)
    assert torch.equal(paired[::2], plain[::2])
    assert torch.equal(paired[1::2], -plain[::2])
    assert torch.equal(draw_member_noise(7, [3, 1], [6], (3, 4), 2, antithetic=True), paired[[3, 1]][:, 1:])


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_the_mean_of_a_pair_is_exact_where_the_denoiser_is_affine(name):
    def denoiser(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return 3 + (x - 3) / (1 + sigma**2)

    schedule = Rectified(1e-3, 1e2)
    means = []
    for antithetic in (False, True):
        noise = Noise(0, (0, 1), [0], (50,), antithetic)
        sampler = SAMPLERS[name](steps=20, antithetic=antithetic)
        x = schedule(torch.ones(1)).item() * noise.start()
        means.append(sampler(denoiser, x, noise, schedule).mean(0))
    assert means[0].std() > 0.3
    assert means[1].std() < 1e-4


@pytest.mark.parametrize("numbers", [[0, 0, 1, 1], [0, 1, 0, 2], [3, 3, 3], [0, 1, 2], [0, 0, 1, 1, 0, 0]])
def test_variance_and_crps_leave_out_what_is_not_independent(rng, numbers):
    members = pairs(rng.standard_normal((len(numbers), 9)), numbers)
    truth = xr.DataArray(rng.standard_normal(9), dims="obs")
    taken: set[tuple[int, int]] = set()
    for number in set(numbers):  # the first and the second with a number, the third and the fourth, …
        same = [i for i, other in enumerate(numbers) if other == number]
        taken |= {pair for a, b in zip(same[::2], same[1::2], strict=False) for pair in ((a, b), (b, a))}
    apart = [abs(members[i] - members[j]) for i, j in permutations(range(len(numbers)), 2) if (i, j) not in taken]
    apart = xr.concat([a.drop_vars(PAIR, errors="ignore") for a in apart], "choice").mean("choice") if apart else np.nan
    squares = [(members[i] - members[j]) ** 2 for i, j in permutations(range(len(numbers)), 2) if (i, j) not in taken]
    squares = xr.concat([a.drop_vars(PAIR, errors="ignore") for a in squares], "choice").mean("choice")
    np.testing.assert_allclose(scores.spread(members, ()), (squares / 2) ** 0.5)
    np.testing.assert_allclose(scores.crps(members, truth, ()), abs(members - truth).mean("member") - apart / 2)


@pytest.mark.parametrize("correlation", [-1.0, -0.6, 0.0])
@pytest.mark.parametrize("members", [4, 8])
def test_scores_are_those_of_independent_members(rng, members, correlation):
    points = 60_000
    truth = xr.DataArray(rng.standard_normal(points), dims="obs")
    ensemble = drawn(rng, members, points, correlation)
    assert float(scores.spread(ensemble)) == pytest.approx(1, abs=0.01)
    assert float(scores.spread_skill(ensemble, truth)) == pytest.approx(1, abs=0.015)
    assert float(scores.crps(ensemble, truth)) == pytest.approx(1 / np.sqrt(np.pi), abs=0.01)
    deviation = xr.full_like(truth, 0.5)
    dressed = scores.crps_dressed(ensemble, truth, deviation)
    independent = scores.crps_dressed(ensemble.drop_vars(PAIR), truth, deviation) if correlation == 0 else None
    exact = np.sqrt(2 / np.pi) * (np.sqrt(2.25) - np.sqrt(2.5) / 2)  # of members with variance 1.25
    assert float(dressed) == pytest.approx(exact, abs=0.01)
    if independent is not None:
        assert float(dressed) == pytest.approx(float(independent), abs=0.01)


def test_a_truth_that_was_a_member_changes_nothing(rng):
    ensemble, truth = drawn(rng, 8, 2000, -1.0), xr.DataArray(rng.standard_normal(2000), dims="obs")
    member = truth.assign_coords({PAIR: 3})
    deviation = xr.full_like(truth, 0.5)
    for score in (scores.crps, scores.spread_skill, scores.rmse, scores.bias):
        assert float(score(ensemble, member)) == float(score(ensemble, truth))
    dressed = scores.crps_dressed(ensemble, member, deviation)
    assert float(dressed) == float(scores.crps_dressed(ensemble, truth, deviation))


def test_a_single_pair_has_a_mean_and_no_spread(rng):
    one, truth = drawn(rng, 2, 5, -1.0), xr.DataArray(rng.standard_normal(5), dims="obs")
    np.testing.assert_allclose(scores.rmse(one, truth), np.sqrt((truth**2).mean()), atol=1e-12)
    for score in (scores.spread(one), scores.spread_skill(one, truth), scores.crps(one, truth)):
        assert np.isnan(score)


def test_a_member_alone_is_a_single_one_whatever_its_pair(rng):
    ensemble, truth = drawn(rng, 4, 9, -1.0), xr.DataArray(rng.standard_normal(9), dims="obs")
    one = ensemble.isel(member=[0]).drop_vars(PAIR)
    scalar = ensemble.isel(member=0).expand_dims("member")
    assert scalar[PAIR].ndim == 0
    assert float(scores.crps(scalar, truth)) == float(scores.crps(one, truth))
    assert np.isnan(scores.spread(scalar))


def test_differences_of_members_are_held_one_at_a_time():
    points, members = 20_000, 24
    ensemble = xr.DataArray(np.zeros((members, points)), dims=("member", "obs"))
    truth = xr.DataArray(np.zeros(points), dims="obs")
    deviation = xr.ones_like(truth)
    tracemalloc.start()
    scores.crps_dressed(ensemble, truth, deviation)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10 * ensemble.nbytes  # the 276 differences alone are 11.5 times as much


def test_results_say_which_members_are_pairs(tiny_model):
    ds = xappa.template("2001-03-13", "2001-03-13T18", model=str(tiny_model))
    options = dict(model=str(tiny_model), seed=0, device="cpu")
    sampler = xappa.samplers.DPM(steps=2, antithetic=True)
    plain = ds.appa.sample(members=4, sampler=xappa.samplers.DPM(steps=2), **options)
    paired = ds.appa.sample(members=4, sampler=sampler, **options)
    assert PAIR not in plain.coords
    assert paired[PAIR].values.tolist() == [0, 0, 1, 1]
    assert '"antithetic": true' in paired.attrs["xappa_sampler"]
    name = "2m_temperature"
    np.testing.assert_allclose(paired[name][::2], plain[name][::2], rtol=1e-3)
    assert abs(paired[name][1] - plain[name][1]).max() > 0.1
    more = ds.appa.sample(members=[3, 2], sampler=sampler, **options)
    np.testing.assert_allclose(more[name][::-1], paired[name][2:], rtol=1e-3)
    table = paired.appa.verify(plain.isel(member=0, drop=True))
    assert np.isfinite(table[name].sel(metric="spread_skill"))


def test_pairs_survive_selection_and_the_users_names(tiny_model):
    ds = xappa.template("2001-03-13", "2001-03-13T18", model=str(tiny_model))
    sampler = xappa.samplers.DPM(steps=1, antithetic=True)
    result = ds.appa.sample(model=str(tiny_model), members=6, sampler=sampler, seed=0, device="cpu")
    some = result["2m_temperature"].isel(member=[5, 0, 4])
    assert find_partners(some, "member") == ([0], [2])
