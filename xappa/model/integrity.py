"""Whether the files of a model are those that were announced, and hold numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from xappa.errors import IntegrityError, ModelError


def sha256(path: Path) -> str:
    """Hash of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_listed(folder: Path, files: Iterable[str], listed: Mapping[str, str]) -> None:
    """Complain about files that are read but have no hash.

    Parameters
    ----------
    folder : Path
        Model directory.
    files : iterable of str
        Names of the files that are read.
    listed : mapping of str to str
        Names of the files that have a hash.

    Raises
    ------
    IntegrityError
        The message names them.
    """
    missing = [file for file in files if file not in listed]
    if missing:
        raise IntegrityError(
            f"{folder / 'model.json'} lists no hash of {', '.join(missing)}, so that nobody can tell whether they are "
            f"the files that it was written with. If you changed them yourself, sign them: xappa models hash {folder}"
        )


def require_hashes(folder: Path, files: Mapping[str, str]) -> None:
    """Complain about files that are not what they should be.

    Parameters
    ----------
    folder : Path
    files : mapping of str to str
        sha256 by name.

    Raises
    ------
    IntegrityError
        With the hashes expected and found.
    """
    wrong = []
    for file, expected in files.items():
        path = folder / file
        found = sha256(path) if path.is_file() else "something else than a file" if path.exists() else "no such file"
        if found != expected:
            wrong.append(f"  {file}: expected sha256 {expected}, found {found}")
    if wrong:
        raise IntegrityError(
            f"Files of the model in {folder} are not what they should be:\n"
            + "\n".join(wrong)
            + "\nDelete the folder and fetch the model again (for the embedded model: reinstall xappa)."
        )


def require_finite(tensors: Mapping[str, Tensor], what: str) -> None:
    """Complain about tensors with numbers that are not finite.

    Raises
    ------
    ModelError
        The message names them.
    """
    wrong = [name for name, t in tensors.items() if t.is_floating_point() and not torch.isfinite(t).all()]
    if wrong:
        raise ModelError(
            f"{what} holds numbers that are not finite in {', '.join(wrong[:8])}{' and others' * (len(wrong) > 8)}: "
            "the training or the conversion that wrote it failed. Write the model again."
        )
