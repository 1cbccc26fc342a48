"""Packed files (gzip, bzip2, xz, a zip file of one member), read as what is in them."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from xappa.errors import ObservationError
from xappa.sizes import get_reader_memory

_GZIP, _BZIP2, _XZ, _ZIP = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"PK\x03\x04"
_SUFFIXES = (".gz", ".bz2", ".xz", ".zip")
_BLOCK = 1 << 20
_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, RuntimeError)


def is_compressed(path: Path) -> bool:
    """Whether a file is packed, by its first bytes."""
    with open_plain(path) as file:
        return file.read(6).startswith((_GZIP, _BZIP2, _XZ, _ZIP))


def strip_suffix(path: Path) -> str:
    """Name of a file without the suffix of packing."""
    return path.name[: -len(path.suffix)] if path.suffix.casefold() in _SUFFIXES else path.name


@contextlib.contextmanager
def open_decompressed(path: Path) -> Iterator[IO[bytes]]:
    """The contents of a file, unpacked as they are read.

    Raises
    ------
    ObservationError
        If it cannot be opened, or what is packed is damaged or several files, or takes more bytes, unpacked, than the
        option ``reader_memory`` allows.
    """
    with open_plain(path) as file:
        head = file.read(6)
        file.seek(0)
        try:
            with _open_codec(path, head, file) as contents:
                yield contents if contents is file else io.BufferedReader(_SizeLimitedStream(contents, path), _BLOCK)
        except _BROKEN as error:
            packed = head.startswith((_GZIP, _BZIP2, _XZ, _ZIP))
            what = "the packed file is damaged or incomplete" if packed else "cannot be read"
            raise ObservationError(f"{path}: {what}: {error}. Expected a whole file: fetch or write it anew") from error


class _SizeLimitedStream(io.RawIOBase):
    """Unpacked contents, as far as a reader may take memory for them."""

    def __init__(self, contents: IO[bytes], path: Path) -> None:
        self._contents, self._path, self._done = contents, path, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._contents.read(len(buffer))
        self._done += len(data)
        if self._done > (limit := get_reader_memory()):
            raise ObservationError(
                f"{self._path}: more than {limit:.4g} bytes when unpacked, of {self._path.stat().st_size} packed ones. "
                "Expected less; if it is right, unpack it first, or raise the limit: "
                "xappa.set_options(reader_memory=...)"
            )
        buffer[: len(data)] = data
        return len(data)


@contextlib.contextmanager
def open_plain(path: Path) -> Iterator[IO[bytes]]:
    """A file as it is.

    Raises
    ------
    ObservationError
        If it cannot be opened.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise ObservationError(f"{path}: cannot be opened: {error.strerror or error}") from error
    with file:
        yield file


@contextlib.contextmanager
def decompress_to_file(path: Path) -> Iterator[Path]:
    """A file on the disk with the contents unpacked, and the name without the suffix; the file itself if not packed."""
    if not is_compressed(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / strip_suffix(path)
        with open_decompressed(path) as contents, target.open("wb") as file:
            shutil.copyfileobj(contents, file)
        yield target


def _open_codec(path: Path, head: bytes, file: IO[bytes]) -> contextlib.AbstractContextManager[IO[bytes]]:
    if head.startswith(_GZIP):
        return gzip.open(file)  # type: ignore[return-value]
    if head.startswith(_BZIP2):
        return bz2.open(file)
    if head.startswith(_XZ):
        return lzma.open(file)
    if head.startswith(_ZIP):
        return _open_member(path, file)
    return contextlib.nullcontext(file)


@contextlib.contextmanager
def _open_member(path: Path, file: IO[bytes]) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(file) as archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        if "[Content_Types].xml" in names:
            raise ObservationError(
                f"{path}: an Excel file. Expected a table of text: give read_observations(pandas.read_excel(path))"
            )
        if len(names) != 1:
            listed = ", ".join(names[:8]) or "nothing"
            raise ObservationError(f"{path}: a zip file of {len(names)} files ({listed}). Expected one: unpack it")
        with archive.open(names[0]) as member:
            yield member
