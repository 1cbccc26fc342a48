"""Fetching released weights: from a revision to a folder that holds it, complete and checked."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import requests

from xappa.errors import DownloadError, IntegrityError, ModelError, warn
from xappa.models.fetching.download import ResumingDownloader
from xappa.models.fetching.http import Transient, new_session
from xappa.models.fetching.hub import HUB, Hub, wrong
from xappa.models.fetching.identity import RemoteFile, difference
from xappa.models.fetching.lock import Lock, alone, write_lock
from xappa.models.fetching.pool import Pool, link
from xappa.models.fetching.select import check_choice, select
from xappa.models.fetching.space import explain, megabytes, require_space

STAGING = ".incomplete"
DEFAULT = "main"

logger = logging.getLogger("xappa")


def fetch_released(
    name: str,
    repository: str,
    roles: Mapping[str, str],
    pool: Pool,
    *,
    revision: str | None = None,
    progress: bool | None = None,
    choose: Mapping[str, str] | None = None,
    explicit: bool = True,
) -> Path:
    """Folder that holds a model's released files; what is missing is downloaded and checked.

    Parameters
    ----------
    name : str
        Of the model.
    repository : str
        Dataset repository, ``"owner/name"``.
    roles : dict
        ``"required"`` or ``"optional"`` by role.
    pool : Pool
        Where the folders lie.
    revision : str, optional
        Branch, tag or hash of a commit. Default: the one that was fetched before, else the newest.
    progress : bool, optional
        Whether a bar is shown; None where a person is watching.
    choose : dict, optional
        See `select.select`; added to what was chosen before.
    explicit : bool, default: True
        Whether a person asks. Then revision and choice become the default, and the repository is asked for a newer
        revision even if everything is there: that is only reported, and no answer is no failure.

    Raises
    ------
    DownloadError
        If files are missing and cannot be had.
    IntegrityError
        If what a server delivers is not what the lock file names.
    ModelError
        If the repository does not tell which files make the model.
    """
    asked = check_choice(choose)
    before = pool.find(None, {})
    choice = (before[1].chosen if before else {}) | asked
    with new_session() as session:
        hub = Hub(repository, session)
        known = pool.find(revision, choice)
        if known and not known[1].missing(known[0]):
            folder, lock = known
        else:
            try:
                with alone(pool.root, lambda: logger.warning("Another process fetches %s; waiting for it.", name)):
                    folder, lock = pool.find(revision, choice) or _decide(name, roles, pool, hub, revision, choice)
                    _complete(folder, lock, pool, hub, progress)
            except OSError as error:
                raise explain(error, pool.root) from error
        if explicit and (revision is not None or asked):
            _pin(pool, folder)
        if explicit:
            _report_upstream(pool, hub, lock)
    return folder


def _decide(
    name: str, roles: Mapping[str, str], pool: Pool, hub: Hub, revision: str | None, choice: dict[str, str]
) -> tuple[Path, Lock]:
    """Ask what the revision is and which of its files are needed, and write that down."""
    before = pool.find(None, {})
    asked = revision or (before[1].revision if before else DEFAULT)
    try:
        commit = hub.commit(asked)
    except DownloadError as error:
        known = pool.named(asked) if revision else None
        if known is None or known[1].missing(known[0]):
            raise
        warn(f"{asked!r} is taken as it was when it was fetched: {error}")
        return known
    same = pool.find(commit.revision, choice)
    if same:
        return same
    where = f"{hub.repository} at revision {commit.revision}"
    tree = hub.tree(commit.revision)
    selection = select(tree, lambda file: hub.read(commit.revision, file), roles, choice, where)
    folder = pool.folder(commit.revision, choice)
    found = (selection.choice, selection.files)
    lock = Lock(name, hub.repository, commit.revision, asked, commit.licence, choice, *found)
    write_lock(folder, lock)
    if before is None:
        pool.pin(folder)
    _announce(lock, folder)
    return folder, lock


def _complete(folder: Path, lock: Lock, pool: Pool, hub: Hub, progress: bool | None) -> None:
    """Download what is missing, each file checked before it is put in its place."""
    pool.reuse(folder, list(lock.missing(folder)))
    missing = lock.missing(folder)
    staging = folder / STAGING
    for file, found in missing.items():
        if found != "no such file":
            warn(f"{folder / file.path}: expected {file.identity}, found {found}. It is fetched again.")
    require_space(folder, sum(file.size - _held(staging, file) for file in missing))
    if missing:
        _download(folder, lock, missing, hub, progress)
    shutil.rmtree(staging, ignore_errors=True)


def _download(folder: Path, lock: Lock, files: Mapping[RemoteFile, str], hub: Hub, progress: bool | None) -> None:
    import pooch
    from tqdm.auto import tqdm

    staging = folder / STAGING
    staging.mkdir(parents=True, exist_ok=True)
    store = pooch.create(
        path=staging,
        base_url="",
        registry={file.digest: f"sha256:{file.digest}" if file.kind == "sha256" else None for file in files},
        urls={file.digest: hub.url(lock.revision, file.path) for file in files},
    )
    done: dict[str, Path] = {}
    total = sum(file.size for file in files)
    with (
        _quiet(pooch.get_logger()),
        tqdm(total=total, unit="B", unit_scale=True, disable=not _shown(progress), leave=False) as bar,
    ):
        for file in files:
            target = folder / file.path
            bar.set_description(f"{lock.name} {lock.revision[:12]} {target.name}")
            if file.digest in done:
                link(done[file.digest], target)
                bar.update(file.size)
                continue
            downloader = ResumingDownloader(file, _part(staging, file), hub.session, bar.update)
            arrived = Path(store.fetch(file.digest, downloader=downloader))
            found = difference(arrived, file)
            if found:
                raise IntegrityError(wrong(file, found, hub.base))
            target.parent.mkdir(parents=True, exist_ok=True)
            arrived.replace(target)
            done[file.digest] = target


@contextmanager
def _quiet(log: logging.Logger) -> Iterator[None]:
    """Without a line for each file, which would tear the progress bar."""
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


def _part(staging: Path, file: RemoteFile) -> Path:
    return staging / f"{file.digest}.part"


def _held(staging: Path, file: RemoteFile) -> int:
    part = _part(staging, file)
    return part.stat().st_size if part.exists() else 0


def _shown(progress: bool | None) -> bool:
    from xappa.options import get_options

    chosen = get_options().progress if progress is None else progress
    if chosen is None:
        from xappa.progress import watched

        chosen = watched()
    return chosen


def _announce(lock: Lock, folder: Path) -> None:
    size = sum(file.size for file in lock.all_files)
    licence = (
        f"{lock.licence!r}, by the repository's card"
        if lock.licence
        else "none is stated by the authors as far as we know; ask them"
    )
    warn(
        f"Fetching {lock.name}, revision {lock.revision} of {lock.repository}: {megabytes(size)} in "
        f"{len(lock.all_files)} files, into {folder}. Licence of the weights: {licence} "
        f"({HUB}/datasets/{lock.repository})."
    )


def _pin(pool: Pool, folder: Path) -> None:
    try:
        pool.pin(folder)
    except OSError as error:  # a cache that others keep
        logger.warning("%s stays the default revision: %s", pool.pinned, error)


def _report_upstream(pool: Pool, hub: Hub, lock: Lock) -> None:
    try:
        newest = hub.commit_if_quick(DEFAULT).revision
    except (Transient, DownloadError, requests.RequestException) as error:
        logger.debug("%s was not asked for a newer revision: %s", hub.repository, error)
        return
    try:
        pool.note_upstream(newest)
    except OSError as error:
        logger.debug("The newest revision is not noted: %s", error)
    if newest != lock.revision:
        warn(
            f"{lock.repository} has changed: its newest revision is {newest}. Used is still {lock.revision}; "
            f"xappa.fetch({lock.name!r}, revision={newest[:12]!r}) takes the new one."
        )


def note(pool: Pool) -> str:
    """What the list of models says about a model's released weights."""
    try:
        known = pool.find(None, {})
    except ModelError as error:
        return str(error)
    if known is None:
        return "not fetched yet"
    folder, lock = known
    here = all((folder / file.path).is_file() for file in lock.all_files)
    text = f"revision {lock.revision[:12]}, {'fetched' if here else 'not complete yet'}"
    newer = pool.upstream and pool.upstream != lock.revision
    return text + (f"; the authors have a newer one, {pool.upstream[:12]}" if newer else "")
