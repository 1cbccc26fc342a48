"""Model directories of our own: ``model.json`` beside safetensors, and how they are written and read.

``model.json`` says what the networks are and gives the sha256 of every other file, which reading checks. Networks and
Gaussian factors are float16, statistics float32 (pressures overflow float16).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file

from xappa.diffusion.gaussian import GaussianDenoiser, GaussianPrior
from xappa.diffusion.schedule import SCHEDULES
from xappa.errors import IntegrityError, ModelError
from xappa.models.autoencoder import AutoencoderSpec, ConvAutoencoder
from xappa.models.climatology import Climatology
from xappa.models.model import Model
from xappa.models.residual import Residual, ResidualSpec
from xappa.models.state import StateSpec
from xappa.models.tangent import Tangent

FORMAT = 1
CLIMATE = ("annual", "diurnal", "diurnal_channels")


def sha256(path: Path) -> str:
    """Hash of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_model(
    out: Path,
    *,
    name: str,
    spec: StateSpec,
    autoencoder: ConvAutoencoder,
    tangent: Tangent,
    denoiser: GaussianDenoiser,
    schedule: Any,
    statistics: dict[str, np.ndarray],
    about: dict,
) -> None:
    """Write a model directory; ``model.json`` comes last, so that a directory that has one is complete.

    Parameters
    ----------
    out : Path
    name : str
    spec, autoencoder, tangent, denoiser, schedule, statistics
        As in `Model`; `statistics` includes the coefficients of the climatology.
    about : dict
        Anything worth keeping: splits, seed, scores. Readable under ``Model.scores``.
    """
    out.mkdir(parents=True, exist_ok=True)
    save_file(_half(autoencoder.state_dict()), out / "autoencoder.safetensors")
    save_file(_half(tangent.state_dict()), out / "tangent.safetensors")
    save_file(_half(denoiser.state_dict()), out / "denoiser.safetensors")
    save_arrays({k: np.ascontiguousarray(v) for k, v in statistics.items()}, out / "statistics.safetensors")
    if denoiser.residual is None:
        raise ModelError("A model needs a residual network beside the Gaussian prior; found none. Train one first.")
    files = [f"{part}.safetensors" for part in ("autoencoder", "tangent", "denoiser", "statistics")]
    kinds = {kind: key for key, kind in SCHEDULES.items()}
    record = {
        "format": FORMAT,
        "name": name,
        "state": dataclasses.asdict(spec),
        "autoencoder": dataclasses.asdict(autoencoder.spec),
        "denoiser": {
            "kind": "gaussian-residual",
            "patterns": denoiser.prior.patterns.shape[2],
            "joint": denoiser.prior.joint,
            "residual": dataclasses.asdict(denoiser.residual.spec),  # type: ignore[call-overload]
        },
        "schedule": {"kind": kinds[type(schedule)], **dataclasses.asdict(schedule)},
        "files": {file: sha256(out / file) for file in files},
        "about": about,
    }
    part = out / "model.json.part"
    part.write_text(json.dumps(record, indent=1))
    os.replace(part, out / "model.json")


def read_model(folder: Path, expected: dict[str, str] | None = None) -> Model:
    """Read a model directory.

    Parameters
    ----------
    folder : Path
    expected : dict, optional
        sha256 by file, ``model.json`` included, as the registry names them. Default: those of ``model.json``.

    Raises
    ------
    ModelError
        If the directory is not one of ours, or of a later format.
    IntegrityError
        If a file is missing or its hash differs.
    """
    if not (folder / "model.json").exists():
        raise ModelError(
            f"{folder} holds no model.json: not a model directory (or one that was not written to its end)."
        )
    if expected and "model.json" in expected:
        _check(folder, {"model.json": expected["model.json"]})
    record = json.loads((folder / "model.json").read_text())
    if record.get("format") != FORMAT:
        raise ModelError(f"{folder} has format {record.get('format')!r}; this version of xappa reads {FORMAT}.")
    _check(folder, record["files"])

    spec = _state(record["state"])
    autoencoder = ConvAutoencoder(AutoencoderSpec(**_tuples(record["autoencoder"])))
    autoencoder.load_state_dict(_single(load_file(folder / "autoencoder.safetensors")))
    tangent = Tangent(autoencoder.spec.lat_channels, autoencoder.spec.in_channels, autoencoder.spec.resize)
    tangent.load_state_dict(_single(load_file(folder / "tangent.safetensors")))
    d = record["denoiser"]
    if d["kind"] != "gaussian-residual":
        raise ModelError(f"{folder}: unknown kind of denoiser {d['kind']!r}; expected 'gaussian-residual'.")
    residual = Residual(ResidualSpec(**_tuples(d["residual"])))
    prior = GaussianPrior(spec.window, autoencoder.spec.latent_shape, d["patterns"], d["joint"])
    denoiser = GaussianDenoiser(prior, residual)
    denoiser.load_state_dict(_single(load_file(folder / "denoiser.safetensors")))
    for network in (autoencoder, tangent, denoiser):
        network.eval().requires_grad_(False)
    statistics = load_arrays(folder / "statistics.safetensors")
    schedule = dict(record["schedule"])
    hashes = "".join(f"{k}{v}" for k, v in sorted(record["files"].items())) + json.dumps(record["state"])
    return Model(
        name=record["name"],
        digest=hashlib.sha256(hashes.encode()).hexdigest(),
        spec=spec,
        autoencoder=autoencoder,
        tangent=tangent,
        denoiser=denoiser,
        schedule=SCHEDULES[schedule.pop("kind")](**schedule),
        climatology=Climatology(*(statistics[k] for k in CLIMATE)),
        statistics={k: v for k, v in statistics.items() if k not in CLIMATE},
        scores=record["about"],
    )


def _check(folder: Path, files: dict[str, str]) -> None:
    wrong = []
    for file, expected in files.items():
        found = sha256(folder / file) if (folder / file).exists() else "no such file"
        if found != expected:
            wrong.append(f"  {file}: expected sha256 {expected}, found {found}")
    if wrong:
        raise IntegrityError(
            f"Files of the model in {folder} are not what they should be:\n"
            + "\n".join(wrong)
            + "\nDelete the folder and fetch the model again (for the embedded model: reinstall xappa)."
        )


def _half(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Float16, but for scalars such as the norm's epsilon, which it would round."""
    return {k: (v.half() if v.ndim else v).cpu().contiguous() for k, v in tensors.items()}


def _single(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k: v.float() for k, v in tensors.items()}


def _tuples(values: dict) -> dict:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def _state(values: dict) -> StateSpec:
    channels = tuple((name, level) for name, level in values["channels"])
    return StateSpec(**{**_tuples(values), "channels": channels})
