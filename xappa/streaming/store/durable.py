"""Wait until files are on the disk: what the system holds in memory is lost with the power."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path


def flush(folder: Path) -> None:
    """Wait until all files of a folder are on its disk.

    On Linux one call (syncfs) flushes the file system, which costs less than one for each of many files; elsewhere
    each file is flushed by itself.
    """
    if (sync := _syncfs()) is not None:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            if sync(descriptor) == 0:
                return
        finally:
            os.close(descriptor)
    for path in folder.rglob("*"):
        if path.is_file():
            _flush_file(path)


def _flush_file(path: Path) -> None:
    # Windows flushes only what is open for writing.
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@cache
def _syncfs() -> Callable[[int], int] | None:
    """The system call, where there is one."""
    try:
        return ctypes.CDLL("libc.so.6").syncfs
    except (OSError, AttributeError):
        return None
