"""Identity of a file of a repository: its path, its size and its hash.

Git LFS names contents by their sha256; git itself names a small file by the SHA-1 of ``blob``, a space, its length in
decimal digits, a null byte, and the contents.

References
----------
- Git LFS: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
- Git objects: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_WORDS = {"sha256": "sha256", "git": "git blob id"}
_DIGITS = {"sha256": 64, "git": 40}


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository; ValueError if the path leads out of the folder, or size or hash are none."""

    path: str  # within the repository, with "/"
    size: int  # bytes
    kind: str  # "sha256", or "git" for the id of a git blob
    digest: str  # in hexadecimal digits

    def __post_init__(self) -> None:
        if not isinstance(self.path, str) or not _is_inside(self.path):
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


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path)
    return bool(parts.parts) and not parts.is_absolute() and ".." not in parts.parts and not set(path) & set("\\:\0")


def describe_difference(held: Path | bytes, file: RemoteFile) -> str | None:
    """Description of how contents, or the file at a path, differ from `file`; None if they are that file.

    The hash of a file is computed once a process for as long as size and time of change stay as they are.
    """
    if isinstance(held, bytes):
        size, digest = len(held), _hash(io.BytesIO(held), file.kind, len(held))
    else:
        try:
            status = held.stat()
        except (FileNotFoundError, NotADirectoryError):
            return "no such file"
        size = status.st_size
        if size != file.size:
            return f"{size} bytes"
        # Without the path: under another name it is still the same file.
        key = (file.kind, size, status.st_mtime_ns, status.st_ino, status.st_dev)
        if key not in _HASHES:
            with open(held, "rb") as contents:
                _HASHES[key] = _hash(contents, file.kind, size)
        digest = _HASHES[key]
    return None if (size, digest) == (file.size, file.digest) else f"{size} bytes with {_WORDS[file.kind]} {digest}"


_HASHES: dict[tuple[str | int, ...], str] = {}


def _hash(file: io.BytesIO | io.BufferedReader, kind: str, size: int) -> str:
    start = hashlib.sha256() if kind == "sha256" else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    return hashlib.file_digest(file, lambda: start).hexdigest()
