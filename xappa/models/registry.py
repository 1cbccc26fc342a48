"""Names of models, and where their files come from: the package itself, a cache, or a folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from xappa.errors import ModelError, nearest_names
from xappa.options import cache_folder, get_options

if TYPE_CHECKING:
    from xappa.models.model import Model


@dataclass(frozen=True)
class Entry:
    """A model that can be had by name.

    Parameters
    ----------
    name : str
    files : dict
        sha256 by file.
    url : str
        Address of the folder that holds the files; empty where they come with the package.
    about : str
        One line for the list.
    """

    name: str
    files: dict[str, str]
    url: str = ""
    about: str = ""


@lru_cache(maxsize=1)
def registry() -> dict[str, Entry]:
    """All entries, by name."""
    text = (resources.files("xappa.data") / "registry.json").read_text()
    return {name: Entry(name, **values) for name, values in json.loads(text).items()}


def models() -> dict[str, str]:
    """Names of the models that `load` knows, each with one line on what it is."""
    return {name: entry.about for name, entry in registry().items()}


def fetch(name: str) -> Path:
    """Folder that holds a model's files; what is missing is downloaded and checked.

    Parameters
    ----------
    name : str
        A name that `models` lists.

    Returns
    -------
    Path
        In the package for an embedded model, else in the cache (``set_options(cache_dir=…)``).

    Raises
    ------
    ModelError
        If no model has that name.
    """
    entry = _entry(name)
    if not entry.url:
        return Path(str(resources.files("xappa.data") / name))
    import pooch

    goodboy = pooch.create(path=cache_folder() / name, base_url=entry.url, registry=entry.files)
    for file in entry.files:
        goodboy.fetch(file, progressbar=True)
    return Path(goodboy.path)


def load(name_or_path: str | Path | None = None, *, device: str | None = None) -> Model:
    """Load a model.

    Parameters
    ----------
    name_or_path : str or Path, optional
        A name that `models` lists, or a model directory. Default: the option ``default_model`` (``"speedy"``).
    device : str, optional
        Where the networks go, in torch's words; default: an accelerator where there is one, else the CPU.

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        If there is no such model.
    IntegrityError
        If a file's hash is not the one that the registry, or the directory's ``model.json``, gives.

    Examples
    --------
    >>> import xappa
    >>> xappa.load("speedy").spec.step_hours
    6
    """
    from xappa.streaming.devices import resolve

    place = str(resolve(device))
    name = get_options().default_model if name_or_path is None else name_or_path
    path = Path(name)
    if path.is_dir():
        return _load(
            str(path.resolve()),
            (path / "model.json").stat().st_mtime_ns if (path / "model.json").exists() else 0,
            None,
            place,
        )
    entry = _entry(str(name))
    return _load(str(fetch(entry.name)), 0, entry.name, place)


@lru_cache(maxsize=4)
def _load(folder: str, modified: int, name: str | None, device: str) -> Model:
    from xappa.models.directory import read_model

    model = read_model(Path(folder), registry()[name].files if name else None)
    for network in (model.autoencoder, model.tangent, model.denoiser):
        network.to(device)
    return model


def _entry(name: str) -> Entry:
    known = registry()
    if name not in known:
        raise ModelError(
            f"Unknown model {name!r}: neither a folder nor one of {', '.join(map(repr, known))}"
            + nearest_names(name, known)
        )
    return known[name]
