"""Simulation-based calibration on a mixture of Gaussians: where the truth ranks among posterior samples."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import chi2

from tests.exactness import MIXTURE, chi_square, draws, ranks, run
from xappa.diffusion.guidance import DPS, MMPS, SDA, JacobianFree, LatentOptimisation, RePaint
from xappa.diffusion.samplers import DDPM, DPM

MEMBERS = 9
# The worst of four histograms, each with as many degrees of freedom as there are members.
CRITICAL = chi2.isf(0.01 / 4, MEMBERS)


@pytest.mark.parametrize(("sampler", "trials"), [(DPM(48), 4000), (DDPM(256), 1500)], ids=repr)
def test_ranks_are_uniform_with_the_exact_score(sampler, trials):
    counts = ranks(None, sampler, trials, MEMBERS)
    assert counts.sum(1).tolist() == [trials] * 4
    assert chi_square(counts)[0] < CRITICAL


@pytest.mark.parametrize(
    ("guidance", "sampler"),
    [(None, DDPM(3)), (MMPS.official(), DPM(24)), (MMPS(1, None, False, probes=0), DPM(24)), (DPS(), DPM(48))],
    ids=repr,
)
def test_the_test_finds_what_is_not_uniform(guidance, sampler):
    """Too few steps of a first-order sampler; too few iterations where errors differ; and a mode instead of samples."""
    assert chi_square(ranks(guidance, sampler, 1500, MEMBERS))[0] > 3 * CRITICAL


def test_the_exact_denoiser_is_the_posterior_mean():
    """At a high noise level, x_t says nothing: importance sampling of the mixture gives the mean given y alone."""
    y = torch.tensor([[0.3, 0.2, -0.4]], dtype=torch.float64)
    x, _ = MIXTURE.draw(400_000, 3)
    weight = torch.softmax(-((x[:, :3] - y) ** 2 / (2 * MIXTURE.error)).sum(1), 0)
    found = MIXTURE.exactly(y)(torch.zeros(1, 4, dtype=torch.float64), torch.tensor(1e4, dtype=torch.float64))
    torch.testing.assert_close(found[0], weight @ x, rtol=0, atol=0.02)


@pytest.mark.parametrize(
    ("guidance", "bound"),
    [
        (MMPS(), 0.13),
        (MMPS(2, None, False, probes=16), 0.13),
        (JacobianFree(), 0.13),
        (RePaint(), 0.13),
        (SDA(), 0.16),
        (LatentOptimisation(iterations=20), 0.2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_how_far_from_uniform_the_ranks_of_each_method_are(guidance, bound):
    """Mean difference of a histogram's bars from their expectation, relative to that; by chance 0.06 to 0.08."""
    assert chi_square(ranks(guidance, DPM(24), 1500, MEMBERS))[1] < bound


def test_every_member_counts_alike():
    """The same trials, the members in another order: the same ranks."""
    y = MIXTURE.draw(40, 1)[1].repeat_interleave(3, 0)
    noise = draws(120, 4, 4)
    order = torch.randperm(120, generator=torch.Generator().manual_seed(0))
    plain = run(DPM(16), MIXTURE.guided(MMPS(), y), noise)
    shuffled = run(DPM(16), MIXTURE.guided(MMPS(), y[order]), lambda k: noise(k)[order])
    torch.testing.assert_close(shuffled, plain[order], rtol=1e-6, atol=1e-6)
