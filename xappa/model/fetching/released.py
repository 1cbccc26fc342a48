"""Fetching released weights: from a revision to a folder that holds it, complete and checked."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from xappa.errors import DownloadError, ModelError, warn
from xappa.model.fetching.download import ResumingDownloader
from xappa.model.fetching.http import TransientError
from xappa.model.fetching.hub import HUB, Hub, make_integrity_error
from xappa.model.fetching.identity import RemoteFile, describe_difference
from xappa.model.fetching.lock import LockFile, lock_folder, write_lock
from xappa.model.fetching.pool import Pool, link
from xappa.model.fetching.select import check_choice, select
from xappa.model.fetching.space import explain, format_megabytes, require_space
from xappa.progress import is_bar_shown

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
    """Folder in `pool` that holds a model's released files; what is missing is downloaded and checked.

    See `xappa.fetch` for `name`, `revision`, `progress`, `choose` and errors. `roles` has ``"required"`` or
    ``"optional"`` by role. `explicit` tells that a person asks. Then revision and choice become the default, and the
    repository is asked for a newer revision even if everything is there: that is only reported, and no answer is no
    failure.
    """
    asked = check_choice(choose)
    before = pool.find(None, {})
    choice = (before[1].chosen if before else {}) | asked
    hub = Hub(repository)
    known = pool.find(revision, choice)
    if known and not known[1].find_missing(known[0]):
        folder, lock = known
    else:
        try:
            with lock_folder(pool.root, lambda: logger.warning("Another process fetches %s; waiting for it.", name)):
                folder, lock = pool.find(revision, choice) or _decide(name, roles, pool, hub, revision, choice)
                _complete(folder, lock, pool, hub, progress)
        except OSError as error:
            raise explain(error, pool.root) from error
    if explicit and (revision is not None or asked):
        try:
            pool.pin(folder)
        except OSError as error:  # a cache that others keep
            logger.warning("%s stays the default revision: %s", pool.pinned, error)
    if explicit:
        _report_upstream(pool, hub, lock)
    return folder


def _decide(
    name: str, roles: Mapping[str, str], pool: Pool, hub: Hub, revision: str | None, choice: dict[str, str]
) -> tuple[Path, LockFile]:
    """Ask what the revision is and which of its files are needed, and write that down."""
    before = pool.find(None, {})
    asked = revision or (before[1].revision if before else DEFAULT)
    try:
        commit, licence = hub.resolve_commit(asked)
    except DownloadError as error:
        known = pool.find_by_name(asked) if revision else None
        if known is None or known[1].find_missing(known[0]):
            raise
        warn(f"{asked!r} is taken as it was when it was fetched: {error}")
        return known
    if same := pool.find(commit, choice):
        return same
    where = f"{hub.repository} at revision {commit}"
    selection = select(hub.list_files(commit), lambda file: hub.read_file(commit, file), roles, choice, where)
    folder = pool.get_folder(commit, choice)
    lock = LockFile(name, hub.repository, commit, asked, licence, choice, selection.choice, selection.files)
    write_lock(folder, lock)
    if before is None:
        pool.pin(folder)
    stated = f"{licence!r}, by the repository's card" if licence else "none is stated by the authors as far as we know"
    size = f"{format_megabytes(sum(file.size for file in lock.all_files))} in {len(lock.all_files)} files"
    warn(
        f"Fetching {name}, revision {commit} of {hub.repository}: {size}, into {folder}. "
        f"Licence of the weights: {stated}{'' if licence else '; ask them'} ({HUB}/datasets/{hub.repository})."
    )
    return folder, lock


def _complete(folder: Path, lock: LockFile, pool: Pool, hub: Hub, progress: bool | None) -> None:
    """Download what is missing, each file checked before it is put in its place."""
    pool.link_existing(folder, list(lock.find_missing(folder)))
    missing = lock.find_missing(folder)
    for file, found in missing.items():
        if found != "no such file":
            warn(f"{folder / file.path}: expected {file.identity}, found {found}. It is fetched again.")
    held = (part.stat().st_size for part in (folder / STAGING).glob("*.part"))
    require_space(folder, sum(file.size for file in missing) - sum(held))
    if missing:
        _download(folder, lock, missing, hub, progress)
    shutil.rmtree(folder / STAGING, ignore_errors=True)


def _download(folder: Path, lock: LockFile, files: Mapping[RemoteFile, str], hub: Hub, progress: bool | None) -> None:
    import pooch
    from tqdm.auto import tqdm

    staging = folder / STAGING
    staging.mkdir(parents=True, exist_ok=True)
    store = pooch.create(
        path=staging,
        base_url="",
        registry={file.digest: f"sha256:{file.digest}" if file.kind == "sha256" else None for file in files},
        urls={file.digest: hub.make_url(lock.revision, file.path) for file in files},
    )
    done: dict[str, Path] = {}
    before, total = 0, sum(file.size for file in files)
    with (
        _silence_log(pooch.get_logger()),
        tqdm(total=total, unit="B", unit_scale=True, disable=not is_bar_shown(progress), leave=False) as bar,
    ):

        def show(held: int) -> None:
            bar.update(before + held - bar.n)

        for file in files:
            target = folder / file.path
            bar.set_description(f"{lock.name} {lock.revision[:12]} {target.name}")
            if file.digest in done:
                link(done[file.digest], target)
            else:
                downloader = ResumingDownloader(file, staging / f"{file.digest}.part", show)
                arrived = Path(store.fetch(file.digest, downloader=downloader))
                if found := describe_difference(arrived, file):  # left by another process; pooch knows no ids of git
                    arrived.unlink()
                    raise make_integrity_error(file, found, staging.as_uri())
                target.parent.mkdir(parents=True, exist_ok=True)
                done[file.digest] = arrived.replace(target)
            before += file.size


@contextmanager
def _silence_log(log: logging.Logger) -> Iterator[None]:
    """Without a line for each file, which would tear the progress bar."""
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


def _report_upstream(pool: Pool, hub: Hub, lock: LockFile) -> None:
    try:
        newest, _ = hub.resolve_commit(DEFAULT, persistent=False)
        pool.record_upstream(newest)
    except (TransientError, DownloadError) as error:
        logger.debug("%s was not asked for a newer revision: %s", hub.repository, error)
        return
    except OSError as error:
        logger.debug("The newest revision is not noted: %s", error)
    if newest != lock.revision:
        warn(
            f"{lock.repository} has changed: its newest revision is {newest}. Used is still {lock.revision}; "
            f"xappa.fetch({lock.name!r}, revision={newest[:12]!r}) takes the new one."
        )


def describe_status(pool: Pool) -> str:
    """Entry of the list of models on a model's released weights."""
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
