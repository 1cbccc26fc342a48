"""The correction of the Gaussian's estimate at every place."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from xappa.diffusion.gaussian import GaussianDenoiser, GaussianPrior, compute_correction_factor
from xappa.model.corrections.local import LocalCorrection, LocalSpec, cosine_basis, with_neighbours
from xappa.model.corrections.residual import ResidualNetwork, ResidualSpec
from xappa.model.corrections.seasonal_diurnal import SeasonalDiurnalCorrection, SeasonalDiurnalSpec
from xappa.model.denoisers import build, describe
from xappa.training import data
from xappa.training.config import LocalCorrectionConfig, read_config
from xappa.training.importance import LatentImportance
from xappa.training.local import fit_local
from xappa.training.local import restore as restore_local
from xappa.training.prior import restore

SHAPE = (3, 4, 2)
WINDOW = 4
SUMMER = torch.tensor([[2001, 7, 1, 0]]).expand(WINDOW, 4)


def white(variance: float = 1.0) -> GaussianPrior:
    """A prior that knows nothing but one variance."""
    prior = GaussianPrior(WINDOW, SHAPE, 4, 2)
    eye = {"joint_vectors": 2 * WINDOW, "single_vectors": WINDOW, "rest_vectors": WINDOW}
    for m in range(len(prior.patterns)):
        prior.patterns[m, :4, :4, 0] = torch.eye(4)
        for name, size in eye.items():
            getattr(prior, name)[m, ..., 0] = torch.eye(size)
    for name in ("joint_variances", "single_variances", "rest_variances"):
        getattr(prior, name).fill_(variance)
    return prior


class Record:
    """The part of a record that fitting reads."""

    def __init__(self, count: int) -> None:
        self.times = np.datetime64("2001-01-01T00:00:00") + 6 * np.arange(count).astype("timedelta64[h]")

    def list_windows(self, split: int, length: int) -> np.ndarray:
        return np.arange(len(self.times) - length + 1)


def test_cosines_are_orthonormal() -> None:
    for length in (1, 5, 8):
        c = cosine_basis(length).double()
        assert torch.allclose(c @ c.mT, torch.eye(length, dtype=torch.float64), atol=1e-6)


def test_without_weights_nothing_is_corrected() -> None:
    network = LocalCorrection(LocalSpec(WINDOW, SHAPE, 3))
    x = torch.randn(2, WINDOW, *SHAPE)
    date = SUMMER.expand(2, WINDOW, 4)
    assert not network(x, torch.zeros(2), date).any()


def test_matrices_that_are_kept_are_those_of_the_parameters() -> None:
    local = LocalCorrection(LocalSpec(WINDOW, SHAPE, 3))
    torch.nn.init.normal_(local.weights)
    x, date = torch.randn(2, WINDOW, *SHAPE), SUMMER.expand(2, WINDOW, 4)
    before = local(x, torch.zeros(2), date)
    names = list(local.state_dict())
    local.cache_matrices()
    assert torch.equal(local(x, torch.zeros(2), date), before)
    assert list(local.state_dict()) == names, "they are not written"
    with torch.no_grad():
        local.weights.mul_(2)
    assert torch.equal(local(x, torch.zeros(2), date), before), "they are not made again"
    local.cache_matrices()
    assert not torch.allclose(local(x, torch.zeros(2), date), before)


def test_fit_is_the_posterior_mean_where_only_the_variance_differs() -> None:
    # White noise in time whose variance differs from place to place and channel to channel: at noise level 1 the
    # posterior mean is v / (v + 1) x_t, and the prior's own estimate x_t / 2.
    rng = np.random.default_rng(0)
    variance = rng.uniform(0.2, 4.0, SHAPE)
    latents = (rng.standard_normal((20_000, *SHAPE)) * np.sqrt(variance)).astype("f4")
    config = LocalCorrectionConfig(rank=12, ridge=1e-6, every=3)
    local = fit_local(config, GaussianDenoiser(white(), None), latents, Record(len(latents)), seed=0)  # type: ignore[arg-type]
    denoiser = GaussianDenoiser(white(), None, [local])
    x_t = torch.randn(5, WINDOW, *SHAPE)
    date = SUMMER
    with torch.no_grad():
        found = denoiser(x_t, torch.tensor(1.0), date)
    expected = torch.from_numpy((variance / (variance + 1)).astype("f4")) * x_t
    assert (found - expected).abs().max() < 0.1
    assert (found - expected).square().mean() < 1e-3
    assert (0.5 * x_t - expected).square().mean() > 1e-2


def test_neighbours_lie_across_the_pole_and_round_the_earth() -> None:
    x = torch.arange(12.0).view(3, 4, 1)  # row * 4 + column
    here, south, north, west, east = with_neighbours(x).unbind(-1)
    assert torch.equal(here, x[..., 0])
    assert south.tolist() == [[2, 3, 0, 1], [0, 1, 2, 3], [4, 5, 6, 7]]
    assert north.tolist() == [[4, 5, 6, 7], [8, 9, 10, 11], [10, 11, 8, 9]]
    assert west[0].tolist() == [3, 0, 1, 2] and east[0].tolist() == [1, 2, 3, 0]


def pairs() -> tuple[np.ndarray, Callable[[torch.Tensor], torch.Tensor]]:
    """Latents whose columns 0 and 1, 2 and 3 share what they hold, and their posterior mean at noise level 1."""
    rng = np.random.default_rng(1)
    latents = rng.standard_normal((20_000, *SHAPE)).astype("f4")
    latents[:, :, 1::2] = 0.8 * latents[:, :, ::2] + 0.6 * latents[:, :, 1::2]
    pair = np.array([[1.0, 0.8], [0.8, 1.0]])
    gain = torch.from_numpy((pair @ np.linalg.inv(pair + np.eye(2))).astype("f4"))

    def mean(x_t: torch.Tensor) -> torch.Tensor:
        return torch.einsum("ij,bthpjc->bthpic", gain, x_t.unflatten(3, (2, 2))).flatten(3, 4)

    return latents, mean


def test_fit_is_the_posterior_mean_where_neighbours_belong_together_in_pairs() -> None:
    latents, expected = pairs()
    x_t = torch.randn(5, WINDOW, *SHAPE)

    def error(neighbours: bool) -> float:
        config = LocalCorrectionConfig(rank=12, ridge=1e-6, every=3, neighbours=neighbours)
        record = Record(len(latents))
        local = fit_local(config, GaussianDenoiser(white(), None), latents, record, seed=0)  # type: ignore[arg-type]
        with torch.no_grad():
            found = GaussianDenoiser(white(), None, [local])(x_t, torch.tensor(1.0), SUMMER)
        return float((found - expected(x_t)).abs().max())

    assert error(neighbours=True) < 0.1
    assert error(neighbours=False) > 0.5


def test_only_the_slowest_cosines_are_corrected() -> None:
    torch.manual_seed(0)
    local = LocalCorrection(LocalSpec(WINDOW, SHAPE, 3, modes=2, neighbours=True))
    torch.nn.init.normal_(local.weights)
    x, date = torch.randn(2, WINDOW, *SHAPE), SUMMER.expand(2, WINDOW, 4)
    with torch.no_grad():
        parts = torch.einsum("kt,bthwc->kbhwc", cosine_basis(WINDOW), local(x, torch.zeros(2), date))
    assert parts[:2].abs().min() > 0 and parts[2:].abs().max() < 1e-5


def test_truncation_spares_what_matters() -> None:
    # Two channels whose variance differs from place to place, each in its own way; one shared matrix is enough for one.
    rng = np.random.default_rng(0)
    variance = rng.uniform(0.2, 4.0, SHAPE)
    latents = (rng.standard_normal((20_000, *SHAPE)) * np.sqrt(variance)).astype("f4")
    x_t = torch.randn(20, WINDOW, *SHAPE)
    expected = torch.from_numpy((variance / (variance + 1)).astype("f4")) * x_t
    date = SUMMER

    def errors(*channels: float) -> list[float]:
        matters = LatentImportance(torch.ones(SHAPE[0]), torch.tensor(channels))
        config = LocalCorrectionConfig(rank=1, ridge=1e-6, every=3)
        local = fit_local(
            config,
            GaussianDenoiser(white(), None),
            latents,
            Record(len(latents)),  # type: ignore[arg-type]
            seed=0,
            importance=matters,
        )
        with torch.no_grad():
            found = GaussianDenoiser(white(), None, [local])(x_t, torch.tensor(1.0), date)
        return (found - expected).square().mean((0, 1, 2, 3)).tolist()

    first, second = errors(1.99, 0.01), errors(0.01, 1.99)
    assert first[0] < 2e-3 < 1e-2 < first[1]
    assert second[1] < 2e-3 < 1e-2 < second[0]


def test_a_fit_is_better_than_none_with_other_noise(tiny_work: Path) -> None:
    recipe = read_config(tiny_work / "recipe.toml")
    record = data.open_record(recipe, tiny_work / "data")
    latents = np.load(tiny_work / "standardised.npy")
    prior = restore(recipe, latents, record, tiny_work)
    starts = record.list_windows(0, recipe.denoiser.window)
    x = torch.from_numpy(latents[starts[:, None] + np.arange(recipe.denoiser.window)])
    date = torch.tensor([[2001, 7, 1, 0]]).expand(recipe.denoiser.window, 4)
    generator = torch.Generator().manual_seed(3)
    x_t = x + torch.randn(x.shape, generator=generator)

    def error(rank: int) -> float:
        config = LocalCorrectionConfig(rank=rank, ridge=0.05, every=1)
        local = [fit_local(config, GaussianDenoiser(prior, None), latents, record, seed=1)] if rank else []
        with torch.no_grad():
            return float((GaussianDenoiser(prior, None, local)(x_t, torch.tensor(1.0), date) - x).square().mean())

    assert max(error(10_000), error(2)) < 0.995 * error(0)


def test_a_fit_depends_on_its_seed_alone(tiny_work: Path) -> None:
    recipe = read_config(tiny_work / "recipe.toml")
    record = data.open_record(recipe, tiny_work / "data")
    latents = np.load(tiny_work / "standardised.npy")
    denoiser = GaussianDenoiser(restore(recipe, latents, record, tiny_work), None)

    def fitted(before: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(before)
        return fit_local(
            LocalCorrectionConfig(rank=2, ridge=0.05, every=20), denoiser, latents, record, seed=7
        ).state_dict()

    first, second = fitted(0), fitted(1)
    assert "gains.0.weight" in first
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_several_are_fitted_to_what_those_before_leave(tmp_path: Path) -> None:
    latents, expected = pairs()
    ridge, every = 1e-6, 3
    configs = (
        LocalCorrectionConfig(rank=12, ridge=ridge, every=every),
        LocalCorrectionConfig(rank=12, ridge=ridge, every=every, neighbours=True),
    )
    recipe = SimpleNamespace(local=configs, seed=0)
    both = restore_local(recipe, white(), latents, Record(len(latents)), tmp_path)  # type: ignore[arg-type]
    again = restore_local(recipe, white(), latents[:0], Record(0), tmp_path)  # type: ignore[arg-type]
    x_t = torch.randn(5, WINDOW, *SHAPE)

    def error(corrections: Iterable[torch.nn.Module]) -> float:
        with torch.no_grad():
            found = GaussianDenoiser(white(), None, corrections)(x_t, torch.tensor(1.0), SUMMER)
        return float((found - expected(x_t)).abs().max())

    assert error(both) < 0.1 < 0.5 < error(both[:1])
    assert error(again) == error(both)


@pytest.mark.parametrize("several", [False, True])
def test_a_described_denoiser_is_built_again(several: bool) -> None:
    torch.manual_seed(0)
    specs = LocalSpec(WINDOW, SHAPE, 3), LocalSpec(WINDOW, SHAPE, 2, modes=3, neighbours=True)
    parts = [LocalCorrection(spec) for spec in specs]
    for part in parts:
        torch.nn.init.normal_(part.weights)
        torch.nn.init.normal_(part.gains[2].weight)  # type: ignore[arg-type]
    last = SeasonalDiurnalCorrection(SeasonalDiurnalSpec(SHAPE, 3))
    torch.nn.init.normal_(last.weights)
    corrections = [*parts, last] if several else parts[1:]
    residual = ResidualNetwork(ResidualSpec(WINDOW, SHAPE, hidden=8, blocks=1, features=8))
    denoiser = GaussianDenoiser(white(), residual, corrections)
    again = build(describe(denoiser), WINDOW, SHAPE)
    again.load_state_dict(denoiser.state_dict())
    x, sigma = torch.randn(2, WINDOW, *SHAPE), torch.tensor([0.3, 2.0])
    date = SUMMER
    with torch.no_grad():
        assert torch.equal(denoiser(x, sigma, date), again(x, sigma, date))
    # What files call them, and the arrangement of the formula: all but the last are seen by the network.
    names = {name.rpartition(".weights")[0] for name in denoiser.state_dict() if name.endswith(".weights")}
    assert names == ({"local.0", "local.1", "dated"} if several else {"local.0"})
    with torch.no_grad():
        gauss, noise = denoiser.prior.denoise(x, sigma), 10 * sigma.log()
        c = compute_correction_factor(sigma)[:, None, None, None, None]
        dates = date.expand(2, -1, -1)
        seen = gauss + c * torch.stack([part(gauss, noise, dates) for part in parts[not several :]]).sum(0)
        scale = torch.rsqrt(sigma**2 + 1)[:, None, None, None, None]
        expected = seen + c * residual(x * scale, seen, noise, dates)
        if several:
            expected = expected + c * last(gauss, noise, dates)
        assert torch.equal(denoiser(x, sigma, date), expected)
        assert torch.equal(denoiser.to_linear()(x, sigma, date), seen)


def test_names_of_files_hold_within_another_module() -> None:
    parts = LocalCorrection(LocalSpec(WINDOW, SHAPE, 3)), SeasonalDiurnalCorrection(SeasonalDiurnalSpec(SHAPE, 3))
    whole = torch.nn.ModuleDict({"denoiser": GaussianDenoiser(white(), None, parts)})
    tensors = whole.state_dict()
    assert "denoiser.local.0.weights" in tensors and "denoiser.dated.weights" in tensors
    assert not any("corrections" in name for name in tensors)
    other = copy.deepcopy(whole)
    torch.nn.init.normal_(other["denoiser"].corrections[1].weights)
    other.load_state_dict(tensors)
    assert torch.equal(other["denoiser"].corrections[1].weights, parts[1].weights)
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict({name: value for name, value in tensors.items() if "dated" not in name})


@pytest.mark.parametrize("level", [0.05, 30.0])
def test_correction_fades_with_the_noise(level: float) -> None:
    torch.manual_seed(0)
    local = LocalCorrection(LocalSpec(WINDOW, SHAPE, 3))
    with torch.no_grad():
        local.weights.normal_()
    x, date = torch.randn(1, WINDOW, *SHAPE), SUMMER
    sigma = torch.tensor(level)
    with torch.no_grad():
        estimate = white().denoise(x, sigma)
        raw = local(estimate, 10 * sigma.log().expand(1), date[None])
        found = GaussianDenoiser(white(), None, [local])(x, sigma, date) - estimate
    assert torch.allclose(found, 0.5 * level / (level**2 + 1) ** 0.5 * raw, rtol=1e-4, atol=1e-6)
