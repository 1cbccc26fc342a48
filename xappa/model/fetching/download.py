"""One file, downloaded in as many pieces as it takes, and checked."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xappa.model.fetching.http import OUT_OF_RANGE, TransientError, open_url, retry_transient
from xappa.model.fetching.hub import make_integrity_error
from xappa.model.fetching.identity import RemoteFile, describe_difference
from xappa.model.fetching.space import explain

CHUNK = 2**16  # bytes; what a broken connection may cost


class ResumingDownloader:
    """A downloader for `pooch` that goes on from what an earlier attempt, or an earlier process, left.

    Parameters
    ----------
    file : RemoteFile
        Expected file.
    part : Path
        Collects what arrives; the server's entity tag is kept beside it. When it is complete and right, it takes the
        place of pooch's temporary file.
    show : callable
        Called with the number of bytes that are there, whenever it has changed.

    References
    ----------
    Range requests: RFC 9110, sections 13.1.5 (If-Range, for which an entity tag must be strong) and 14.
    """

    def __init__(self, file: RemoteFile, part: Path, show: Callable[[int], object]) -> None:
        self.file, self.part, self.show = file, part, show
        self.tag = part.with_name(part.name + ".etag")
        self._refused = False

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        """Download `url` to `output_file`.

        Raises
        ------
        DownloadError
            If the server does not deliver, or the disk does not take it.
        IntegrityError
            If what it delivers is not the expected file.
        """
        try:
            self.part.parent.mkdir(parents=True, exist_ok=True)
            retry_transient(lambda: self._attempt(url), url, lambda: self.held)
            os.replace(self.part, output_file)
            self.tag.unlink(missing_ok=True)
        except OSError as error:
            raise explain(error, self.part.parent) from error

    @property
    def held(self) -> int:
        """Bytes that have arrived."""
        return self.part.stat().st_size if self.part.exists() else 0

    def _attempt(self, url: str) -> None:
        self.show(self.held)
        if self.held < self.file.size or not self.part.exists():
            try:
                with open_url(url, self._wanted()) as response:
                    self._receive(response, url)
            except TransientError as failure:
                raise TransientError(f"{failure}, {self.held} bytes in", failure.wait) from failure
        if self.held < self.file.size:
            raise TransientError(f"{self.file.path} ended after {self.held} of {self.file.size} bytes")
        if found := describe_difference(self.part, self.file):
            self._refuse(found, url)

    def _wanted(self) -> dict[str, str]:
        """Headers that ask for what is missing, as long as it is the same file."""
        if not self.held:
            return {}
        tag = {"If-Range": self.tag.read_text()} if self.tag.exists() else {}
        return {"Range": f"bytes={self.held}-"} | tag

    def _receive(self, response: Any, url: str) -> None:
        if response.status_code == OUT_OF_RANGE or (response.status_code == 206 and not self._continues(response)):
            self._discard()
            raise TransientError(f"the server's copy of {self.file.path} does not continue what has arrived")
        if response.status_code != 206:
            self._begin(response, url)
        held = self.held
        with open(self.part, "ab") as out:
            for chunk in response.iter_bytes(CHUNK):
                out.write(chunk)
                held += len(chunk)
                self.show(held)
                if held > self.file.size:
                    break
        if held > self.file.size:
            self._refuse(f"more than {self.file.size} bytes", url)

    def _continues(self, response: Any) -> bool:
        said = re.match(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        return said is not None and int(said[1]) == self.held and said[2] in ("*", str(self.file.size))

    def _begin(self, response: Any, url: str) -> None:
        """From the first byte: the server sends the whole file."""
        self._discard()
        length = response.headers.get("Content-Length", "")
        if length.isdigit() and int(length) != self.file.size and "Content-Encoding" not in response.headers:
            self._refuse(f"{length} bytes", url)
        tag = response.headers.get("ETag", "")
        if tag.startswith('"'):
            self.tag.write_text(tag)

    def _refuse(self, found: str, url: str) -> None:
        """Discard what is wrong; once may be an accident of the way, twice is an answer."""
        self._discard()
        if self._refused:
            raise make_integrity_error(self.file, found, url)
        self._refused = True
        raise TransientError(f"{self.file.path} arrived as {found}")

    def _discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.tag.unlink(missing_ok=True)
        self.show(0)
