"""Wind speed, a logarithm and a ratio: posterior samples against importance sampling."""

from __future__ import annotations

import pytest
import torch

from tests.exactness import CURVED, draws, run
from xappa.diffusion.guidance import MMPS, JacobianFree, LatentOptimisation
from xappa.diffusion.samplers import DPM

SAMPLES = 4000
MOMENT_MATCHING = [MMPS(), MMPS(2, None, False), JacobianFree(), MMPS(solver="cg")]


def against(name: str, guidance) -> tuple[torch.Tensor, torch.Tensor]:
    problem = CURVED[name]
    found = run(DPM(48), problem.guided(guidance, SAMPLES), draws(SAMPLES, len(problem.mean), 3))
    return problem.against(found)


@pytest.mark.parametrize("name", CURVED)
def test_the_oracle_has_enough_samples(name):
    weight = CURVED[name].weighted()[1]
    assert 1 / (weight**2).sum() > 10_000


@pytest.mark.parametrize("name", CURVED)
def test_the_exact_estimate_gives_the_posterior(name):
    """The quadrature is a denoiser like any other: what is left is the sampler's error and the number of samples."""
    mean, variance = against(name, None)
    assert mean.abs().max() < 4.5 * (1 / SAMPLES + 1 / 10_000) ** 0.5
    assert variance.min() > 0.9 and variance.max() < 1.1


@pytest.mark.parametrize("name", CURVED)
@pytest.mark.parametrize("guidance", MOMENT_MATCHING, ids=repr)
def test_moment_matching_is_near_the_posterior(guidance, name):
    """Not exact where the operator is curved: within a third of a deviation, and a fifth of the variance."""
    mean, variance = against(name, guidance)
    assert mean.abs().max() < 0.35
    assert variance.min() > 0.8 and variance.max() < 1.2


@pytest.mark.parametrize("name", CURVED)
def test_latent_optimisation_fits_the_observation_to_its_error(name):
    """Where it stops is where the misfit is what the error explains, on the side that it comes from."""
    problem = CURVED[name]
    guidance = LatentOptimisation(floor=0.05)
    found = run(DPM(24, final=True), problem.guided(guidance), draws(200, len(problem.mean), 3))
    misfit = (problem.y - problem.function(found)) ** 2 / problem.error
    free = run(DPM(24, final=True), problem.denoise, draws(200, len(problem.mean), 3))
    before = (problem.y - problem.function(free)) ** 2 / problem.error
    assert misfit.median() < 1.1 and misfit.mean() < 0.2 * before.mean()
