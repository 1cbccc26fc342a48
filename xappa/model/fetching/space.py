"""Room on the disk."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from xappa.errors import DownloadError

MARGIN = 64 * 2**20  # bytes left to everybody else
_ADVICE = (
    "Make room and fetch again, which goes on from what is there; or choose a folder on another disk, "
    "with XAPPA_CACHE, xappa.set_options(cache_dir=...) or path=."
)


def require_space(folder: Path, needed: int) -> None:
    """Raise DownloadError, before anything is downloaded, if `needed` bytes do not fit."""
    there = next(parent for parent in (folder.resolve(), *folder.resolve().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if needed and needed + MARGIN > free:
        found = f"{format_megabytes(needed)} are still needed, {format_megabytes(free)} are free"
        raise DownloadError(f"There is not enough room in {folder}: {found}. {_ADVICE}")


def explain(error: OSError, folder: Path) -> DownloadError:
    """Error for a failure to write."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DownloadError(f"There is not enough room in {folder} ({error.strerror}). {_ADVICE}")
    return DownloadError(f"{folder} cannot be written: {error}. Choose another with XAPPA_CACHE or path=.")


def format_megabytes(size: float) -> str:
    """A size in words."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
