"""Files of text: their encoding, and their lines.

References
----------
Unicode 15, section 23.8: byte order marks. WHATWG Encoding: Windows-1252 is ISO 8859-1 with letters for controls.
"""

from __future__ import annotations

import codecs
import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pandas as pd

from xappa.errors import ObservationError
from xappa.observations.readers.compressed import is_compressed, open_decompressed, strip_suffix

HEAD = 1 << 16
COMMENTS = ("#", "!")

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class TextFile:
    """A file of text.

    Parameters
    ----------
    path : Path
    encoding : str
    head : str
        The beginning.
    comments : bool
        Whether there are lines that begin with ``#`` or ``!``.
    """

    path: Path
    encoding: str
    head: str
    comments: bool

    @property
    def assumption(self) -> str | None:
        """Sentence on the encoding that was assumed; None if the file states it."""
        if self.encoding not in ("cp1252", "latin-1"):
            return None
        name = {"cp1252": "Windows-1252", "latin-1": "ISO 8859-1"}[self.encoding]
        return f"{self.path} is not in UTF-8; its text is taken as {name}. Say otherwise by saving it in UTF-8"

    @contextlib.contextmanager
    def open(self) -> Iterator[io.TextIOWrapper]:
        """The text as a stream."""
        with open_decompressed(self.path) as file:
            yield io.TextIOWrapper(file, encoding=self.encoding, newline=None)

    def read_lines(self) -> pd.Series:
        """All lines that are not blank."""
        with self.open() as stream:
            lines = pd.Series(stream.read().splitlines(), dtype=object)
        return lines[lines.str.strip() != ""].reset_index(drop=True)


def inspect_text_file(path: Path) -> TextFile:
    """A file of text, with the encoding that its byte order mark or all of its bytes tell.

    Text that is no UTF-8 is taken as Windows-1252, or as ISO 8859-1 where it has bytes that Windows-1252 lacks.

    Raises
    ------
    ObservationError
        If it is not text.
    """
    with open_decompressed(path) as file:
        head = file.read(HEAD)
        found, comments = _detect_encoding(path, head, file, _detect_told(head))
    return TextFile(path, found, _decode_head(head, found), comments)


def inspect_report_file(path: Path) -> TextFile:
    """`inspect_text_file` of reports, whose name must not say that they are packed where they are not.

    Raises
    ------
    ObservationError
        If it does, or the file is not text.
    """
    text = inspect_text_file(path)
    if strip_suffix(path) != path.name and not is_compressed(path):
        raise ObservationError(
            f"{path}: not packed, although its name ends with {path.suffix!r}: the file is damaged or misnamed. Fetch "
            "it anew, or rename it"
        )
    return text


def inspect_text_head(path: Path, head: bytes) -> TextFile | None:
    """A file of text as far as its beginning tells; None where that is no text."""
    try:
        encoding, comments = _detect_encoding(path, head, io.BytesIO(), _detect_told(head), whole=False)
    except ObservationError:
        return None
    return TextFile(path, encoding, _decode_head(head, encoding), comments)


def _decode_head(head: bytes, encoding: str) -> str:
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(head)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _detect_told(head: bytes) -> str | None:
    """The encoding that a byte order mark, or zeros in every other byte, tell."""
    return next((name for mark, name in _MARKS if head.startswith(mark)), _guess_utf16(head))


def _guess_utf16(head: bytes) -> str | None:
    """UTF-16 has a zero in every other byte of plain text."""
    even, odd = head[0:512:2], head[1:512:2]
    if even and odd and max(even.count(0), odd.count(0)) > 0.9 * len(odd):
        return "utf-16-be" if even.count(0) > odd.count(0) else "utf-16-le"
    return None


def _detect_encoding(
    path: Path, head: bytes, file: IO[bytes], told: str | None, whole: bool = True
) -> tuple[str, bool]:
    """The first encoding that decodes all of the file, and whether it has lines of comments."""
    candidates = [told] if told else ["utf-8", "cp1252", "latin-1"]
    decoders = {name: codecs.getincrementaldecoder(name)() for name in candidates}
    comments, block = head.lstrip(codecs.BOM_UTF8)[:1] in (b"#", b"!"), head
    while block:
        if not told and b"\x00" in block:
            raise ObservationError(f"{path}: neither text nor a format that is known: it has bytes of zero")
        comments |= any(f"{end}{mark}".encode() in block for end in "\n\r" for mark in COMMENTS)
        for name, decoder in list(decoders.items()):
            try:
                decoder.decode(block)
            except UnicodeDecodeError:
                del decoders[name]
        block = file.read(1 << 20)
    for name, decoder in list(decoders.items()):
        try:
            decoder.decode(b"", final=whole)
        except UnicodeDecodeError:
            del decoders[name]
    if not decoders:
        raise ObservationError(f"{path}: its text cannot be decoded as {candidates[0]}, which it begins as")
    return next(iter(decoders)), comments or bool(told and told.startswith("utf-16"))
