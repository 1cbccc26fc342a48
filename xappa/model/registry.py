"""Names of models, and where their files come from: the package itself, a cache, or a folder."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, overload

from xappa._files import is_folder
from xappa.argument_types import check_arguments
from xappa.errors import ModelError, OptionError, suggest_names
from xappa.options import get_cache_folder, get_options

if TYPE_CHECKING:
    from xappa.model.fetching.pool import Pool
    from xappa.model.model import Model
    from xappa.model.protocol import GenerativeModel, ModelLike, Prior

_LOADING = threading.RLock()
"""So that tasks which begin together load a model once."""


@dataclass(frozen=True)
class RegistryEntry:
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
    repository : str
        Dataset repository of the Hugging Face Hub with an official project; its files are found by their role.
    roles : dict
        ``"required"`` or ``"optional"`` by role, for such a repository.
    """

    name: str
    files: dict[str, str] = field(default_factory=dict)
    url: str = ""
    about: str = ""
    repository: str = ""
    roles: dict[str, str] = field(default_factory=dict)


@lru_cache(maxsize=1)
def read_registry() -> dict[str, RegistryEntry]:
    """All entries, by name."""
    text = (resources.files("xappa.data") / "registry.json").read_text()
    return {name: RegistryEntry(name, **values) for name, values in json.loads(text).items()}


def models() -> dict[str, str]:
    """Names of the models that `load` knows, each with one line on what it is.

    For weights that are fetched, the line names the revision in the cache, and whether the authors had a newer one
    when they were last asked. Nobody is asked here.
    """
    return {name: entry.about + _describe_fetch_status(entry) for name, entry in read_registry().items()}


@check_arguments
def fetch(
    name: str,
    path: str | Path | None = None,
    revision: str | None = None,
    progress: bool | None = None,
    choose: Mapping[str, str] | None = None,
) -> Path:
    """Folder that holds a model's files; what is missing is downloaded and checked.

    Parameters
    ----------
    name : str
        A name that `models` lists.
    path : str or Path, optional
        Folder for the files. Default: one in the cache (``set_options(cache_dir=…)``, ``XAPPA_CACHE``), or in the
        package for an embedded model.
    revision : str, optional
        Branch, tag or hash of a commit of the repository with official weights; `load` uses it from then on.
        Default: the one that was fetched before, else the newest. A newer one is reported, never taken by itself.
    progress : bool, optional
        Whether a progress bar is shown. Default: the option ``progress``.
    choose : dict, optional
        Where a repository holds several runs: which one, by role (``"denoiser"``, ``"autoencoder"``,
        ``"statistics"``, ``"masks"``), as a path or a part that no other has; ``"weights"``: ``"last"`` (default)
        or ``"best"``.

    Returns
    -------
    Path

    Raises
    ------
    ModelError
        If no model has that name, or the repository does not tell which files make it.
    DownloadError
        If files are missing and cannot be had: no network, no room.
    IntegrityError
        If a file that arrives is not the one that was announced.
    OptionError
        If an option does not apply to the model.
    """
    return _fetch(_find_entry(name), path, revision, progress, choose)


def _fetch(
    entry: RegistryEntry,
    path: str | Path | None = None,
    revision: str | None = None,
    progress: bool | None = None,
    choose: Mapping[str, str] | None = None,
    explicit: bool = True,
) -> Path:
    if entry.repository:
        from xappa.model.fetching.released import fetch_released

        return fetch_released(
            entry.name,
            entry.repository,
            entry.roles,
            _make_pool(entry, path),
            revision=revision,
            progress=progress,
            choose=choose,
            explicit=explicit,
        )
    if revision is not None or choose or (path is not None and not entry.url):
        raise OptionError(
            f"The model {entry.name!r} has neither revisions nor runs"
            + (", and comes with the package: no path is needed." if not entry.url else ".")
        )
    if not entry.url:
        return Path(str(resources.files("xappa.data") / entry.name))
    import pooch

    store = pooch.create(path=path or get_cache_folder() / entry.name, base_url=entry.url, registry=entry.files)
    for file in entry.files:
        store.fetch(file, progressbar=progress is not False)
    return Path(store.path)


def _make_pool(entry: RegistryEntry, path: str | Path | None = None) -> Pool:
    from xappa.model.fetching.pool import Pool

    return Pool(get_cache_folder() / entry.name) if path is None else Pool(Path(path).expanduser(), single=True)


def _describe_fetch_status(entry: RegistryEntry) -> str:
    if not entry.repository:
        return ""
    from xappa.model.fetching.released import describe_status

    return f" ({describe_status(_make_pool(entry))})"


@overload
def load(
    name_or_path: str | Path | None = None,
    *,
    device: str | None = None,
    checkpoint: str | None = None,
    statistics: str | Path | None = None,
    precision: str | None = None,
) -> Model: ...


@overload
def load(
    name_or_path: Prior,
    *,
    device: str | None = None,
    checkpoint: str | None = None,
    statistics: str | Path | None = None,
    precision: str | None = None,
) -> GenerativeModel: ...


@check_arguments
def load(
    name_or_path: ModelLike | None = None,
    *,
    device: str | None = None,
    checkpoint: str | None = None,
    statistics: str | Path | None = None,
    precision: str | None = None,
) -> GenerativeModel:
    """Load a model.

    Parameters
    ----------
    name_or_path : str, Path or Prior, optional
        A name that `models` lists, a model directory, or (part of) an official project: its root, an autoencoder's
        run, a latent dump, a denoiser's lap or checkpoint (``.pth``), a flat folder of one model's files; or an
        object that is a `xappa.Prior`, which is taken as it is. Default: the option ``default_model`` (``"speedy"``).
    device : str, optional
        Where the networks go, in torch's words; default: an accelerator where there is one, else the CPU. An object
        stays where it is unless this is given, and is moved in place.
    checkpoint : {"last", "best"}, optional
        Checkpoint of an official run. Default: the last, or the one that is there.
    statistics : str or Path, optional
        Zarr store of an official run's statistics. Default: the one beside the run or in the project's ``data``.
    precision : {"float32", "bfloat16", "float16"}, optional
        In which the networks take matrix products and convolutions. Their parameters, norms and residual streams, and
        all else, stay in float32. Default: the option ``precision`` (``"float32"``).

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        If there is no such model, the path holds several (they are listed), or files of it are missing or do not fit
        together (all problems are named).
    IntegrityError
        If a file's hash is not the one that the registry, or the directory's ``model.json``, gives.
    OptionError
        If the precision is not known.

    Examples
    --------
    >>> import xappa
    >>> xappa.load("speedy").spec.step_hours
    6
    """
    from xappa.devices import resolve

    if name_or_path is not None and not isinstance(name_or_path, str | Path):
        return _prepare_model(name_or_path, device, precision)
    if str(name_or_path).startswith("object:"):
        from xappa.model.custom import find_live_model

        return find_live_model(str(name_or_path))
    place = str(resolve(device))
    name = get_options().default_model if name_or_path is None else name_or_path
    precision = precision or get_options().precision
    path = Path(name)
    with _LOADING:
        if is_folder(path) or path.suffix == ".pth":
            from xappa.model.opening import open_model

            model = open_model(path, place, checkpoint, None if statistics is None else Path(statistics))
            return model.with_precision(precision)
        entry = _find_entry(str(name))
        if entry.repository:
            folder = _fetch(entry, choose={"weights": checkpoint} if checkpoint else None, explicit=False)
            return load(folder, device=device, checkpoint=checkpoint, statistics=statistics, precision=precision)
        return _load(str(_fetch(entry)), entry.name, place).with_precision(precision)


def _prepare_model(model: Prior, device: str | None, precision: str | None) -> GenerativeModel:
    """A model that is given as an object: a loaded model, or a custom prior."""
    from xappa.devices import resolve
    from xappa.model.custom import CustomModel, wrap_prior
    from xappa.model.model import Model

    taken: GenerativeModel = model if isinstance(model, Model | CustomModel) else wrap_prior(model)
    taken = taken if device is None else taken.to(resolve(device))
    return taken if precision is None else taken.with_precision(precision)


@lru_cache(maxsize=4)
def _load(folder: str, name: str, device: str) -> Model:
    from xappa.model.directory import read_model

    return read_model(Path(folder), read_registry()[name].files).to(device)


def _find_entry(name: str) -> RegistryEntry:
    known = read_registry()
    if name not in known:
        raise ModelError(
            f"Unknown model {name!r}; expected a folder, or one of {', '.join(map(repr, known))}"
            + suggest_names(name, known)
        )
    return known[name]
