"""The Gaussian prior against dense linear algebra."""

import pytest
import torch

from xappa.diffusion.gaussian import GaussianDenoiser, GaussianPrior

SHAPE, WINDOW, PATTERNS, JOINT = (2, 6, 3), 3, 4, 2


def random_prior(seed: int = 0) -> GaussianPrior:
    generator = torch.Generator().manual_seed(seed)

    def unitary(*size: int) -> torch.Tensor:
        real = torch.randn(*size, size[-1], generator=generator, dtype=torch.float64)
        imaginary = torch.randn(*size, size[-1], generator=generator, dtype=torch.float64)
        return torch.linalg.qr(torch.complex(real, imaginary))[0]

    prior = GaussianPrior(WINDOW, SHAPE, PATTERNS, JOINT).double()
    waves, size = SHAPE[1] // 2 + 1, SHAPE[0] * SHAPE[2]
    vectors = {
        "patterns": unitary(waves, size)[..., :PATTERNS],
        "joint_vectors": unitary(waves, JOINT * WINDOW),
        "single_vectors": unitary(waves, PATTERNS - JOINT, WINDOW),
        "rest_vectors": unitary(waves, 1, WINDOW),
    }
    # Wavenumber 0 and the last are real for real fields, so their factors are, too.
    for name, value in vectors.items():
        for m in (0, waves - 1):
            value[m] = torch.linalg.qr(value[m].real)[0].to(value.dtype)
        getattr(prior, name).copy_(torch.view_as_real(value.contiguous()))
    for name in ("joint_variances", "single_variances", "rest_variances"):
        buffer = getattr(prior, name)
        buffer.copy_(torch.rand(buffer.shape, generator=generator, dtype=torch.float64) + 0.1)
    return prior


def dense(prior: GaussianPrior) -> torch.Tensor:
    size = WINDOW * SHAPE[0] * SHAPE[1] * SHAPE[2]
    basis = torch.eye(size, dtype=torch.float64).view(size, WINDOW, *SHAPE)
    return prior.apply_function(basis, lambda p: p).flatten(1).T


def test_covariance_is_symmetric_and_positive() -> None:
    p = dense(random_prior())
    assert torch.allclose(p, p.T, atol=1e-12)
    assert torch.linalg.eigvalsh(p).min() > 0.09


def test_spread_is_the_covariance_at_one_time() -> None:
    prior = random_prior()
    blocks = dense(prior).view(WINDOW, len(dense(prior)) // WINDOW, WINDOW, -1)
    at_one_time = torch.stack([blocks[k, :, k] for k in range(WINDOW)]).mean(0)
    functionals = torch.randn(5, *SHAPE, dtype=torch.float64)
    functionals[:3, 0] = 0  # as reports that read few rows
    expected = functionals.flatten(1) @ at_one_time @ functionals.flatten(1).T
    assert torch.allclose(prior.compute_covariance(functionals), expected, atol=1e-10)


def test_denoiser_is_the_posterior_mean() -> None:
    prior = random_prior()
    p = dense(prior)
    x = torch.randn(2, WINDOW, *SHAPE, dtype=torch.float64)
    sigma = torch.tensor([0.3, 2.0], dtype=torch.float64)
    found = prior.denoise(x, sigma)
    covariance = prior.covariance(x, sigma)
    for b in range(2):
        gain = p @ torch.linalg.inv(p + sigma[b] ** 2 * torch.eye(len(p)))
        assert torch.allclose(found[b].flatten(), gain @ x[b].flatten(), atol=1e-10)
        assert torch.allclose(covariance[b].flatten(), sigma[b] ** 2 * gain @ x[b].flatten(), atol=1e-10)


def test_root_squares_to_the_covariance() -> None:
    prior = random_prior()
    size = WINDOW * SHAPE[0] * SHAPE[1] * SHAPE[2]
    root = prior.sample(torch.eye(size, dtype=torch.float64).view(size, WINDOW, *SHAPE)).flatten(1)
    assert torch.allclose(root @ root, dense(prior), atol=1e-10)


def test_homogeneous_in_longitude() -> None:
    prior = random_prior()
    x = torch.randn(1, WINDOW, *SHAPE, dtype=torch.float64)
    sigma = torch.tensor(0.7, dtype=torch.float64)
    assert torch.allclose(prior.denoise(x.roll(2, 3), sigma), prior.denoise(x, sigma).roll(2, 3), atol=1e-12)


@pytest.mark.parametrize("sigma", [0.01, 1.0, 50.0])
def test_denoiser_without_network_is_the_gaussian(sigma: float) -> None:
    prior = random_prior()
    x = torch.randn(2, WINDOW, *SHAPE, dtype=torch.float64)
    level = torch.tensor(sigma, dtype=torch.float64)
    date = torch.zeros(WINDOW, 4, dtype=torch.int64)
    assert torch.equal(GaussianDenoiser(prior, None)(x, level, date), prior.denoise(x, level.expand(2)))
