"""What a decoder leaves, told linearly at every place from the latents around."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.test_networks import OURS
from xappa.errors import ModelError, OptionError
from xappa.model.corrections.decoder import DecoderCorrection, gather_neighbours
from xappa.model.corrections.linear import cache_matrices
from xappa.model.directory import read_model
from xappa.model.networks.autoencoder import ConvAutoencoder
from xappa.training import autoencoder, commands, decoder_correction
from xappa.training.config import AnalysisSampling, Optimisation, Recipe, StateConfig, read_config
from xappa.training.config import DecoderCorrectionConfig as Config
from xappa.training.data import CORRECTION

CPU = torch.device("cpu")
SPEC = replace(OURS, linear_skip=True, static_channels=2, places=True, remainder_channels=(2, 0), remainder_rank=5)


def a_network(**size: int) -> ConvAutoencoder:
    """Of one seed, with a remainder that adds nothing."""
    torch.manual_seed(1)
    return ConvAutoencoder(replace(SPEC, **size)).eval()


def a_correcting_network() -> ConvAutoencoder:
    network = a_network()
    torch.nn.init.normal_(network.remainder.weights)
    return network


def test_a_cell_is_told_by_itself_and_those_around_it() -> None:
    torch.manual_seed(0)
    network = DecoderCorrection((3, 4, 2), 2, 2, 5)
    torch.nn.init.normal_(network.weights)
    z = torch.randn(2, 2, 3, 4)
    found = network(z)
    assert found.shape == (2, 2, 6, 8)
    for row in range(3):
        for column in range(4):
            matrix = torch.einsum("r,ri,ro->io", network.weights[4 * row + column], network.inward, network.outward)
            for member in range(2):
                around = torch.zeros(2, 3, 3)
                for i in range(3):
                    for j in range(3):
                        if 0 <= row + i - 1 < 3:
                            around[:, i, j] = z[member, :, row + i - 1, (column + j - 1) % 4]
                told = torch.cat([torch.ones(1), around.flatten()]) @ matrix
                cell = found[member, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
                torch.testing.assert_close(cell, told.view(2, 2, 2), rtol=1e-4, atol=1e-5)


def test_only_its_channels_change() -> None:
    whole = a_correcting_network()
    z = torch.randn(3, *SPEC.latent_shape)
    with torch.no_grad():
        change = whole.decode(z) - decoder_correction.without_correction(whole).decode(z)
        told = whole.remainder(z.permute(0, 3, 1, 2))
    torch.testing.assert_close(change[:, [2, 0]], told, rtol=1e-4, atol=1e-5)
    assert not change[:, 1].any() and told.abs().min() > 0


def test_untrained_it_adds_nothing() -> None:
    network = a_network()
    z = torch.randn(2, *SPEC.latent_shape)
    torch.testing.assert_close(
        network.decode(z), decoder_correction.without_correction(network).decode(z), rtol=0, atol=0
    )


def test_its_derivatives_are_each_others_adjoints() -> None:
    network = a_correcting_network().double().requires_grad_(False)
    z, v = torch.randn(2, 2, *SPEC.latent_shape, dtype=torch.float64).unbind(0)
    value, forward = torch.func.jvp(network.decode, (z,), (v,))
    u = torch.randn_like(value)
    (backward,) = torch.func.vjp(network.decode, z)[1](u)
    assert float((forward * u).sum()) == pytest.approx(float((v * backward).sum()), rel=1e-10)


def test_settled_it_is_the_same() -> None:
    network, z = a_correcting_network(), torch.randn(2, *SPEC.latent_shape)
    with torch.no_grad():
        expected = network.decode(z)
        assert torch.equal(cache_matrices(network).decode(z), expected)
    assert network.remainder.cached is not None and "remainder.cached" not in network.state_dict()


@pytest.mark.parametrize("values", [{"wrap": True}, {"patch_size": (2, 1)}])
def test_cells_must_be_squares_of_the_state(values: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="remainder_channels need wrap=False and square cells"):
        replace(SPEC, **values)


class Record:
    """States that a decoder gives, and what a known matrix of every cell adds to two of their channels."""

    def __init__(self, network: ConvAutoencoder, kept: bool) -> None:
        rng = torch.Generator().manual_seed(2)
        self.latents = torch.randn(400, *SPEC.latent_shape, generator=rng)
        self.matrices = torch.randn(*network.remainder.sizes, generator=rng)
        with torch.no_grad():
            bare = decoder_correction.without_correction(network)
            fields = bare.decode(self.latents)
            told = gather_neighbours(self.latents.permute(0, 3, 1, 2)) @ self.matrices
            fields[:, [2, 0]] += torch.nn.functional.pixel_shuffle(told.permute(1, 2, 0).unflatten(2, (2, 4)), 4)
        self.anomalies = fields.numpy()
        self.kept = kept
        self.spec = SimpleNamespace(latitude=np.linspace(-78.75, 78.75, 8))
        self.statistics = {
            "scale": np.ones((3, 8, 16), "f4"),
            "deviation": np.ones(3, "f4"),
            "mask": np.ones((3, 8, 16), "u1"),
        }
        if kept:  # the others are of another world
            self.anomalies[200:] += 100

    def list_times(self, split: int) -> np.ndarray:
        if split == CORRECTION:
            return np.arange(200) if self.kept else np.arange(0)
        return np.arange(400)


RECIPE = Recipe(
    state=StateConfig(surface=("2m_temperature",)),
    decoder_correction=Config(channels=(("2m_temperature", 0),), rank=5, ridge=1e-7, steps=0),
)


@pytest.mark.parametrize("kept", [False, True])
def test_it_finds_what_is_linear(kept: bool) -> None:
    network = a_network(remainder_rank=8 * 32)
    record: Any = Record(network, kept)
    fitted = decoder_correction.fit_decoder_correction(RECIPE, network, record.latents.numpy(), record)
    there = gather_neighbours(record.latents.permute(0, 3, 1, 2)).any(1)  # not beyond the poles
    torch.testing.assert_close(fitted.get_matrices()[there], record.matrices[there], rtol=0.02, atol=0.02)
    with torch.no_grad():
        left = torch.from_numpy(record.anomalies[:200]) - network.decode(record.latents[:200])
    assert left.square().mean() < 1e-3


def test_estimates_count_as_they_are_told_to() -> None:
    record: Any = Record(a_network(), False)
    latents = record.latents.numpy()
    some = np.arange(0, 400, 4)
    wrong = np.stack([latents[some], latents[some]], 1) + 3

    def told(share: float, estimates: Any = (wrong, some)) -> torch.Tensor:
        recipe = replace(RECIPE, decoder_correction=replace(RECIPE.decoder_correction, steps=20, analysis_weight=share))
        return decoder_correction.fit_decoder_correction(recipe, a_network(), latents, record, estimates).get_matrices()

    alone = told(1.0, None)
    torch.testing.assert_close(told(0.0), alone)
    assert (told(2.0) - alone).square().mean() > (told(0.1) - alone).square().mean() > 0


def test_sums_go_on_where_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder_correction, "BATCH", 50)
    monkeypatch.setattr(decoder_correction, "CHECKPOINT", 3)
    recipe = replace(RECIPE, decoder_correction=replace(RECIPE.decoder_correction, steps=3))

    def fit(checkpoint: Path | None) -> torch.Tensor:
        network = a_network()
        record: Any = Record(network, False)
        made = decoder_correction.fit_decoder_correction(
            recipe, network, record.latents.numpy(), record, checkpoint=checkpoint
        )
        return made.get_matrices()

    whole = fit(None)
    done: list[int] = []
    real = decoder_correction._compute_products

    def killed(*arguments: Any) -> Any:
        done.append(1)
        if len(done) == 6:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(decoder_correction, "_compute_products", killed)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "sums.pt")
    assert (tmp_path / "sums.pt").exists()
    assert torch.equal(fit(tmp_path / "sums.pt"), whole)
    assert len(done) == 6 + 8 - 3


@pytest.fixture(scope="module")
def recipe(tiny_work: Path) -> Recipe:
    made = read_config(tiny_work / "recipe.toml")
    told = Config(channels=(("2m_temperature", 0), ("temperature", 850)), rank=12, ridge=0.3, steps=20)
    learning = Optimisation(4, warmup=2, batch=4, bfloat16=False)
    return replace(
        made,
        autoencoder=replace(made.autoencoder, finetune=learning),
        analysis_sampling=AnalysisSampling(count=2, share=(0.1, 0.3), columns=(0.1, 0.3)),
        decoder_correction=told,
    )


@pytest.fixture(scope="module")
def packaged(tiny_work: Path, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("remainder") / "work"
    shutil.copytree(tiny_work, work)
    commands.finetune(recipe, work, CPU)
    commands.package(recipe, work, work / "whole")
    return work


def test_a_package_tells_what_its_decoder_left(packaged: Path, recipe: Recipe) -> None:
    made = commands._load_previous_steps(recipe, packaged, CPU)
    before = autoencoder.restore(recipe, made.record, packaged, CPU)
    after = read_model(packaged / "whole").autoencoder
    index = made.record.list_times(0)
    truth, z = torch.from_numpy(made.record.anomalies[index].astype("f4")), torch.from_numpy(made.raw[index])
    with torch.no_grad():
        errors = [(network.decode(z) - truth).square().mean((0, 2, 3)) for network in (before, after)]
    told = list(recipe.decoder_correction.find_channels(made.record.spec))
    rest = [channel for channel in range(len(errors[0])) if channel not in told]
    assert (errors[1][told] < 0.97 * errors[0][told]).all()
    torch.testing.assert_close(errors[1][rest], errors[0][rest], rtol=0.02, atol=1e-4)


def test_it_is_fitted_once_to_a_decoder(packaged: Path, recipe: Recipe) -> None:
    made = commands._load_previous_steps(recipe, packaged, CPU)
    network = autoencoder.restore(recipe, made.record, packaged, CPU)
    file = packaged / decoder_correction.FILE
    changed = file.stat().st_mtime_ns
    arguments = (made.raw, made.record, None, packaged)
    decoder_correction.restore(recipe, network, *arguments)
    assert file.stat().st_mtime_ns == changed
    with torch.no_grad():
        network.decoder_linear.weight.mul_(1.01)
    other = decoder_correction.restore(recipe, network, *arguments)
    assert file.stat().st_mtime_ns != changed and not list(packaged.glob("remainder-*.pt"))
    smaller = replace(recipe, decoder_correction=replace(recipe.decoder_correction, rank=3))
    assert other.remainder.weights.shape[1] == 12
    assert decoder_correction.restore(smaller, network, *arguments).remainder.weights.shape[1] == 3


def test_an_adopted_model_has_it_fitted_anew(packaged: Path, recipe: Recipe, tmp_path: Path) -> None:
    shutil.copytree(packaged / "nature", tmp_path / "nature")
    commands.init_from(recipe, tmp_path, str(packaged / "whole"))
    commands.train_autoencoder(recipe, tmp_path, CPU)
    made = commands._load_previous_steps(recipe, tmp_path, CPU)
    expected = decoder_correction.without_correction(read_model(packaged / "whole").autoencoder)
    for name, value in expected.state_dict().items():
        assert torch.equal(made.autoencoder.state_dict()[name], value), name
    assert not (tmp_path / decoder_correction.FILE).exists()


def test_there_are_no_more_patterns_than_can_be_fitted(packaged: Path, recipe: Recipe, tmp_path: Path) -> None:
    many = replace(recipe, decoder_correction=replace(recipe.decoder_correction, rank=10_000, steps=1))
    made = commands._load_previous_steps(recipe, packaged, CPU)
    network = autoencoder.restore(recipe, made.record, packaged, CPU)
    whole = decoder_correction.restore(many, network, made.raw, made.record, None, tmp_path)
    assert whole.spec.remainder_rank == whole.remainder.weights.shape[1] == 2 * 8 * 16


@pytest.mark.parametrize("text", ["rank = 3", 'channels = [["2m_temperature", 0]]'])
def test_channels_and_patterns_come_together(tmp_path: Path, text: str) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(f'[state]\nsurface = ["2m_temperature"]\n[decoder_correction]\n{text}\n')
    with pytest.raises(OptionError, match=r"recipe\.toml: decoder_correction\.rank=.*give both, or neither"):
        read_config(file)


def test_channels_that_the_state_does_not_have_are_named(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    text = 'rank = 3\nchannels = [["2m_temprature", 0]]'
    file.write_text(f'[state]\nsurface = ["2m_temperature"]\n[decoder_correction]\n{text}\n')
    with pytest.raises(OptionError, match=r"decoder_correction\.channels: .*2m_temprature.*the state has no such"):
        read_config(file)
