"""The steps of ``xappa train``, one function each: every step finds what the one before left, and resumes."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from xappa.diffusion.gaussian import GaussianDenoiser, GaussianPrior
from xappa.diffusion.schedule import Rectified
from xappa.errors import DownloadError, ModelError, OptionError, translate_read_errors, translate_write_errors
from xappa.model.directory import write_model
from xappa.model.networks.autoencoder import ConvAutoencoder
from xappa.model.reconstruction import estimate_error_spectra
from xappa.model.registry import load
from xappa.training import (
    autoencoder,
    card,
    data,
    decoder_correction,
    denoiser,
    encode,
    finetune_decoder,
    importance,
    local,
    prior,
    seasonal_diurnal_correction,
)
from xappa.training import init_from as adopting
from xappa.training.config import Recipe, read_config
from xappa.training.state_metric import compute_state_metric

SIMULATOR = "jcm==3.0.0"
DATED_SEED = 100


def simulate(
    recipe_file: Path, work: Path, runs: tuple[str, ...] = (), restart: Path | None = None, python: Path | None = None
) -> None:
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
    _make_folder(work)
    known = [run.name for run in read_config(recipe_file).simulation.runs]
    if unknown := sorted(set(runs) - set(known)):
        raise OptionError(f"no run named {', '.join(map(repr, unknown))}; the recipe has {', '.join(known) or 'none'}")
    if restart is not None and not restart.is_file():
        raise OptionError(f"restart={str(restart)!r}: no such file; expected a restart state that the simulator wrote")
    if not known:
        raise OptionError(f"{recipe_file}: the recipe has no runs; expected [[simulation.runs]] with name, start, end")
    python = python or _simulator_environment(work / "simulator")
    source = Path(__file__).resolve().parents[1]
    out = (work / "nature").resolve()
    command = [str(python), "-m", "xappa.training.simulate", str(recipe_file.resolve()), str(out), *runs]
    if restart is not None:
        command += ["--restart", str(restart.resolve())]
    # A copy by itself: beside an installed xappa lie packages that are not the simulator environment's.
    with tempfile.TemporaryDirectory() as alone:
        shutil.copytree(source, Path(alone) / "xappa", ignore=shutil.ignore_patterns("data", "__pycache__"))
        try:
            subprocess.run(command, check=True, cwd=alone)
        except subprocess.CalledProcessError as error:
            raise ModelError(
                f"The simulator ended with exit code {error.returncode}; what it said is above. Run the step again, "
                "which goes on after the last whole chunk."
            ) from error


def _simulator_environment(folder: Path) -> Path:
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not (folder / "ready").exists():
        try:
            venv.create(folder, with_pip=True, clear=True)
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", SIMULATOR, "scipy"], check=True)
        except subprocess.CalledProcessError as error:
            raise DownloadError(
                f"{SIMULATOR} could not be installed into {folder}: pip ended with exit code {error.returncode}. Run "
                "the step again where there is a network."
            ) from error
        (folder / "ready").touch()
    return python


def _make_folder(work: Path) -> None:
    with translate_write_errors(work):
        work.mkdir(parents=True, exist_ok=True)


def init_from(recipe: Recipe, work: Path, model: str) -> None:
    """Begin `work` with a model that is there, named or by its folder."""
    adopting.init_from(recipe, load(model, device="cpu"), work)


def train_autoencoder(recipe: Recipe, work: Path, device: torch.device) -> None:
    """Standardise the record and train the autoencoder, by stages: those before the last that has begun are over."""
    _make_folder(work)
    record = data.prepare(recipe, work / "nature", work / "data")
    train = {
        "training": autoencoder.train_autoencoder,
        "decoder": autoencoder.train_decoder,
        "joint": autoencoder.train_joint,
        "local_scale": autoencoder.train_local_scale,
    }
    stages = [stage for stage in train if stage == "training" or getattr(recipe.autoencoder, stage).steps]
    begun = [k for k, stage in enumerate(stages) if (work / autoencoder.STAGES[stage]).exists()]
    for stage in stages[max(begun, default=0) :]:
        train[stage](recipe, record, work, device)


def train_denoiser(recipe: Recipe, work: Path, device: torch.device) -> None:
    """Encode the record, estimate the Gaussian prior, train the network that corrects it."""
    made = _load_previous_steps(recipe, work, device)
    matters = importance.restore(made.autoencoder, made.raw, made.latent_statistics, made.record, recipe.seed, work)
    corrected = local.restore(recipe, made.prior, made.latents, made.record, work, matters)
    denoiser.train_denoiser(recipe, made.record, made.latents, made.prior, corrected, matters, work, device)
    _restore_denoiser(recipe, made, work, device)


def finetune(recipe: Recipe, work: Path, device: torch.device) -> None:
    """Analyse simulated years with the current model, and train the decoder on these analyses."""
    if not recipe.analysis_sampling.count:
        raise OptionError(
            "nothing to fine-tune the decoder on: give a count in [analysis_sampling] and steps in "
            "[autoencoder.finetune]"
        )
    folder = work / finetune_decoder.FOLDER
    made = _load_previous_steps(recipe, work, torch.device("cpu"))
    _write_directory(recipe, made, made.autoencoder, work, folder / "model")
    finetune_decoder.sample_analyses(
        recipe.analysis_sampling, made.record, folder / "model", folder, recipe.seed, str(device)
    )
    autoencoder.train_on_analyses(recipe, made.record, _read_analyses(made, work), work, device)


def package(recipe: Recipe, work: Path, out: Path, scores: Path | None = None) -> None:
    """Write the model directory and its card.

    Parameters
    ----------
    recipe : Recipe
    work : Path
        Working folder of the other steps.
    out : Path
        The model directory.
    scores : Path, optional
        Text of measured scores (twin experiments) that the card quotes.
    """
    cpu = torch.device("cpu")
    with translate_read_errors(scores, "text", OptionError, "Expected a file of text, or none."):
        quoted = scores.read_text(encoding="utf-8") if scores else ""
    made = _load_previous_steps(recipe, work, cpu)
    _make_folder(out)
    network = autoencoder.restore(recipe, made.record, work, cpu)
    if recipe.decoder_correction.rank:
        found = _read_analyses(made, work) if recipe.analysis_sampling.count else None
        network = decoder_correction.restore(recipe, network, made.raw, made.record, found, work)
    about = _write_directory(recipe, made, network, work, out)
    (out / "README.md").write_text(card.render(recipe, about, out, quoted))


@dataclass(frozen=True)
class _PreviousSteps:
    """Results of the steps before the denoiser."""

    record: data.Record
    autoencoder: ConvAutoencoder
    raw: np.ndarray
    latents: np.ndarray
    latent_statistics: dict[str, np.ndarray]
    prior: GaussianPrior


def _load_previous_steps(recipe: Recipe, work: Path, device: torch.device) -> _PreviousSteps:
    record = data.open_record(recipe, work / "data")
    network = autoencoder.restore(recipe, record, work, device, before="finetune")
    raw = encode.encode_record(network, record, work, recipe.autoencoder.training.bfloat16)
    latents, statistics = encode.standardise(raw, record, work)
    return _PreviousSteps(record, network, raw, latents, statistics, prior.restore(recipe, latents, record, work))


def _read_analyses(made: _PreviousSteps, work: Path) -> tuple[np.ndarray, np.ndarray]:
    """What rehearsals made of states."""
    return finetune_decoder.read_analyses(work / finetune_decoder.FOLDER, made.record, made.latent_statistics)


def _restore_denoiser(recipe: Recipe, made: _PreviousSteps, work: Path, device: torch.device) -> GaussianDenoiser:
    """The denoiser as trained, with the last correction where the recipe has one."""
    trained = denoiser.restore(recipe, made.latents.shape[1:], made.prior, work, device)
    if recipe.seasonal_diurnal_correction.rank:

        def metric() -> torch.Tensor:
            statistics, emphasis = made.latent_statistics, recipe.seasonal_diurnal_correction.emphasis
            return compute_state_metric(made.autoencoder, made.raw, statistics, made.record, emphasis, recipe.seed)

        last = seasonal_diurnal_correction.restore(
            recipe.seasonal_diurnal_correction,
            trained,
            made.latents,
            made.record,
            metric,
            recipe.seed + DATED_SEED,
            work,
        )
        trained.corrections.append(last)
    return trained


def _write_directory(recipe: Recipe, made: _PreviousSteps, network: ConvAutoencoder, work: Path, out: Path) -> dict:
    """The model directory, with that decoder; returns what was measured."""
    record, cpu = made.record, torch.device("cpu")
    corrected = _restore_denoiser(recipe, made, work, cpu)
    error = autoencoder.compute_error_map(network, record, record.list_times(1)[::6])
    correlations = estimate_error_spectra(autoencoder.compute_error_fields(network, record, record.list_times(1)[::24]))
    about = card.measure(recipe, record, made.latents, network, corrected, work / "nature")
    write_model(
        out,
        name=recipe.name,
        spec=record.spec,
        autoencoder=network,
        tangent=autoencoder.fit_linear_decoder(network, made.raw, record, recipe.seed),
        denoiser=corrected,
        schedule=Rectified(recipe.denoiser.sigma_min, recipe.denoiser.sigma_max),
        statistics={**record.statistics, **made.latent_statistics, **correlations, "error": error},
        about=about,
    )
    return about
