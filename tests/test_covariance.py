"""Correlated errors: products against dense matrices, and the exact posterior of a Gaussian problem."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from xappa.diffusion.guidance import (
    MMPS,
    SDA,
    W2C,
    BlockCovariance,
    ErrorCovariance,
    InflatedCovariance,
    JacobianFree,
    JoinedCovariance,
    Observation,
    SequenceCovariance,
)
from xappa.errors import OptionError

DOUBLE = torch.float64


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def along_sequences(size: int, seed: int = 0) -> tuple[SequenceCovariance, Tensor]:
    """Three sequences, out of order, and their covariance as a matrix."""
    generator = torch.Generator().manual_seed(seed)
    sequence = torch.randint(0, 3, (size,), generator=generator)
    position = 0.1 * torch.randperm(size, generator=generator).to(DOUBLE)
    deviation = 0.5 + torch.rand(size, generator=generator, dtype=DOUBLE)
    dense = torch.exp(-(position[:, None] - position).abs()) * (sequence[:, None] == sequence)
    return SequenceCovariance(deviation, sequence, position), deviation[:, None] * dense * deviation


def in_blocks() -> tuple[BlockCovariance, Tensor]:
    deviation = torch.linspace(0.5, 2.0, 9, dtype=DOUBLE)
    dense, blocks = torch.eye(9, dtype=DOUBLE), []
    for index in ([0, 4, 7], [8, 2], [1, 3, 6]):
        half = draw(len(index), 5, seed=len(index))
        matrix = torch.corrcoef(half)
        dense[torch.tensor(index)[:, None], torch.tensor(index)] = matrix
        blocks.append((torch.tensor(index), matrix))
    return BlockCovariance(deviation, blocks), deviation[:, None] * dense * deviation


def joined() -> tuple[JoinedCovariance, Tensor]:
    (first, a), (second, b) = along_sequences(6), in_blocks()
    order = torch.randperm(17, generator=torch.Generator().manual_seed(1))
    rows, others = order[:6], order[6:15]
    deviation = torch.full((17,), 0.7, dtype=DOUBLE)
    dense = torch.diag(deviation**2)
    dense[rows[:, None], rows], dense[others[:, None], others] = a, b
    deviation[rows], deviation[others] = first.deviation, second.deviation
    # Parts of a joined covariance are correlations; the deviations are the whole's.
    ones = (torch.ones(6, dtype=DOUBLE), torch.ones(9, dtype=DOUBLE))
    first.deviation, second.deviation = ones
    return JoinedCovariance(deviation, [(rows, first), (others, second)]), dense


CASES = {"sequences": along_sequences(40), "blocks": in_blocks(), "joined": joined(), "single": along_sequences(1)}


@pytest.mark.parametrize("name", CASES)
def test_products_are_those_of_the_dense_matrix(name):
    covariance, dense = CASES[name]
    v = draw(2, 3, len(dense))
    close = {"rtol": 1e-10, "atol": 1e-10}
    torch.testing.assert_close(covariance @ v, v @ dense, **close)
    torch.testing.assert_close(covariance.solve(v), torch.linalg.solve(dense, v[..., None])[..., 0], **close)
    torch.testing.assert_close(covariance.variance, dense.diagonal(), **close)
    unit = torch.eye(len(dense), dtype=DOUBLE)
    w = covariance.whiten(unit).mT  # columns: W e_i
    torch.testing.assert_close(w @ dense @ w.mT, unit, **close)
    torch.testing.assert_close(covariance.whiten_adjoint(unit).mT, w.mT, **close)


@given(size=st.integers(1, 70), seed=st.integers(0, 999))
def test_the_inverse_undoes_the_covariance(size, seed):
    covariance, dense = along_sequences(size, seed)
    v = draw(size, seed=seed)
    torch.testing.assert_close(covariance @ v, dense @ v, rtol=1e-9, atol=1e-9)
    if float(torch.linalg.cond(dense)) < 1e6:
        torch.testing.assert_close(covariance.solve(covariance @ v), v, rtol=1e-7, atol=1e-7)


def test_equal_positions_still_have_an_inverse():
    covariance = SequenceCovariance(torch.ones(3), torch.zeros(3, dtype=torch.int64), torch.zeros(3))
    assert torch.isfinite(covariance.solve(torch.tensor([1.0, 2.0, 3.0]))).all()


def test_long_sequences_cost_no_matrix():
    size = 200_000
    covariance = SequenceCovariance(torch.ones(size), torch.arange(size) // 100_000, 0.1 * torch.arange(size))
    v = draw(size).float()
    torch.testing.assert_close(covariance.solve(covariance @ v), v, rtol=1e-3, atol=1e-3)


def test_products_carry_gradients():
    covariance, dense = along_sequences(7)
    v = draw(7).requires_grad_()
    (gradient,) = torch.autograd.grad((covariance @ v).sum(), v)
    torch.testing.assert_close(gradient, dense.sum(0))


def test_a_block_must_be_bounded():
    with pytest.raises(ValueError, match="A block of 513"):
        BlockCovariance(torch.ones(600), [(torch.arange(513), torch.eye(513))])


def problem(covariance: ErrorCovariance) -> tuple:
    """x ~ N(0, P), of which every number is observed with correlated errors, and the exact E[x | x_t, y]."""
    size = len(covariance.deviation)
    i = torch.arange(size, dtype=DOUBLE)
    p, unit = torch.exp(-(i[:, None] - i).abs() / 2), torch.eye(size, dtype=DOUBLE)
    dense = covariance @ unit
    y = draw(size, seed=3)

    def denoise(x_t: Tensor, sigma: Tensor) -> Tensor:
        return x_t @ torch.linalg.solve(p + sigma**2 * unit, p)

    def spread(v: Tensor, sigma: Tensor) -> Tensor:
        return sigma**2 * denoise(v, sigma)

    def exactly(x_t: Tensor, sigma: Tensor) -> Tensor:
        mean, c = denoise(x_t, sigma), spread(unit, sigma)
        return mean + (y - mean) @ torch.linalg.solve(dense + c, c)

    return Observation(y, lambda x: x, covariance), denoise, spread, exactly


@pytest.mark.parametrize(("whiten", "probes"), [(True, 16), (True, 0), (False, 0)])
@pytest.mark.parametrize("kind", [MMPS, JacobianFree])
@pytest.mark.parametrize("name", ["blocks", "joined", "inflated"])
def test_the_posterior_of_a_gaussian_problem_is_exact(name, kind, whiten, probes):
    inflated = InflatedCovariance(along_sequences(9)[0], torch.linspace(0.2, 0.9, 9, dtype=DOUBLE))
    observation, denoise, spread, exactly = problem(inflated if name == "inflated" else CASES[name][0])
    guided = kind(40, 1e-12, False, whiten, probes=probes).guide(denoise, observation, spread)
    for sigma in (0.1, 1.0, 30.0):
        level, x_t = torch.tensor(sigma, dtype=DOUBLE), sigma * draw(4, len(observation.y))
        torch.testing.assert_close(guided(x_t, level), exactly(x_t, level), rtol=1e-7, atol=1e-7)


def test_ignoring_the_correlation_is_not_the_same():
    covariance = SequenceCovariance(
        torch.ones(8, dtype=DOUBLE), torch.zeros(8, dtype=torch.int64), 0.2 * torch.arange(8, dtype=DOUBLE)
    )
    observation, denoise, spread, exactly = problem(covariance)
    level, x_t = torch.tensor(1.0, dtype=DOUBLE), draw(4, 8)
    diagonal = Observation(observation.y, observation.operator, covariance.variance)
    found = MMPS(40, 1e-12, False).guide(denoise, diagonal, spread)(x_t, level)
    assert (found - exactly(x_t, level)).abs().max() > 0.05


@pytest.mark.parametrize("kind", [SDA, W2C])
def test_guidance_without_a_solver_says_what_to_use(kind):
    observation, denoise, *_ = problem(CASES["blocks"][0])
    with pytest.raises(OptionError, match=r"correlated.*mmps"):
        kind().guide(denoise, observation)


def test_a_huber_norm_takes_whitened_observations():
    observation, denoise, spread, exactly = problem(CASES["blocks"][0])
    level, x_t = torch.tensor(1.0, dtype=DOUBLE), draw(2, 9)
    guided = MMPS(40, 1e-12, False, whiten=False, huber=100.0, probes=0).guide(denoise, observation, spread)
    torch.testing.assert_close(guided(x_t, level), exactly(x_t, level), rtol=1e-6, atol=1e-6)
