"""The correction that differs with place, season and hour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.test_local import SHAPE, WINDOW, white
from xappa.diffusion.gaussian import GaussianDenoiser
from xappa.errors import OptionError
from xappa.model.corrections.linear import cache_matrices
from xappa.model.corrections.residual import ResidualNetwork, ResidualSpec
from xappa.model.corrections.seasonal_diurnal import SeasonalDiurnalCorrection, SeasonalDiurnalSpec, stack_regressors
from xappa.model.dates import DATE_FUNCTIONS, date_basis, to_date_tensor
from xappa.model.denoisers import build, describe
from xappa.training import moments, seasonal_diurnal_correction
from xappa.training.config import Recipe, SeasonalDiurnalConfig
from xappa.training.data import CORRECTION

EYE = torch.eye(SHAPE[2], dtype=torch.float64).expand(SHAPE[0] * SHAPE[1], -1, -1)


class Record:
    """The part of a record that fitting reads: four years, of which the last may be kept for the correction."""

    def __init__(self, kept: bool = False) -> None:
        self.times = np.datetime64("2001-01-01T00:00:00") + 6 * np.arange(4 * 1461).astype("timedelta64[h]")
        self.kept = kept

    def list_windows(self, split: int, length: int) -> np.ndarray:
        first = np.arange(len(self.times) - length + 1)
        late = first >= 3 * 1461
        if split == CORRECTION:
            return first[late & self.kept]
        return first[~late] if self.kept else first


def test_an_hour_in_four_is_a_sum_of_the_functions() -> None:
    times = np.datetime64("2001-01-01T00:00:00") + 6 * np.arange(4).astype("timedelta64[h]")
    basis = date_basis(to_date_tensor(times))
    assert basis.shape == (4, DATE_FUNCTIONS)
    assert torch.linalg.matrix_rank(basis[:, [0, 3, 4, 5]]) == 4
    spring = date_basis(to_date_tensor(np.array(["2001-04-02T06"], "datetime64[s]")))[0]
    torch.testing.assert_close(spring, torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0, -1.0]), atol=0.01, rtol=0)


def test_regressors_are_where_and_when_they_say() -> None:
    estimate = torch.randn(2, WINDOW, *SHAPE)
    date = to_date_tensor(Record().times[[5, 6, 7, 8]]).expand(2, WINDOW, 4)
    h, w, c = SHAPE
    found = stack_regressors(estimate, date).view(h, w, 2, WINDOW, -1, c)
    basis = date_basis(date)
    for k in range(DATE_FUNCTIONS):
        expected = estimate[1, 2, 1, 3] * basis[1, 2, k]
        torch.testing.assert_close(found[1, 3, 1, 2, k], expected)
    before, after, south, north, west, east = found[1, 3, 1, 2, DATE_FUNCTIONS:]
    assert torch.equal(before, estimate[1, 1, 1, 3]) and torch.equal(after, estimate[1, 3, 1, 3])
    assert torch.equal(south, estimate[1, 2, 0, 3]) and torch.equal(north, estimate[1, 2, 2, 3])
    assert torch.equal(west, estimate[1, 2, 1, 2]) and torch.equal(east, estimate[1, 2, 1, 0])
    assert not found[1, 3, 1, 0, DATE_FUNCTIONS].any() and not found[1, 3, 1, -1, DATE_FUNCTIONS + 1].any()


def variance(times: np.ndarray) -> np.ndarray:
    """Variance of latents (time, h, w, C): larger by day than by night, in summer than in winter, here than there."""
    basis = date_basis(to_date_tensor(times)).double().numpy()
    rng = np.random.default_rng(0)
    gain = 0.5 + 0.1 * np.tensordot(basis[:, 1:5], rng.uniform(-1, 1, (4, *SHAPE)), 1)  # = v / (v + 1)
    return gain / (1 - gain)


@pytest.mark.parametrize("kept", [False, True])
def test_fit_is_the_posterior_mean_where_variances_differ_with_the_date(
    kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # White noise: at noise level 1 the posterior mean is v / (v + 1) x_t, and the prior's own estimate x_t / 2.
    monkeypatch.setattr(moments, "LEVELS", (1.0,))
    record = Record(kept)
    rng = np.random.default_rng(1)
    v = variance(record.times)
    latents = (rng.standard_normal(v.shape) * np.sqrt(v)).astype("f4")
    if kept:  # what is fitted is what the years that are kept for it tell, not the others
        latents[: 3 * 1461] = 0
    config = SeasonalDiurnalConfig(rank=24, ridge=0.003, pooling=0.0, steps=200)
    correction = seasonal_diurnal_correction.fit_seasonal_diurnal(
        config, GaussianDenoiser(white(), None), latents, record, EYE, seed=0
    )  # type: ignore[arg-type]
    index = np.arange(3 * 1461, 3 * 1461 + 1400)[:, None] + np.arange(WINDOW)
    date = to_date_tensor(record.times)[torch.from_numpy(index)]
    x_t = torch.randn(len(index), WINDOW, *SHAPE)
    with torch.no_grad():
        found = GaussianDenoiser(white(), None, corrections=[correction])(x_t, torch.tensor(1.0), date)
    expected = torch.from_numpy((v / (v + 1)).astype("f4"))[index] * x_t
    left = (found - expected).square().mean() / (0.5 * x_t - expected).square().mean()
    assert left < (0.35 if kept else 0.15)


def test_neighbours_count_with_their_share() -> None:
    h, w, _ = SHAPE
    square = torch.arange(float(h * w)).view(-1, 1, 1).expand(-1, 2, 2).contiguous()
    found = moments.pool_moments(moments.Moments(square, 3 * square[..., :1]), (h, w), 0.5)
    # The place at row 1, column 2, number 6: its neighbours are 2, 10, 5 and 7.
    assert torch.equal(found.square[6], torch.full((2, 2), (6 + 0.5 * (2 + 10 + 5 + 7)) / 3))
    assert torch.equal(found.product[6], torch.full((2, 1), 3 * (6 + 0.5 * (2 + 10 + 5 + 7)) / 3))


def test_it_is_described_built_settled_and_kept_as_it_is(tmp_path: Path) -> None:
    correction = SeasonalDiurnalCorrection(SeasonalDiurnalSpec(SHAPE, rank=5))
    torch.nn.init.normal_(correction.weights)
    denoiser = GaussianDenoiser(white(), ResidualNetwork(ResidualSpec(WINDOW, SHAPE, 8, 1)), corrections=[correction])
    again = build(describe(denoiser), WINDOW, SHAPE)
    again.load_state_dict(denoiser.state_dict())
    x, date = torch.randn(2, WINDOW, *SHAPE), to_date_tensor(Record().times[:WINDOW])
    expected = denoiser(x, torch.tensor(0.7), date)
    assert torch.equal(cache_matrices(again)(x, torch.tensor(0.7), date), expected)
    assert again.corrections[0].cached is not None
    correction.weights.data.zero_()
    assert not torch.allclose(denoiser(x, torch.tensor(0.7), date), expected)


def test_it_is_fitted_once(tmp_path: Path, rng: np.random.Generator) -> None:
    record = Record()
    latents = rng.standard_normal((len(record.times), *SHAPE)).astype("f4")
    config = SeasonalDiurnalConfig(rank=3, every=100, steps=2)
    arguments = (config, GaussianDenoiser(white(), None), latents, record)
    first = seasonal_diurnal_correction.restore(*arguments, lambda: EYE, 0, tmp_path)  # type: ignore[arg-type]
    again = seasonal_diurnal_correction.restore(*arguments, lambda: pytest.fail("made again"), 0, tmp_path)  # type: ignore[arg-type, return-value]
    assert torch.equal(first.inward, again.inward) and first.weights.any()


def test_sums_that_were_killed_end_with_the_same_bits(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moments, "CHECKPOINT", 2)
    record = Record()
    latents = rng.standard_normal((len(record.times), *SHAPE)).astype("f4")
    starts = record.list_windows(0, WINDOW)[::60][:80]
    expected = moments.accumulate_moments(GaussianDenoiser(white(), None), latents, record, starts, 4)  # type: ignore[arg-type]

    class Killed(GaussianDenoiser):
        left = 3

        def forward(self, x_t: torch.Tensor, sigma: torch.Tensor, date: torch.Tensor) -> torch.Tensor:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return super().forward(x_t, sigma, date)

    file = tmp_path / "moments.pt"
    with pytest.raises(KeyboardInterrupt):
        moments.accumulate_moments(Killed(white(), None), latents, record, starts, 4, file)  # type: ignore[arg-type]
    rest = Killed(white(), None)
    found = moments.accumulate_moments(rest, latents, record, starts, 4, file)  # type: ignore[arg-type]
    assert rest.left == 0, "two of the five batches were there already"
    assert torch.equal(found.square, expected.square) and torch.equal(found.product, expected.product)


def test_emphasis_on_an_unknown_variable_is_an_error() -> None:
    with pytest.raises(OptionError, match="seasonal_diurnal_correction: emphasis on .'snow'."):
        Recipe(seasonal_diurnal_correction=SeasonalDiurnalConfig(emphasis=(("snow", 2.0),)))
