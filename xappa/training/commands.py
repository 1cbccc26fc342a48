"""The steps of ``xappa train``, one function each: every step finds what the one before left, and resumes."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import torch

from xappa.training.config import Recipe

SIMULATOR = "jcm==3.0.0"


def simulate(recipe_file: Path, work: Path, runs: tuple[str, ...] = (), restart: Path | None = None, python: Path | None = None) -> None:
    """Simulate the nature run in an environment of its own, which is made under `work` if none is given.

    Parameters
    ----------
    recipe_file : Path
        The recipe (TOML).
    work : Path
        Working folder; the record goes to ``work/nature``.
    runs : tuple of str
        Names of the runs (default: all). Runs don't depend on each other: two processes can share them.
    restart : Path, optional
        Restart state of the first day of the one run, instead of a spin-up from rest.
    python : Path, optional
        Interpreter of an environment that has the simulator.
    """
    python = python or _simulator_environment(work / "simulator")
    package = Path(__file__).resolve().parents[2]
    command = [
        str(python),
        "-m",
        "xappa.training.simulate",
        str(recipe_file.resolve()),
        str((work / "nature").resolve()),
        *runs,
    ]
    if restart is not None:
        command += ["--restart", str(restart.resolve())]
    subprocess.run(command, check=True, cwd=package)


def _simulator_environment(folder: Path) -> Path:
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", SIMULATOR, "scipy"], check=True)
        (folder / "ready").touch()
    return python


def train_autoencoder(recipe: Recipe, work: Path, device: torch.device) -> None:
    """Standardise the record and train the autoencoder."""
    from xappa.training import autoencoder, data

    record = data.prepare(recipe, work / "nature", work / "data")
    autoencoder.train_autoencoder(recipe, record, work, device)


def train_denoiser(recipe: Recipe, work: Path, device: torch.device) -> None:
    """Encode the record, estimate the Gaussian prior, train the network that corrects it."""
    from xappa.training import autoencoder, data, denoiser, encode, prior

    record = data.open_record(recipe, work / "data")
    network = autoencoder.restore(recipe, record, work, device)
    latents, _ = encode.standardise(encode.encode_record(network, record, work), record, work)
    gauss = prior.restore(recipe, latents, record, work)
    denoiser.train_denoiser(recipe, record, latents, gauss, work, device)


def package(recipe: Recipe, work: Path, out: Path) -> None:
    """Write the model directory, with the autoencoder's error on validation data and the scores so far."""
    from xappa.diffusion.gaussian import GaussianDenoiser
    from xappa.diffusion.schedule import Rectified
    from xappa.models.directory import write_model
    from xappa.training import autoencoder, data, denoiser, encode, prior

    device = torch.device("cpu")
    record = data.open_record(recipe, work / "data")
    network = autoencoder.restore(recipe, record, work, device)
    latents, latent_statistics = encode.standardise(encode.encode_record(network, record, work), record, work)
    gauss = prior.restore(recipe, latents, record, work)
    residual = denoiser.restore(recipe, latents.shape[1:], work, device)
    error = autoencoder.error_map(network, record, record.members(1)[::6])
    test = autoencoder.reconstruction_error(network, record, record.members(2)[::6])
    c = recipe.denoiser
    about = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "splits": {k: [list(p) for p in getattr(recipe.splits, k)] for k in ("train", "validation", "test")},
        "training_times": int((record.split == 0).sum()),
        "autoencoder_error_test": autoencoder.score(test, record),
        "autoencoder_error_test_scale": float(np.sqrt((test**2).mean())),
    }
    write_model(
        out,
        name=recipe.name,
        spec=record.spec,
        autoencoder=network,
        denoiser=GaussianDenoiser(gauss, residual),
        schedule=Rectified(c.sigma_min, c.sigma_max),
        statistics={**record.statistics, **latent_statistics, "error": error},
        about=about,
    )
