"""What a file of a repository is: its path, its size, and a hash that tells it from every other.

Git LFS names contents by their sha256; git itself names a small file by the SHA-1 of ``blob``, a space, its length in
decimal digits, a null byte, and the contents.

References
----------
- Git LFS: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
- Git objects: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

_WORDS = {"sha256": "sha256", "git": "git blob id"}
_DIGITS = {"sha256": 64, "git": 40}


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository.

    Parameters
    ----------
    path : str
        Within the repository, with ``/``.
    size : int
        Bytes.
    kind : str
        ``"sha256"``, or ``"git"`` for the id of a git blob.
    digest : str
        In hexadecimal digits.

    Raises
    ------
    ValueError
        If the path leads out of the folder, or size or hash are none.
    """

    path: str
    size: int
    kind: str
    digest: str

    def __post_init__(self) -> None:
        path = PurePosixPath(self.path)
        if path.is_absolute() or not path.parts or ".." in path.parts or set(self.path) & set("\\:\0"):
            raise ValueError(f"the path {self.path!r} leads out of the folder")
        if not isinstance(self.size, int) or isinstance(self.size, bool) or self.size < 0:
            raise ValueError(f"{self.path!r} has size {self.size!r}")
        if (
            not isinstance(self.digest, str)
            or _DIGITS.get(str(self.kind)) != len(self.digest)
            or set(self.digest) - set("0123456789abcdef")
        ):
            raise ValueError(f"{self.path!r} has the {self.kind} {self.digest!r}")

    @property
    def identity(self) -> str:
        """Size and hash as one text, for messages."""
        return f"{self.size} bytes with {_WORDS[self.kind]} {self.digest}"


def difference(path: Path, file: RemoteFile) -> str | None:
    """How the file at `path` differs from `file`, in words; None where it is that file.

    The hash is computed once a process for as long as size and time of change stay as they are.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "no such file"
    if status.st_size != file.size:
        return f"{status.st_size} bytes"
    found = _digest(_Contents(str(path), file.kind, status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev))
    return None if found == file.digest else f"{status.st_size} bytes with {_WORDS[file.kind]} {found}"


def difference_of(contents: bytes, file: RemoteFile) -> str | None:
    """The same for contents in memory."""
    hasher = _hasher(file.kind, len(contents))
    hasher.update(contents)
    if len(contents) == file.size and hasher.hexdigest() == file.digest:
        return None
    return f"{len(contents)} bytes with {_WORDS[file.kind]} {hasher.hexdigest()}"


@dataclass(frozen=True)
class _Contents:
    """A file as it is now; under another name it is still the same."""

    path: str = field(compare=False)
    kind: str
    size: int
    modified: int
    inode: int
    device: int


@lru_cache(maxsize=4096)
def _digest(contents: _Contents) -> str:
    with open(contents.path, "rb") as file:
        return hashlib.file_digest(file, lambda: _hasher(contents.kind, contents.size)).hexdigest()


def _hasher(kind: str, size: int) -> Any:
    if kind == "sha256":
        return hashlib.sha256()
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
