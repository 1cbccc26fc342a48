"""A path of a model, whatever its kind, opened once."""

from __future__ import annotations

import os
from dataclasses import fields
from functools import lru_cache
from pathlib import Path

from xappa.errors import ModelError
from xappa.model.appa.discovery import RunFiles, find_run
from xappa.model.model import Model

Stamp = tuple[tuple[str, int, int], ...]
"""Path, size and time of change of files: what tells that one was replaced."""


def open_model(path: Path, device: str, checkpoint: str | None = None, statistics: Path | None = None) -> Model:
    """The model at a path: a directory of our own, or (part of) an official project.

    Parameters
    ----------
    path : Path
    device : str
        Device of the networks.
    checkpoint, statistics
        Of an official run; see `official.find_run`.

    Raises
    ------
    ModelError
        If there is no model, or more than one.
    IntegrityError
        If a file's hash is not the one that ``model.json`` gives.
    """
    path = Path(os.path.abspath(path))
    if not path.exists():
        raise ModelError(f"{path} does not exist; expected a folder of a model, or a checkpoint of one.")
    if (path / "model.json").exists():
        if given := [f"{k}={v}" for k, v in (("checkpoint", checkpoint), ("statistics", statistics)) if v is not None]:
            raise ModelError(
                f"{path} is a model directory of xappa, which holds one checkpoint and its statistics; "
                f"{', '.join(given)} is for official runs. Leave it out."
            )
        return _open_directory(str(path), _stamp_files(path / "model.json"), device)
    files = find_run(path, checkpoint, statistics)
    paths = [path for field in fields(files) if (path := getattr(files, field.name)) is not None]
    return _open_official_run(files, _stamp_files(*paths), device)


def _stamp_files(*files: Path) -> Stamp:
    return tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)


@lru_cache(maxsize=4)
def _open_directory(folder: str, stamp: Stamp, device: str) -> Model:
    from xappa.model.directory import read_model

    return read_model(Path(folder)).to(device)


@lru_cache(maxsize=4)
def _open_official_run(files: RunFiles, stamp: Stamp, device: str) -> Model:
    from xappa.model.appa.read import read_run

    return read_run(files).to(device)
