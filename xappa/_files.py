"""Files that appear complete or not at all, and whether there are any."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ADDED = len(f".{uuid.uuid4().hex}.part")
"""Letters that `replace_atomically` adds to a name."""


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file; a text that no path can be is none."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # too long a name, a zero byte
        return False


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether there is a folder; a text that no path can be is none."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def can_be_path(path: str | os.PathLike[str]) -> bool:
    """Whether a file may have this name: it is not too long, and has no zero byte."""
    try:
        os.stat(f"{os.fspath(path)}{' ' * ADDED}")
    except OSError as error:
        return error.errno != errno.ENAMETOOLONG
    except ValueError:
        return False
    return True


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place at the end; after an error there is neither.

    Parameters
    ----------
    path : Path
        What readers see: the former file until the end, then the new one.
    """
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a small file, and the folders above it, completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_atomically(path) as part:
        part.write_text(text)
