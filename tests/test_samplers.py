"""Samplers against the exact flow of a Gaussian, exact variances, and recorded outputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from xappa.diffusion.samplers import DDIM, DDPM, LMS, PC, SAMPLERS, Rewind
from xappa.diffusion.schedule import LogLinear, Rectified
from xappa.errors import OptionError

VARIANCE = torch.tensor([0.1, 0.5, 1.0, 2.0], dtype=torch.float64)
SCHEDULE = LogLinear(1e-2, 50.0)
ALL = [LMS(5, 3), LMS(4, 1), PC(4, 2), PC(4, 0), DDIM(5), DDPM(5), Rewind(6, 3), Rewind(6, 3, jump=False)]


def denoise(x_t: Tensor, sigma: Tensor) -> Tensor:
    """Posterior mean of independent Gaussian numbers."""
    return VARIANCE / (VARIANCE + sigma**2) * x_t


def no_noise(k: int) -> Tensor:
    raise AssertionError("a deterministic sampler draws no noise")


def flow(schedule) -> Tensor:
    """Exact factor between the start and the end of the probability flow."""
    start, end = (schedule(torch.tensor(t, dtype=torch.float64)) for t in (1.0, 0.0))
    return ((VARIANCE + end**2) / (VARIANCE + start**2)).sqrt()


def error(sampler) -> float:
    start = torch.ones(1, 4, dtype=torch.float64)
    found = sampler(denoise, start, no_noise, SCHEDULE)[0]
    return float((found / flow(SCHEDULE) - 1).abs().max())


def gains(sampler, draws: int) -> Tensor:
    """Derivative of a sample (4,) with respect to each number of its start and of its noise, which it is linear in."""
    rows = 1 + draws
    start = torch.zeros(rows, 4, dtype=torch.float64)
    start[0] = SCHEDULE(torch.ones(1)).item()

    def noise(k: int) -> Tensor:
        unit = torch.zeros_like(start)
        unit[1 + k] = 1
        return unit

    return sampler(denoise, start, noise, SCHEDULE)


def test_recorded_outputs_are_reproduced(shared, check_recorded):
    rows = check_recorded(shared("fixtures/samplers"))
    assert len(rows) == 18
    assert [row for row in rows if not row.ok] == []


@pytest.mark.parametrize(
    ("sampler", "order"), [(DDIM, 1), (lambda n: LMS(n, 1), 1), (lambda n: LMS(n, 2), 2), (lambda n: LMS(n, 3), 3)]
)
def test_deterministic_samplers_converge_with_their_order(sampler, order):
    coarse, fine = error(sampler(100)), error(sampler(200))
    assert 0.8 * 2**order < coarse / fine < 1.4 * 2**order


def test_higher_orders_need_fewer_steps():
    assert error(LMS(24, 3)) < error(LMS(24, 2)) < error(DDIM(24))


@pytest.mark.parametrize(
    ("sampler", "draws"),
    [(DDPM(400), 400), (PC(200, 1, 1e-3), 200), (Rewind(400, 3), 400), (Rewind(400, 4, jump=False), 400)],
)
def test_stochastic_samplers_keep_the_variance(sampler, draws):
    exact = VARIANCE + SCHEDULE(torch.zeros(1)).item() ** 2
    torch.testing.assert_close((gains(sampler, draws) ** 2).sum(0), exact, rtol=0.04, atol=0)


def test_corrections_restore_the_variance():
    exact = VARIANCE + SCHEDULE(torch.zeros(1)).item() ** 2
    plain, corrected = (gains(PC(16, n), 16 * n).square().sum(0) / exact - 1 for n in (0, 2))
    assert (corrected.abs() < 0.7 * plain.abs()).all()


def test_samplers_that_are_special_cases_of_others():
    start = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = DDIM(12)(denoise, start, no_noise, SCHEDULE)
    for sampler in (LMS(12, 1), PC(12, 0)):
        torch.testing.assert_close(sampler(denoise, start, no_noise, SCHEDULE), expected)
    torch.testing.assert_close(Rewind(12, 1)(denoise, start, lambda k: start, SCHEDULE), expected)


@pytest.mark.parametrize("final", [False, True])
@pytest.mark.parametrize("sampler", ALL, ids=repr)
def test_evaluations_are_counted_and_reported(sampler, final):
    sampler = type(sampler)(**{**vars(sampler), "final": final})
    sigmas, reports = [], []

    def counted(x_t: Tensor, sigma: Tensor) -> Tensor:
        assert sigma.shape == () and sigma.dtype == x_t.dtype and not torch.is_grad_enabled()
        sigmas.append(float(sigma))
        return denoise(x_t, sigma).to(x_t)

    def report(done: int, total: int) -> None:
        reports.append((done, total))

    start = torch.ones(2, 4)
    found = sampler(counted, start, lambda k: torch.ones(2, 4), Rectified(1e-2, 50.0), report)
    assert found.shape == start.shape and found.dtype == start.dtype
    assert reports == [(i + 1, sampler.evaluations) for i in range(sampler.evaluations)]
    assert len(sigmas) == sampler.evaluations
    assert sigmas[0] == pytest.approx(50.0, rel=1e-4)
    assert (sigmas[-1] == pytest.approx(1e-2)) == final


def test_the_final_step_is_the_estimate_at_the_last_level():
    start = torch.ones(1, 4, dtype=torch.float64)
    state = LMS(8)(denoise, start, no_noise, SCHEDULE)
    clean = LMS(8, final=True)(denoise, start, no_noise, SCHEDULE)
    torch.testing.assert_close(clean, denoise(state, SCHEDULE(torch.zeros(1)).double()))


def test_registry_names_make_samplers():
    assert (SAMPLERS["pc"]().evaluations, SAMPLERS["lms"](12).evaluations) == (96, 12)
    assert LMS(12) == LMS(steps=12, order=3, final=False)


def test_wrong_options_are_named_together():
    with pytest.raises(OptionError, match=r"PC: steps=0.*corrections=-1.*delta=3"):
        PC(0, -1, 3.0)
    with pytest.raises(OptionError, match="order=0"):
        LMS(order=0)
    with pytest.raises(OptionError, match="depth=0"):
        Rewind(depth=0)
