"""An official run as a model."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from xappa.errors import ModelError, warn
from xappa.model.appa.channels import MASKED, list_channels, make_equiangular_grid
from xappa.model.appa.checkpoints import read_tensors
from xappa.model.appa.discovery import RunFiles
from xappa.model.appa.networks import read_autoencoder, read_denoiser, read_schedule
from xappa.model.appa.statistics import read_channel_statistics, read_levels, read_sea_mask
from xappa.model.denoisers import describe
from xappa.model.integrity import sha256
from xappa.model.latent_normalisation import ChannelLatents
from xappa.model.model import Model
from xappa.model.networks.autoencoder import ConvAutoencoder
from xappa.model.networks.transformer import Transformer
from xappa.model.normalisation import ChannelNormalisation
from xappa.model.state import StateSpec

T = TypeVar("T")


def read_run(files: RunFiles) -> Model:
    """The model of an official run. Parameters stay in the files, mapped into memory, until they are used.

    Fields and latents are standardised by channel, without climatology; the error of the autoencoder and the height of
    the surface are not known.

    Parameters
    ----------
    files : RunFiles
        From `find_run`.

    Raises
    ------
    ModelError
        If files cannot be read or do not fit together; all problems are named.
    """
    problems: list[str] = []

    def tried(read: Callable[[], T]) -> T | None:
        try:
            return read()
        except ModelError as error:
            problems.append(str(error))
            return None

    autoencoder = tried(lambda: read_autoencoder(files.autoencoder_config, files.autoencoder_weights))
    scheduled = tried(lambda: read_schedule(files.denoiser_config))
    denoiser = latents = None
    if autoencoder is not None:
        h, w, c = autoencoder.spec.latent_shape
        denoiser = tried(lambda: read_denoiser(files.denoiser_config, files.denoiser_weights, (h, w, c)))
        latents = tried(lambda: _read_latent_normalisation(files.latent_statistics, c, autoencoder.spec.noise_level))
    if autoencoder is None or scheduled is None or denoiser is None or latents is None:
        raise ModelError("\n".join(problems))
    if not isinstance(denoiser.backbone, Transformer):
        raise ModelError(
            f"{files.denoiser_config} is of a graph transformer, and {files.autoencoder_config} of an autoencoder "
            "on a grid; expected both of one kind."
        )
    schedule, hours = scheduled
    spec = _make_state_spec(files, autoencoder, hours, denoiser.backbone.spec.blanket_size)
    normalisation = ChannelNormalisation(
        *read_channel_statistics(files.statistics, spec.channels), spec, _read_sea_mask(files, spec)
    )
    origin = _describe_origin(files)
    record = {
        "state": dataclasses.asdict(spec),
        "autoencoder": dataclasses.asdict(autoencoder.spec),
        "denoiser": describe(denoiser),
        "schedule": repr(schedule),
        "weights": [origin["files"][part]["sha256"] for part in ("autoencoder_weights", "denoiser_weights")],
        "numbers": {
            name: hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
            for name, values in {**normalisation.to_arrays(), **latents.to_arrays()}.items()
        },
    }
    return Model(
        name=f"{files.root.name}/{_to_relative_path(files.root, files.denoiser_weights).removesuffix('.pth')}",
        digest=hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest(),
        spec=spec,
        autoencoder=autoencoder,
        denoiser=denoiser,
        schedule=schedule,
        normalisation=normalisation,
        latents=latents,
        about={"origin": origin},
    )


def _make_state_spec(files: RunFiles, autoencoder: ConvAutoencoder, hours: int, window: int) -> StateSpec:
    ae = autoencoder.spec
    latitude, longitude = make_equiangular_grid(ae.shape)
    channels = list_channels(ae.in_channels, read_levels(files.statistics))
    spec = StateSpec(channels, latitude, longitude, hours, window, MASKED)
    spec.require_sensible()
    return spec


def _read_latent_normalisation(file: Path, channels: int, noise_level: float) -> ChannelLatents:
    tensors = read_tensors(file)
    problems = [f"no {name!r}" for name in ("mean", "std") if name not in tensors]
    problems += [
        f"{name!r} has the shape {tuple(tensors[name].shape)}, expected {(channels,)}"
        for name in ("mean", "std")
        if name in tensors and tuple(tensors[name].shape) != (channels,)
    ]
    if not problems and not torch.isfinite(tensors["mean"]).all():
        problems.append("some of 'mean' are not finite")
    if not problems and not (torch.isfinite(tensors["std"]) & (tensors["std"] > 0)).all():
        problems.append("some of 'std' are not above zero")
    if problems:
        raise ModelError(f"{file} holds no statistics of these latents: {'; '.join(problems)}. Fetch or copy it again.")
    mean, deviation = (tensors[name].to(torch.float32, copy=True).numpy() for name in ("mean", "std"))
    return ChannelLatents(mean, deviation, noise_level)


def _read_sea_mask(files: RunFiles, spec: StateSpec) -> np.ndarray | None:
    if files.masks is not None:
        return read_sea_mask(files.masks, spec.latitude, spec.longitude)
    if set(spec.masked) & set(spec.variables):
        warn(
            f"No masks (Zarr store with 'sea_surface_temperature_mask') beside {files.statistics}: "
            f"{', '.join(spec.masked)} will have values over land, which mean nothing."
        )
    return None


def _describe_origin(files: RunFiles) -> dict:
    """Provenance of the model: its files, relative to the project, and the hashes of those with tensors."""
    origin = {}
    for field in dataclasses.fields(files):
        path = getattr(files, field.name)
        if field.name == "root" or path is None:
            continue
        origin[field.name] = {"path": _to_relative_path(files.root, path)}
        if path.suffix == ".pth":
            origin[field.name]["sha256"] = sha256(path)
    return {"kind": "official run", "files": origin}


def _to_relative_path(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
