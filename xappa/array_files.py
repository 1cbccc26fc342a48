"""Arrays by name in files that are whole or not there, on the local disk or wherever fsspec reaches."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xappa._files import replace_atomically

LOG = logging.getLogger("xappa")

SUFFIX = ".npz"


@dataclass(frozen=True)
class FileCache:
    """A folder of files, of which those used longest ago are removed beyond a limit.

    Parameters
    ----------
    folder : Path
        Made when it is needed.
    limit : float
        Bytes of all files.
    """

    folder: Path
    limit: float = float("inf")

    def get_path(self, key: str) -> Path:
        """The file of a key."""
        return self.folder / (hashlib.blake2b(key.encode(), digest_size=20).hexdigest() + SUFFIX)

    def read(self, key: str) -> dict[str, np.ndarray] | None:
        """Arrays of a key; None if there are none, or they were damaged."""
        path = self.get_path(key)
        try:
            arrays = unpack_arrays(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, zipfile.BadZipFile, KeyError, EOFError) as error:
            LOG.warning("%s cannot be read (%s): its latents are sampled again.", path, error)
            path.unlink(missing_ok=True)
            return None
        os.utime(path)
        return arrays

    def write(self, key: str, arrays: Mapping[str, np.ndarray]) -> bool:
        """Keep arrays; without room on the disk they are not kept, which is logged. Returns whether they are."""
        content = pack_arrays(arrays)
        if len(content) > self.limit:
            return False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            replace_file(self.get_path(key), content)
            self._make_room()
        except OSError as error:
            LOG.warning("Latents cannot be kept in %s: %s", self.folder, error)
            return False
        return True

    def _make_room(self) -> None:
        files = []
        for path in self.folder.glob(f"*{SUFFIX}"):
            try:
                status = path.stat()
            except FileNotFoundError:  # another process was faster
                continue
            files.append((status.st_mtime_ns, status.st_size, path))
        size = sum(bytes_ for _, bytes_, _ in files)
        for _, bytes_, path in sorted(files):
            if size <= self.limit:
                break
            path.unlink(missing_ok=True)
            size -= bytes_


def pack_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays by name as the contents of one file, with checksums; the same bytes for the same arrays."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, values in arrays.items():
            part = io.BytesIO()
            np.lib.format.write_array(part, np.ascontiguousarray(values).reshape(np.shape(values)), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), part.getvalue())
    return out.getvalue()


def unpack_arrays(content: bytes) -> dict[str, np.ndarray]:
    """The reverse of `pack_arrays`."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {
            name.removesuffix(".npy"): np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False)
            for name in archive.namelist()
        }


def replace_file(path: Path, content: bytes) -> None:
    """Write a file that is whole or not there, whenever the process ends."""
    with replace_atomically(path) as part, part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@dataclass(frozen=True)
class RemoteFiles:
    """Files under an address that fsspec understands, each put there at once.

    Parameters
    ----------
    address : str
        Such as ``s3://bucket/folder``.
    options : dict, optional
        For the file system.
    """

    address: str
    options: tuple[tuple[str, Any], ...] = ()

    def _open_filesystem(self) -> tuple[Any, str]:
        import fsspec

        return fsspec.core.url_to_fs(self.address, **dict(self.options))

    def read(self, name: str) -> bytes | None:
        """Contents of a file; None if it is not there."""
        system, root = self._open_filesystem()
        try:
            return system.cat_file(f"{root}/{name}")
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Put a file."""
        system, root = self._open_filesystem()
        system.makedirs(root, exist_ok=True)
        system.pipe_file(f"{root}/{name}", content)

    def remove(self) -> None:
        """Remove the folder."""
        system, root = self._open_filesystem()
        if system.exists(root):
            system.rm(root, recursive=True)


@dataclass(frozen=True)
class LocalFiles:
    """The same in a folder of the local disk.

    Parameters
    ----------
    folder : Path
    """

    folder: Path

    def read(self, name: str) -> bytes | None:
        """Contents of a file; None if it is not there."""
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Put a file, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_file(self.folder / name, content)

    def remove(self) -> None:
        """Remove the folder."""
        import shutil

        shutil.rmtree(self.folder, ignore_errors=True)
