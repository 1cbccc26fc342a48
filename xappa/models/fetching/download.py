"""One file, downloaded in as many pieces as it takes, and checked."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from xappa.errors import IntegrityError
from xappa.models.fetching.http import OUT_OF_RANGE, TIMEOUT, Transient, get, persistently
from xappa.models.fetching.hub import wrong
from xappa.models.fetching.identity import RemoteFile, difference
from xappa.models.fetching.space import explain

CHUNK = 2**16  # bytes; what a broken connection may cost


class ResumingDownloader:
    """A downloader for `pooch` that goes on from what an earlier attempt, or an earlier process, left.

    Pieces are appended to a file of its own; pooch's temporary file receives it when it is complete and right.

    Parameters
    ----------
    file : RemoteFile
        What is expected.
    part : Path
        File that collects what arrives; the server's entity tag is kept beside it.
    session : requests.Session
    advance : callable
        Called with the number of bytes that have arrived since the last call; negative where they were discarded.

    References
    ----------
    Range requests: RFC 9110, sections 13.1.5 (If-Range, for which an entity tag must be strong) and 14.
    """

    def __init__(
        self, file: RemoteFile, part: Path, session: requests.Session, advance: Callable[[int], object]
    ) -> None:
        self.file = file
        self.part = part
        self.tag = part.with_name(part.name + ".etag")
        self.session = session
        self.advance = advance
        self._told = 0
        self._refused = 0

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> bool | None:
        """Download `url` to `output_file`; with `check_only` say whether it is there.

        Raises
        ------
        DownloadError
            If the server does not deliver, or the disk does not take it.
        IntegrityError
            If what it delivers is not the expected file.
        """
        if check_only:
            return self.session.head(url, allow_redirects=True, timeout=TIMEOUT).status_code == 200
        try:
            self.part.parent.mkdir(parents=True, exist_ok=True)
            persistently(lambda: self._attempt(url), url, lambda: self._held)
            os.replace(self.part, output_file)
            self.tag.unlink(missing_ok=True)
        except OSError as error:
            raise explain(error, self.part.parent) from error
        return None

    @property
    def _held(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _attempt(self, url: str) -> None:
        self._tell()
        if self._held < self.file.size or not self.part.exists():
            with get(self.session, url, headers=self._wanted(), stream=True) as response:
                self._receive(response)
        if self._held < self.file.size:
            raise Transient(f"{self.file.path} ended after {self._held} of {self.file.size} bytes")
        found = difference(self.part, self.file)
        if found:
            self._refuse(found, url)

    def _wanted(self) -> dict[str, str]:
        """Headers that ask for what is missing, as long as it is the same file."""
        if not self._held:
            return {}
        tag = self.tag.read_text() if self.tag.exists() else ""
        return {"Range": f"bytes={self._held}-"} | ({"If-Range": tag} if tag else {})

    def _receive(self, response: requests.Response) -> None:
        if response.status_code == OUT_OF_RANGE or not self._fits(response):
            self._discard()
            raise Transient(f"the server's copy of {self.file.path} does not continue what has arrived")
        if response.status_code != 206:
            self._begin(response)
        try:
            with open(self.part, "ab") as out:
                for chunk in response.iter_content(CHUNK):
                    out.write(chunk)
                    self._told += len(chunk)
                    self.advance(len(chunk))
                    if self._told > self.file.size:
                        break
        except requests.RequestException as error:
            raise Transient(f"the connection broke in {self.file.path}, {self._held} bytes in ({error})") from error
        if self._held > self.file.size:
            self._refuse(f"more than {self.file.size} bytes", response.url)

    def _fits(self, response: requests.Response) -> bool:
        if response.status_code != 206:
            return True
        said = re.match(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        return said is not None and int(said[1]) == self._held and said[2] in ("*", str(self.file.size))

    def _begin(self, response: requests.Response) -> None:
        """From the first byte: the server sends the whole file."""
        self._discard()
        length = response.headers.get("Content-Length", "")
        if length.isdigit() and int(length) != self.file.size and "Content-Encoding" not in response.headers:
            self._refuse(f"{length} bytes", response.url)
        tag = response.headers.get("ETag", "")
        if tag.startswith('"'):
            self.tag.write_text(tag)

    def _refuse(self, found: str, url: str) -> None:
        """Discard what is wrong; once may be an accident of the way, twice is an answer."""
        self._discard()
        self._refused += 1
        if self._refused > 1:
            raise IntegrityError(wrong(self.file, found, url))
        raise Transient(f"{self.file.path} arrived as {found}")

    def _discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.tag.unlink(missing_ok=True)
        self._tell()

    def _tell(self) -> None:
        held = self._held
        self.advance(held - self._told)
        self._told = held
