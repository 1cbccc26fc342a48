"""Contents of ``model.json``, checked as a whole before any file of tensors is opened."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from xappa.diffusion.schedule import SCHEDULES, Schedule
from xappa.errors import ModelError, OptionError, choose
from xappa.model.latent_normalisation import LATENTS
from xappa.model.networks.autoencoder import AutoencoderSpec
from xappa.model.normalisation import NORMALISATIONS
from xappa.model.schema import from_json
from xappa.model.state import StateSpec
from xappa.vocabulary import VARIABLES

FORMAT = 1
IDENTITY = ("state", "autoencoder", "denoiser", "schedule", "normalisation", "latents", "files")
"""Entries of the model record that results depend on."""
LARGEST_RECORD = 1 << 26
"""Bytes of a ``model.json`` beyond which it is not read."""

_SECTIONS = {"name": str, "state": dict, "autoencoder": dict, "denoiser": dict, "schedule": dict, "files": dict}
_OPTIONAL = {"units": dict, "about": dict, "normalisation": str, "latents": str}
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ModelRecord:
    """A ``model.json`` that makes sense.

    Parameters
    ----------
    name : str
    state : StateSpec
    autoencoder : AutoencoderSpec
    denoiser : mapping
        Arguments of `denoisers.build`.
    schedule : Schedule
    normalisation, latents : str
        Keys of `NORMALISATIONS` and `LATENTS`.
    files : mapping of str to str
        sha256 by name.
    about : mapping
    digest : str
        Hash of what results depend on.
    """

    name: str
    state: StateSpec
    autoencoder: AutoencoderSpec
    denoiser: Mapping[str, Any]
    schedule: Schedule
    normalisation: str
    latents: str
    files: Mapping[str, str]
    about: Mapping[str, Any]
    digest: str


def read_record(folder: Path) -> ModelRecord:
    """The record of a model directory.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    ModelError
        If there is none, it is no JSON, is of a later format, or says what makes no sense; with the file and the entry.
    """
    path = folder / "model.json"
    record = load_json(path)
    if record.get("format") != FORMAT:
        raise ModelError(f"{path} has format {record.get('format')!r}; this version of xappa reads {FORMAT}.")
    try:
        return _parse_record(record)
    except (ModelError, OptionError) as error:
        raise ModelError(
            f"{path} cannot be used: {error}. Expected what xappa.model.directory.write_model writes; fetch or write "
            "the model again."
        ) from error


def load_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises
    ------
    ModelError
        If the file is missing, no regular file, too large, or holds no JSON object.
    """
    if not path.is_file():
        raise ModelError(
            f"{path.parent} holds no {path.name}: not a model directory (or one that was not written to its end)."
        )
    if path.stat().st_size > LARGEST_RECORD:
        raise ModelError(f"{path} has {path.stat().st_size} bytes; expected at most {LARGEST_RECORD}.")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {error}. Fetch or write the model again.") from error
    if not isinstance(record, dict):
        raise ModelError(f"{path} holds a {type(record).__name__}; expected an object with entries.")
    return record


def _parse_record(record: dict[str, Any]) -> ModelRecord:
    _require_sections(record)
    files = _validate_files(record["files"])
    schedule = dict(record["schedule"])
    kind = schedule.pop("kind", None)
    state = from_json(StateSpec, record["state"], "state")
    state.require_sensible()
    _require_units(record.get("units", {}))
    normalisation, latents = record.get("normalisation", "anomaly"), record.get("latents", "seasonal")
    choose("normalisation", normalisation, NORMALISATIONS)
    choose("latents", latents, LATENTS)
    autoencoder = from_json(AutoencoderSpec, record["autoencoder"], "autoencoder")
    _require_same_state(state, autoencoder)
    identity = json.dumps({key: record[key] for key in IDENTITY if key in record}, sort_keys=True)
    return ModelRecord(
        name=record["name"],
        state=state,
        autoencoder=autoencoder,
        denoiser=record["denoiser"],
        schedule=from_json(choose("schedule", kind, SCHEDULES), schedule, "schedule"),
        normalisation=normalisation,
        latents=latents,
        files=files,
        about=record.get("about", {}),
        digest=hashlib.sha256(identity.encode()).hexdigest(),
    )


def _require_sections(record: Mapping[str, Any]) -> None:
    problems = [f"{name} is missing" for name in _SECTIONS if name not in record]
    problems += [
        f"{name} is of the type {type(record[name]).__name__}; expected {'an object' if kind is dict else 'text'}"
        for name, kind in (_SECTIONS | _OPTIONAL).items()
        if name in record and not isinstance(record[name], kind)
    ]
    if problems:
        raise ModelError("; ".join(problems))


def _validate_files(files: Mapping[str, Any]) -> dict[str, str]:
    problems = [f"files: {name!r} leads out of the directory" for name in files if not is_inside(name)]
    problems += [
        f"files: {name!r} has the hash {str(digest)[:80]!r}; expected a sha256 of 64 hexadecimal digits"
        for name, digest in files.items()
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest)
    ]
    if problems:
        raise ModelError("; ".join(problems))
    return dict(files)


def is_inside(name: str) -> bool:
    """Whether a relative path of a record stays inside its directory, on every system."""
    path = PurePosixPath(name)
    odd = any(c in name for c in "\\:\0") or not path.parts
    return not odd and not path.is_absolute() and ".." not in path.parts


def _require_units(units: Mapping[str, Any]) -> None:
    known = {name: VARIABLES[name].units for name in units if name in VARIABLES}
    wrong = [f"{name} in {units[name]}, expected {unit}" for name, unit in known.items() if units[name] != unit]
    if wrong:
        raise ModelError(f"units that this version of xappa does not use: {'; '.join(wrong)}")


def _require_same_state(state: StateSpec, autoencoder: AutoencoderSpec) -> None:
    expected, found = state.shape, (autoencoder.in_channels, *autoencoder.shape)
    if expected != found:
        raise ModelError(f"autoencoder is made for (channel, latitude, longitude) {found}, but state has {expected}")
