"""Queries of the Hugging Face Hub on a dataset repository: the commit of a revision, the files of a commit.

References
----------
Hub API endpoints: https://huggingface.co/docs/hub/api. A listing comes in pages; the header ``Link`` of each names the
next one (RFC 8288).
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from xappa.errors import DownloadError, IntegrityError
from xappa.model.fetching.http import TIMEOUT, read_url, retry_transient
from xappa.model.fetching.identity import RemoteFile, describe_difference

HUB = "https://huggingface.co"
QUICK = (3.0, 5.0, 5.0, 5.0)  # seconds, where no answer is no failure
MOST_PAGES = 1000  # of a listing, beyond which it is none of a model's repository


def get_base_url() -> str:
    """Address of the Hub, or of the mirror that ``XAPPA_MIRROR`` names, without a slash at its end.

    Raises
    ------
    DownloadError
        If ``XAPPA_MIRROR`` is no address.
    """
    mirror = os.environ.get("XAPPA_MIRROR", "").strip().rstrip("/")
    try:
        parts = urlsplit(mirror or HUB)
        right = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:  # brackets that do not match, a port that is no number
        right = False
    if not right:
        raise DownloadError(
            f"XAPPA_MIRROR is {mirror!r}; expected an address that begins with https:// or http://, "
            f"such as {HUB}. Unset it to use that one."
        )
    return mirror or HUB


@dataclass(frozen=True)
class Hub:
    """The dataset repository ``"owner/name"``."""

    repository: str

    def resolve_commit(self, revision: str, persistent: bool = True) -> tuple[str, str]:
        """Hash of the commit that a branch, tag or (short) hash stands for now, and the licence that its card states.

        Not `persistent`, it is asked once and shortly: then `TransientError` is raised where there is no answer.
        """
        url = f"{self._api}/revision/{quote(revision, safe='')}"
        found = (retry_transient(lambda: self._get_json(url), url) if persistent else self._get_json(url, QUICK))[0]
        sha = found.get("sha") if isinstance(found, dict) else None
        if not isinstance(sha, str) or not re.fullmatch("[0-9a-f]{40}", sha):
            raise DownloadError(f"{url} names no commit: {sha!r}. {self._expected}")
        card = found.get("cardData")
        licence = card.get("license") if isinstance(card, dict) else None
        return sha, ", ".join(map(str, licence)) if isinstance(licence, list) else str(licence or "")

    def list_files(self, revision: str) -> tuple[RemoteFile, ...]:
        """All files of a commit.

        Raises
        ------
        DownloadError
            If the answers are not a listing.
        """
        address, query = f"{self._api}/tree/{quote(revision, safe='')}", "recursive=true"
        seen, files = set[str](), list[RemoteFile]()
        while query:
            if query in seen or len(seen) >= MOST_PAGES:
                fault = "repeats a page of its listing" if query in seen else f"lists more than {MOST_PAGES} pages"
                raise DownloadError(f"{address} {fault}. {self._expected}")
            seen.add(query)
            url = f"{address}?{query}"
            entries, following = retry_transient(lambda url=url: self._get_json(url), url)  # type: ignore[misc]
            files += self._parse_entries(entries, url)
            # The link's own host is not asked: behind a mirror, it would be the original one.
            query = urlsplit(following).query
        return tuple(files)

    def make_url(self, revision: str, path: str) -> str:
        """Address of a file of a commit."""
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self.repository, path, repo_type="dataset", revision=revision, endpoint=get_base_url())

    def read_file(self, revision: str, file: RemoteFile) -> bytes:
        """Contents of a small file, checked."""
        url = self.make_url(revision, file.path)
        contents, _ = retry_transient(lambda: read_url(url), url)
        if found := describe_difference(contents, file):
            raise make_integrity_error(file, found, url)
        return contents

    @property
    def _api(self) -> str:
        return f"{get_base_url()}/api/datasets/{self.repository}"

    @property
    def _expected(self) -> str:
        return (
            f"Expected the API of the Hugging Face Hub (/api/datasets/{self.repository}/...). Where a mirror has files "
            "only, put a lock file made elsewhere into the folder first: see the documentation on weights."
        )

    def _get_json(self, url: str, timeout: tuple[float, float, float, float] = TIMEOUT) -> tuple[Any, str]:
        """Answer, and the address of the next page if there is one."""
        body, response = read_url(url, timeout)
        try:
            return json.loads(body), response.links.get("next", {}).get("url", "")
        except (ValueError, RecursionError) as error:
            kind = response.headers.get("Content-Type", "something")
            raise DownloadError(f"{url} answered {kind!r}, not JSON. {self._expected}") from error

    def _parse_entries(self, entries: Any, url: str) -> list[RemoteFile]:
        from huggingface_hub.hf_api import RepoFile

        try:
            listed = [RepoFile(**entry) for entry in entries if entry["type"] == "file"]
            # The id beside "lfs" is that of the pointer that git keeps in the file's place.
            return [
                RemoteFile(f.path, f.lfs.size, "sha256", f.lfs.sha256) if f.lfs else
                RemoteFile(f.path, f.size, "git", f.blob_id)
                for f in listed
            ]  # fmt: skip
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DownloadError(f"{url} lists an entry that cannot be used: {error}. {self._expected}") from error


def make_integrity_error(file: RemoteFile, found: str, url: str) -> IntegrityError:
    """Error for a file that is not the one listed."""
    return IntegrityError(
        f"{file.path}: expected {file.identity}, found {found}, from {url}. It was not kept. Fetch again; where that "
        "changes nothing, something on the way (a proxy, a mirror) alters files: name another with XAPPA_MIRROR."
    )
