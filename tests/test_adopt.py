"""Training that goes on from a model that is there."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import xappa
from xappa.errors import ModelError
from xappa.training import commands
from xappa.training.config import Recipe, read_config

CPU = torch.device("cpu")


@pytest.fixture
def recipe(tiny_work: Path) -> Recipe:
    return read_config(tiny_work / "recipe.toml")


def test_the_same_years_make_the_same_model(tiny_work: Path, recipe: Recipe, tmp_path: Path) -> None:
    shutil.copytree(tiny_work / "nature", tmp_path / "nature")
    commands.init_from(recipe, tmp_path, str(tiny_work / "model"))
    commands.train_autoencoder(recipe, tmp_path, CPU)
    commands.train_denoiser(recipe, tmp_path, CPU)
    commands.package(recipe, tmp_path, tmp_path / "model")

    def tensors(part: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        file = f"model/{part}.safetensors"
        return load_file(tiny_work / file), load_file(tmp_path / file)

    for part in ("autoencoder", "denoiser"):
        before, after = tensors(part)
        assert before.keys() == after.keys()
        for name in before:
            if not name.startswith("dated"):  # which is fitted anew
                np.testing.assert_array_equal(before[name], after[name], err_msg=name)
    before, after = tensors("statistics")
    for name in ("annual", "diurnal", "scale", "mask", "land", "latent_mean", "latent_deviation"):
        np.testing.assert_array_equal(before[name], after[name], err_msg=name)
    # Measured with weights in half precision, not as trained.
    np.testing.assert_allclose(before["error"], after["error"], rtol=0.01, atol=1e-3)
    assert np.load(tmp_path / "standardised.npy").std() == pytest.approx(1, abs=0.2)


def test_other_years_are_anomalies_from_the_same_climatology(tiny_work: Path, recipe: Recipe, tmp_path: Path) -> None:
    shutil.copytree(tiny_work / "nature", tmp_path / "nature")
    commands.init_from(recipe, tmp_path, str(tiny_work / "model"))
    later = replace(recipe.splits, train=(("2001-01-01", "2001-01-31"),), climatology=(("2001-01-01", "2001-01-31"),))
    commands.train_autoencoder(replace(recipe, splits=later), tmp_path, CPU)
    mine = np.load(tmp_path / "data" / "anomalies.npy")
    np.testing.assert_array_equal(mine, np.load(tiny_work / "data" / "anomalies.npy"))
    mine_split, split = (np.load(work / "data" / "axes.npz")["split"] for work in (tmp_path, tiny_work))
    assert (mine_split == 0).sum() < (split == 0).sum()


def test_training_goes_on_where_the_model_stands(tiny_work: Path, recipe: Recipe, tmp_path: Path) -> None:
    shutil.copytree(tiny_work / "nature", tmp_path / "nature")
    commands.init_from(recipe, tmp_path, str(tiny_work / "model"))
    training = recipe.denoiser.training
    longer = replace(training, steps=training.steps + 2, restarts=(training.steps,), average=0.0)
    more = replace(recipe, denoiser=replace(recipe.denoiser, training=longer))
    commands.train_autoencoder(more, tmp_path, CPU)
    commands.train_denoiser(more, tmp_path, CPU)
    begun = torch.load(tiny_work / "denoiser.pt", weights_only=True)["average"]
    ended = torch.load(tmp_path / "denoiser.pt", weights_only=True)["average"]
    changes = [float((ended[k] - begun[k]).abs().max()) for k in begun]
    assert 0 < max(changes) < 0.1


def test_what_does_not_fit_is_refused(tiny_work: Path, recipe: Recipe, tmp_path: Path) -> None:
    model = str(tiny_work / "model")
    other = replace(recipe, prior=replace(recipe.prior, joint=4))
    with pytest.raises(ModelError, match="joint: 3 in the model, 4 in the recipe"):
        commands.init_from(other, tmp_path / "a", model)
    with pytest.raises(ModelError, match="lat_channels: 12 in the model, 10 in the recipe"):
        wrong = replace(recipe, autoencoder=replace(recipe.autoencoder, latent_channels=10))
        commands.init_from(wrong, tmp_path / "a", model)
    with pytest.raises(ModelError, match=r"results already \(.*denoiser.pt"):
        commands.init_from(recipe, tiny_work, model)
    assert not (tmp_path / "a").exists()


def test_a_model_of_another_kind_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    from xappa.training.init_from import init_from

    model = xappa.load("speedy", device="cpu")
    with pytest.raises(ModelError, match="its denoiser is a Linear"):
        init_from(recipe, replace(model, denoiser=torch.nn.Linear(1, 1)), tmp_path)


def test_statistics_of_another_grid_are_refused(tiny_work: Path, recipe: Recipe, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    shutil.copytree(tiny_work / "nature", tmp_path / "nature")
    (tmp_path / "data").mkdir()
    given = load_file(tiny_work / "data" / "statistics.safetensors")
    save_file({**given, "scale": given["scale"][:, ::2].copy()}, tmp_path / "data" / "statistics.safetensors")
    with pytest.raises(ModelError, match=r"is of states \(8, 4, 16\), the nature run of \(8, 8, 16\)"):
        commands.train_autoencoder(recipe, tmp_path, CPU)
