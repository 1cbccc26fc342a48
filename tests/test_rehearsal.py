"""Analyses of known years by networks drawn at random, and a decoder that learns from them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from xappa.errors import ModelError, OptionError
from xappa.model.directory import read_model
from xappa.training import autoencoder, commands, data, finetune_decoder
from xappa.training.config import AnalysisSampling, Optimisation, Recipe, read_config

CPU = torch.device("cpu")
DENSE = AnalysisSampling(count=6, share=(0.1, 0.3), columns=(0.1, 0.3))


@pytest.fixture(scope="module")
def recipe(tiny_work: Path) -> Recipe:
    made = read_config(tiny_work / "recipe.toml")
    learning = Optimisation(60, warmup=2, rate=2e-3, batch=6, bfloat16=False)
    return replace(made, autoencoder=replace(made.autoencoder, finetune=learning), analysis_sampling=DENSE)


@pytest.fixture(scope="module")
def rehearsed(tiny_work: Path, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("rehearsed") / "work"
    shutil.copytree(tiny_work, work)
    commands.finetune(recipe, work, CPU)
    return work


@pytest.fixture(scope="module")
def found(rehearsed: Path, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    record = data.open_record(recipe, rehearsed / "data")
    statistics = load_file(rehearsed / "latent-statistics.safetensors")
    return finetune_decoder.read_analyses(rehearsed / finetune_decoder.FOLDER, record, statistics)


@given(seed=st.integers(0, 10_000), scattered=st.sampled_from([0.0, 1.0]))
def test_networks_report_what_there_is_once(tiny_work: Path, recipe: Recipe, seed: int, scattered: float) -> None:
    record = data.open_record(recipe, tiny_work / "data")
    channels, height, width = record.spec.shape
    time, channel, cell, error = finetune_decoder.draw_network(
        replace(DENSE, scattered=scattered), record, np.random.default_rng(seed)
    )
    assert record.statistics["mask"].reshape(channels, -1)[channel, cell].all()
    assert len(time) and time.max() < record.spec.window and cell.max() < height * width
    assert len({*zip(time, channel, cell, strict=True)}) == len(time)
    share = error / record.statistics["deviation"][channel]
    assert np.ptp(share) < 1e-6 and 0.05 <= share[0] <= 0.3
    if not scattered:
        at_sea = record.statistics["mask"].reshape(channels, -1).all(0)
        profiles = {tuple(channel[(time == t) & (cell == c)]) for t in set(time) for c in set(cell) if at_sea[c]}
        assert len(profiles) <= 1


def test_estimates_are_of_the_states_that_they_are_said_to_be(
    rehearsed: Path, recipe: Recipe, found: tuple[np.ndarray, np.ndarray]
) -> None:
    latents, index = found
    record = data.open_record(recipe, rehearsed / "data")
    assert latents.shape == (6 * 4, 2, *read_model(rehearsed / "model").latent_shape) and len(index) == 6 * 4
    assert (record.split[index] == 0).all() and len(np.unique(index)) > 12
    true = np.load(rehearsed / "latents.npy")
    near = np.square(latents.mean(1) - true[index]).mean()
    for shift in (-2, 2):
        assert near < 0.8 * np.square(latents.mean(1) - true[index + shift]).mean()
    assert near < 0.8 * np.square(true[index] - true[index].mean(0)).mean()


def test_the_decoder_learns_from_them_and_the_encoder_stays(
    rehearsed: Path, recipe: Recipe, found: tuple[np.ndarray, np.ndarray]
) -> None:
    latents, index = found
    record = data.open_record(recipe, rehearsed / "data")
    before = autoencoder.restore(recipe, record, rehearsed, CPU, before="finetune")
    after = autoencoder.restore(recipe, record, rehearsed, CPU)
    truth = torch.from_numpy(record.anomalies[index].astype("f4"))
    with torch.no_grad():
        assert torch.equal(before.encode(truth), after.encode(truth))
        errors = [
            (network.decode(torch.from_numpy(latents).flatten(0, 1)).unflatten(0, (-1, 2)).mean(1) - truth)
            .square()
            .mean()
            for network in (before, after)
        ]
    assert errors[1] < 0.99 * errors[0]


def test_what_was_rehearsed_is_not_rehearsed_again(rehearsed: Path, recipe: Recipe, tmp_path: Path) -> None:
    folder = rehearsed / finetune_decoder.FOLDER
    record = data.open_record(recipe, rehearsed / "data")
    kept = sorted(folder.glob("*.safetensors"))
    shutil.copytree(folder, tmp_path / "r")
    (tmp_path / "r" / kept[2].name).unlink()
    before = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "r").glob("*.safetensors")}
    finetune_decoder.sample_analyses(
        recipe.analysis_sampling, record, folder / "model", tmp_path / "r", recipe.seed, "cpu"
    )
    after = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "r").glob("*.safetensors")}
    assert {name: after[name] for name in before} == before
    assert (tmp_path / "r" / kept[2].name).read_bytes() == kept[2].read_bytes()


def test_analyses_by_another_model_are_not_learned_from(rehearsed: Path, recipe: Recipe, tmp_path: Path) -> None:
    shutil.copytree(rehearsed / finetune_decoder.FOLDER, tmp_path / "r")
    (tmp_path / "r" / "model.sha256").write_text("of another")
    record = data.open_record(recipe, rehearsed / "data")
    with pytest.raises(ModelError, match=r"holds analyses by another model than .*model now is\. Remove it"):
        finetune_decoder.sample_analyses(
            recipe.analysis_sampling, record, tmp_path / "r" / "model", tmp_path / "r", recipe.seed, "cpu"
        )


def test_an_adopted_model_rehearses_anew(rehearsed: Path, recipe: Recipe, tmp_path: Path) -> None:
    shutil.copytree(rehearsed / "nature", tmp_path / "nature")
    commands.init_from(recipe, tmp_path, str(rehearsed / "model"))
    commands.train_autoencoder(recipe, tmp_path, CPU)
    record = data.open_record(recipe, tmp_path / "data")
    adopted = autoencoder.restore(recipe, record, tmp_path, CPU, before="finetune")
    for name, value in read_model(rehearsed / "model").autoencoder.state_dict().items():
        assert torch.equal(adopted.state_dict()[name], value), name
    with pytest.raises(ModelError, match=r"estimates\.pt does not exist"):
        autoencoder.restore(recipe, record, tmp_path, CPU)


def test_the_package_has_the_decoder_that_rehearsed(rehearsed: Path, recipe: Recipe, tmp_path: Path) -> None:
    commands.package(recipe, rehearsed, tmp_path / "model")
    record = data.open_record(recipe, rehearsed / "data")
    x = torch.from_numpy(record.anomalies[:3].astype("f4"))
    with torch.no_grad():
        z = read_model(rehearsed / "model").autoencoder.encode(x)
        packed, old = (read_model(folder / "model").autoencoder.decode(z) for folder in (tmp_path, rehearsed))
        expected = autoencoder.restore(recipe, record, rehearsed, CPU).decode(z)
    assert torch.allclose(packed, expected, atol=0.02) and not torch.allclose(old, expected, atol=0.02)


def test_a_package_waits_for_the_rehearsal(tiny_work: Path, recipe: Recipe, tmp_path: Path) -> None:
    shutil.copytree(tiny_work, tmp_path / "work")
    with pytest.raises(ModelError, match=r"estimates\.pt does not exist"):
        commands.package(recipe, tmp_path / "work", tmp_path / "model")


def test_a_recipe_without_rehearsals_says_so(tiny_work: Path, tmp_path: Path) -> None:
    with pytest.raises(
        OptionError, match=r"give a count in \[analysis_sampling\] and steps in \[autoencoder.finetune\]"
    ):
        commands.finetune(read_config(tiny_work / "recipe.toml"), tmp_path, CPU)


@pytest.mark.parametrize("text", ["[analysis_sampling]\ncount = 3\n", "[autoencoder.finetune]\nsteps = 3\n"])
def test_rehearsals_and_learning_from_them_come_together(tmp_path: Path, text: str) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    with pytest.raises(OptionError, match=r"recipe\.toml: .*the decoder is fine-tuned on sampled analyses; give both"):
        read_config(file)


@pytest.mark.parametrize(
    "values",
    [{"share": (0.3, 0.1)}, {"share": (0.0, 0.1)}, {"columns": (0.1, 1.5)}, {"error": (-1.0, 1.0)}, {"observed": 1.1}],
)
def test_networks_that_cannot_be_drawn_are_refused(values: dict) -> None:
    with pytest.raises(OptionError, match=f"{next(iter(values))}=.*expected"):
        AnalysisSampling(**values)


def test_runs_kept_for_the_correction_must_be_there(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text('[splits]\ncorrection = ["e"]\n')
    with pytest.raises(OptionError, match=r"recipe\.toml: splits.correction: no runs \['e'\]"):
        read_config(file)
