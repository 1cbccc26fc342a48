"""Model directories of our own: ``model.json`` beside safetensors, and how they are written and read.

``model.json`` says what the networks are, what the state is made of and where the model comes from, and gives the
sha256 of every other file, which reading checks. Statistics are float32 (pressures overflow float16).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file
from torch import nn

from xappa._files import replace_atomically
from xappa.diffusion.schedule import SCHEDULES, Schedule
from xappa.errors import ModelError, XappaError, choose, translate_read_errors
from xappa.model.corrections.linear import cache_matrices
from xappa.model.denoisers import build, describe
from xappa.model.half_spectra import pack_spectra, unpack_spectra
from xappa.model.integrity import require_finite, require_hashes, require_listed, sha256
from xappa.model.latent_normalisation import LATENTS
from xappa.model.linear_decoder import LinearDecoder
from xappa.model.meta_init import load_network
from xappa.model.model import Model
from xappa.model.networks.autoencoder import ConvAutoencoder
from xappa.model.normalisation import NORMALISATIONS
from xappa.model.record import FORMAT, load_json, read_record
from xappa.model.state import StateSpec
from xappa.model.tensor_files import write_tensors
from xappa.vocabulary import VARIABLES

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def write_model(
    out: Path,
    *,
    name: str,
    spec: StateSpec,
    autoencoder: ConvAutoencoder,
    denoiser: nn.Module,
    schedule: Schedule,
    statistics: dict[str, np.ndarray],
    about: dict,
    tangent: LinearDecoder | None = None,
    normalisation: str = "anomaly",
    latents: str = "seasonal",
    dtype: str = "float16",
) -> None:
    """Write a model directory; ``model.json`` comes last, so that a new directory that has one is complete.

    Parameters
    ----------
    out : Path
    name : str
    spec, autoencoder, denoiser, schedule, tangent
        As in `Model`.
    statistics : dict of arrays
        Those of `Model`, with the ``arrays()`` of both normalisations.
    about : dict
        Anything worth keeping: origin, splits, seed, scores. Readable under ``Model.about``.
    normalisation, latents : str
        Kinds of normalisation (`NORMALISATIONS`, `LATENTS`) that the statistics are those of.
    dtype : {"float16", "bfloat16", "float32"}
        Data type of the networks' parameters on disk.

    Raises
    ------
    ModelError
        If the state makes no sense, parameters overflow, or the denoiser is of a kind that cannot be written.
    OptionError
        If a kind or the dtype is not known.
    """
    spec.require_sensible()
    choose("normalisation", normalisation, NORMALISATIONS)
    choose("latents", latents, LATENTS)
    kind = choose("dtype", dtype, DTYPES)
    kinds = {schedule_kind: key for key, schedule_kind in SCHEDULES.items()}
    record: dict[str, Any] = {
        "format": FORMAT,
        "name": name,
        "state": dataclasses.asdict(spec),
        "units": {variable: VARIABLES[variable].units for variable in spec.variables if variable in VARIABLES},
        "autoencoder": dataclasses.asdict(autoencoder.spec),
        "denoiser": describe(denoiser),
        "schedule": {"kind": kinds[type(schedule)], **dataclasses.asdict(schedule)},
        "normalisation": normalisation,
        "latents": latents,
    }
    out.mkdir(parents=True, exist_ok=True)
    networks = {"autoencoder": autoencoder, "tangent": tangent, "denoiser": denoiser}
    hashes: dict[str, str] = {}
    for part, network in networks.items():
        if network is not None:
            tensors = {
                k: _to_stored_dtype(v, kind, f"{part}: {k}") for k, v in pack_spectra(network.state_dict()).items()
            }
            hashes |= _write_file(out / f"{part}.safetensors", partial(write_tensors, tensors))
    arrays = {k: np.asarray(v, order="C") for k, v in statistics.items()}
    hashes |= _write_file(out / "statistics.safetensors", partial(save_arrays, arrays))
    text = json.dumps({**record, "files": hashes, "about": about}, indent=1)
    _write_file(out / "model.json", lambda path: path.write_text(text, encoding="utf-8"))


def read_model(folder: Path, expected: dict[str, str] | None = None) -> Model:
    """Read a model directory. Parameters of float32 stay in the files, mapped into memory, until they are used.

    Parameters
    ----------
    folder : Path
    expected : dict, optional
        sha256 by file, ``model.json`` included, as the registry names them. Default: those of ``model.json``.

    Raises
    ------
    ModelError
        If the directory is not one of ours, or of a later format, its parts do not fit together, or numbers in it are
        not finite.
    IntegrityError
        If a file is missing or not listed in ``model.json``, or its hash differs.
    """
    if expected and "model.json" in expected:
        require_hashes(folder, {"model.json": expected["model.json"]})
    record = read_record(folder)
    parts = [f"{part}.safetensors" for part in ("autoencoder", "denoiser", "tangent", "statistics")]
    files = [file for file in parts if file != "tangent.safetensors" or file in record.files]
    require_listed(folder, files, record.files)
    require_hashes(folder, record.files)

    def network(part: str, make: Callable[[], nn.Module]) -> Any:
        file = folder / f"{part}.safetensors"
        with translate_read_errors(file, "safetensors", ModelError, "Fetch or write the model again."):
            tensors = unpack_spectra(load_file(file))
        require_finite(tensors, str(file))
        return load_network(partial(_build_network, make, folder), tensors, str(file))

    spec, ae = record.state, record.autoencoder
    tangent = None
    if "tangent.safetensors" in record.files:
        tangent = network("tangent", lambda: LinearDecoder(ae.lat_channels, ae.in_channels, ae.resize))
    statistics = _read_statistics(folder / "statistics.safetensors")
    with translate_read_errors(folder, "a model directory", ModelError, "Its statistics do not fit its state."):
        normalisation = NORMALISATIONS[record.normalisation].from_arrays(statistics, spec)
        latents = LATENTS[record.latents].from_arrays(statistics)
    used = {*normalisation.to_arrays(), *latents.to_arrays()}
    return Model(
        name=record.name,
        digest=record.digest,
        spec=spec,
        autoencoder=cache_matrices(network("autoencoder", lambda: ConvAutoencoder(ae))),
        denoiser=cache_matrices(network("denoiser", lambda: build(record.denoiser, spec.window, ae.latent_shape))),
        schedule=record.schedule,
        normalisation=normalisation,
        latents=latents,
        tangent=tangent,
        statistics={k: v for k, v in statistics.items() if k not in used},
        about=dict(record.about),
    )


def _build_network(make: Callable[[], nn.Module], folder: Path) -> nn.Module:
    """The network that a record describes; errors in the description name its file."""
    try:
        return make()
    except XappaError as error:
        raise ModelError(f"{folder / 'model.json'} cannot be used: {error}") from error


def sign_model(folder: Path) -> dict[str, str]:
    """List every tensor file of a model directory in its ``model.json``, with the hash that it has now.

    Parameters
    ----------
    folder : Path
        A custom directory whose files were changed on purpose.

    Returns
    -------
    dict of str to str
        sha256 by file.

    Raises
    ------
    ModelError
        If there is no ``model.json`` that is a JSON object, or a file is no regular file.
    """
    record = load_json(folder / "model.json")
    files = sorted(folder.glob("*.safetensors"))
    if odd := [file.name for file in files if not file.is_file()]:
        raise ModelError(f"{folder}: {', '.join(odd)} is no regular file; expected files of tensors.")
    hashes = {file.name: sha256(file) for file in files}
    text = json.dumps({**record, "files": hashes}, indent=1)
    _write_file(folder / "model.json", lambda path: path.write_text(text, encoding="utf-8"))
    return hashes


def _read_statistics(file: Path) -> dict[str, np.ndarray]:
    with translate_read_errors(file, "safetensors", ModelError, "Fetch or write the model again."):
        arrays = load_arrays(file)
    require_finite({k: torch.from_numpy(v) for k, v in arrays.items()}, str(file))
    return arrays


def _write_file(path: Path, write: Callable[[Path], Any]) -> dict[str, str]:
    """Write a file beside `path`, then put it in its place: who has mapped an older one keeps that. Name and hash."""
    with replace_atomically(path) as part:
        write(part)
        part.chmod(path.parent.stat().st_mode & 0o666)  # the library's own files are for their owner alone
        return {path.name: sha256(part)}


def _to_stored_dtype(value: torch.Tensor, dtype: torch.dtype, name: str) -> torch.Tensor:
    """`value` as it is written: scalars, such as the norm's epsilon, would be rounded and are kept."""
    stored = value.to(dtype) if value.ndim and value.is_floating_point() else value
    if not torch.isfinite(stored).all() and torch.isfinite(value).all():
        raise ModelError(f"{name} holds values that {dtype} cannot; write it as float32 or bfloat16.")
    return stored
