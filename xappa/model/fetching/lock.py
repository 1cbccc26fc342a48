"""The lock file: which revision, and which files with which identities, a folder of weights holds or is to hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from xappa._files import write_text
from xappa.errors import ModelError, translate_read_errors
from xappa.model.fetching.identity import RemoteFile, describe_difference

NAME = "xappa-lock.json"
GUARD = ".xappa.lock"
FORMAT = 1
REMEDY = "Delete it, and fetch again."
ABSENT = (FileNotFoundError, NotADirectoryError)
SHORTEST = 7  # digits of a hash that is recognised without asking


@dataclass(frozen=True)
class LockFile:
    """What a folder holds."""

    name: str  # of the model
    repository: str
    revision: str  # hash of the commit
    asked: str  # branch, tag or hash that the revision was found by
    licence: str  # as the repository's card states it, or nothing
    chosen: dict[str, str]  # what a person chose, by role
    choice: dict[str, str]  # what that, and the layout, led to
    files: dict[str, tuple[RemoteFile, ...]]  # by role

    @property
    def all_files(self) -> tuple[RemoteFile, ...]:
        """Files of all roles, each once."""
        return tuple(dict.fromkeys(file for files in self.files.values() for file in files))

    def find_missing(self, folder: Path) -> dict[RemoteFile, str]:
        """Files that are not in `folder` as they should be, and what is there instead."""
        return {file: found for file in self.all_files if (found := describe_difference(folder / file.path, file))}

    def matches(self, revision: str | None, choice: Mapping[str, str]) -> bool:
        """Whether it is what is asked for: any revision or that of a (short) hash; a part of each chosen path."""
        same = revision is None or (len(revision) >= SHORTEST and self.revision.startswith(revision.lower()))
        return same and all(part.strip("/") in self.choice.get(role, "") for role, part in choice.items())


def read_lock(folder: Path) -> LockFile | None:
    """The lock file of a folder, or None where it has none; ModelError if it cannot be read."""
    path = folder / NAME
    try:
        with translate_read_errors(path, "a lock file", ModelError, REMEDY, passes=ABSENT):
            record = json.loads(path.read_text(encoding="utf-8"))
        if record["format"] != FORMAT:
            raise ModelError(f"{path} has format {record['format']!r}; this version of xappa reads {FORMAT}.")
        files = {role: tuple(map(_parse_file, listed)) for role, listed in record.pop("files").items()}
        del record["format"]
        return _require_text(LockFile(files=files, **record))
    except ABSENT:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{path} is not a lock file ({error}). {REMEDY}") from error


def _parse_file(entries: object) -> RemoteFile:
    if not isinstance(entries, dict) or set(entries) != {field.name for field in fields(RemoteFile)}:
        raise ValueError(f"a file is {str(entries)[:80]}; expected its path, size, kind and digest")
    return RemoteFile(**entries)


def _require_text(lock: LockFile) -> LockFile:
    """`lock`, if all but its files is text."""
    single = {name: getattr(lock, name) for name in ("name", "repository", "revision", "asked", "licence")}
    mapped = {name: getattr(lock, name) for name in ("chosen", "choice")}
    flat = single | {f"{name}.{key}": value for name, entries in mapped.items() for key, value in entries.items()}
    if wrong := [f"{name} is {str(value)[:80]!r}" for name, value in flat.items() if not isinstance(value, str)]:
        raise ValueError(f"{'; '.join(wrong)}; expected text")
    return lock


def write_lock(folder: Path, lock: LockFile) -> None:
    """Write the lock file of a folder."""
    write_text(folder / NAME, json.dumps({"format": FORMAT, **asdict(lock)}, indent=1) + "\n")


@contextmanager
def lock_folder(folder: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold `folder` for this process; `waiting()` is called if another one has it.

    A process that is killed loses its hold, so that nothing has to be removed by hand.
    """
    folder.mkdir(parents=True, exist_ok=True)
    guard: BaseFileLock = FileLock(folder / GUARD)
    try:
        _acquire(guard, waiting)
    except NotImplementedError:  # a file system without locks
        guard = SoftFileLock(folder / f"{GUARD}.soft")
        _acquire(guard, waiting)
    try:
        yield
    finally:
        guard.release()


def _acquire(guard: BaseFileLock, waiting: Callable[[], None]) -> None:
    try:
        guard.acquire(timeout=0)
    except Timeout:
        waiting()
        guard.acquire()
