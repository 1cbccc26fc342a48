"""What the Hugging Face Hub says of a dataset repository: the commit of a revision, and the files of a commit.

References
----------
Hub API endpoints: https://huggingface.co/docs/hub/api. A listing comes in pages; the header ``Link`` of each names the
next one (RFC 8288).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from xappa.errors import DownloadError, IntegrityError
from xappa.models.fetching.http import TIMEOUT, Answer, answer, persistently
from xappa.models.fetching.identity import RemoteFile, difference_of

HUB = "https://huggingface.co"
MOST_PAGES = 1000
"""Pages of a listing, beyond which it is no listing of a model's repository."""
_SHA = re.compile(r"[0-9a-f]{40}")


def base_url() -> str:
    """Address of the Hub, or of the mirror that ``XAPPA_MIRROR`` names.

    Raises
    ------
    DownloadError
        If ``XAPPA_MIRROR`` is no address.
    """
    mirror = os.environ.get("XAPPA_MIRROR", "").strip().rstrip("/")
    if mirror and not re.match(r"https?://[^/]", mirror):
        raise DownloadError(
            f"XAPPA_MIRROR is {mirror!r}; expected an address that begins with https:// or http://, "
            f"such as {HUB}. Unset it to use that one."
        )
    return mirror or HUB


@dataclass(frozen=True)
class Commit:
    """A state of a repository.

    Parameters
    ----------
    revision : str
        Hash of the commit, 40 hexadecimal digits.
    licence : str
        What the repository's card states, or nothing.
    """

    revision: str
    licence: str = ""


@dataclass(frozen=True)
class Hub:
    """One dataset repository.

    Parameters
    ----------
    repository : str
        ``"owner/name"``.
    session : requests.Session
    """

    repository: str
    session: requests.Session

    @property
    def base(self) -> str:
        """Address of the Hub or of a mirror, without a slash at its end."""
        return base_url()

    def commit(self, revision: str) -> Commit:
        """Commit that a branch, tag or (short) hash stands for now."""
        url = self._revision_url(revision)
        return self._commit(persistently(lambda: self._json(url), url))

    def commit_if_quick(self, revision: str, timeout: tuple[float, float] = (3.0, 5.0)) -> Commit:
        """The same with one attempt only; raises `Transient` or `DownloadError` where there is no answer."""
        return self._commit(self._json(self._revision_url(revision), timeout))

    def tree(self, revision: str) -> tuple[RemoteFile, ...]:
        """All files of a commit.

        Raises
        ------
        DownloadError
            If the answers are not a listing.
        """
        address = f"{self.base}/api/datasets/{self.repository}/tree/{quote(revision, safe='')}"
        query, seen, files = "recursive=true", set[str](), list[RemoteFile]()
        while query:
            if query in seen:
                raise DownloadError(f"{address} repeats a page of its listing. {self._expected()}")
            if len(seen) >= MOST_PAGES:
                raise DownloadError(f"{address} lists more than {MOST_PAGES} pages. {self._expected()}")
            seen.add(query)
            entries, query = self._page(f"{address}?{query}")
            files += entries
        return tuple(files)

    def url(self, revision: str, path: str) -> str:
        """Address of a file of a commit."""
        return f"{self.base}/datasets/{self.repository}/resolve/{quote(revision, safe='')}/{quote(path)}"

    def read(self, revision: str, file: RemoteFile) -> bytes:
        """Contents of a small file, checked.

        Raises
        ------
        IntegrityError
            If they are not those that the listing names.
        """
        url = self.url(revision, file.path)
        contents = persistently(lambda: answer(self.session, url), url).body
        found = difference_of(contents, file)
        if found:
            raise IntegrityError(wrong(file, found, self.base))
        return contents

    def _page(self, url: str) -> tuple[list[RemoteFile], str]:
        page = persistently(lambda: answer(self.session, url), url)
        entries = self._parsed(page)
        try:
            files = [_file(entry) for entry in entries if entry["type"] == "file"]
        except (KeyError, TypeError, ValueError) as error:
            raise DownloadError(f"{url} lists an entry that cannot be used: {error}. {self._expected()}") from error
        # The link's own host is not asked: behind a mirror, it would be the original one.
        return files, urlsplit(page.following).query

    def _json(self, url: str, timeout: tuple[float, float] = TIMEOUT) -> Any:
        return self._parsed(answer(self.session, url, timeout))

    def _parsed(self, found: Answer) -> Any:
        try:
            return json.loads(found.body)
        except (ValueError, RecursionError) as error:
            raise DownloadError(f"{found.url} answered {found.kind!r}, not JSON. {self._expected()}") from error

    def _commit(self, answer: Any) -> Commit:
        sha = answer.get("sha") if isinstance(answer, dict) else None
        if not isinstance(sha, str) or not _SHA.fullmatch(sha):
            raise DownloadError(f"{self.base} names no commit of {self.repository}: {sha!r}. {self._expected()}")
        card = answer.get("cardData")
        licence = card.get("license") if isinstance(card, dict) else None
        return Commit(sha, ", ".join(licence) if isinstance(licence, list) else str(licence or ""))

    def _revision_url(self, revision: str) -> str:
        return f"{self.base}/api/datasets/{self.repository}/revision/{quote(revision, safe='')}"

    def _expected(self) -> str:
        return (
            f"Expected the API of the Hugging Face Hub (/api/datasets/{self.repository}/...). Where a mirror has files "
            "only, put a lock file made elsewhere into the folder first: see the documentation on weights."
        )


def wrong(file: RemoteFile, found: str, base: str) -> str:
    """What a file that is not the one listed is answered with."""
    return (
        f"{file.path}: expected {file.identity}, found {found}, from {base}. It was not kept. Fetch again; where that "
        "changes nothing, something on the way (a proxy, a mirror) alters files: name another with XAPPA_MIRROR."
    )


def _file(entry: Any) -> RemoteFile:
    large = entry.get("lfs")
    # The id beside "lfs" is that of the pointer that git keeps in the file's place.
    digest = str((large or entry)["oid"]).removeprefix("sha256:")
    kind = "sha256" if len(digest) == 64 else "git"
    return RemoteFile(str(entry["path"]), (large or entry)["size"], kind, digest)


def folders(files: tuple[RemoteFile, ...]) -> Iterator[tuple[str, dict[str, RemoteFile]]]:
    """Each folder with the files in it, by name."""
    listing: dict[str, dict[str, RemoteFile]] = {}
    for file in files:
        folder, _, name = file.path.rpartition("/")
        listing.setdefault(folder, {})[name] = file
    yield from sorted(listing.items())
