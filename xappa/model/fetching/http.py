"""Requests through the client of `huggingface_hub`: bounded, repeated where a failure may pass, else explained.

That client has the user's proxies, certificates and ``HF_HUB_OFFLINE``, and takes logins neither from ``.netrc`` nor to
the server that a redirection leads to. Its methods are not used: they take answers of any size into memory, wait for as
long as a server asks, and follow links of a listing to any server, away from a mirror too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from xappa.errors import DownloadError

T = TypeVar("T")

TRIES = 5
PAUSE = 1.0  # seconds before the second attempt; doubled before each further one
LONGEST_PAUSE = 60.0
TIMEOUT = (10.0, 60.0, 60.0, 60.0)  # seconds to connect, between two packets, to send, and for a free connection
MAY_PASS = {408, 425, 429, 500, 502, 503, 504}
OUT_OF_RANGE = 416
LARGEST = 2**26  # bytes of an answer that is taken into memory: a page of a listing, a configuration

ADVICE = (
    "Check the network (proxies are taken from HTTPS_PROXY), or name another server with XAPPA_MIRROR. "
    "What has arrived is kept: the next call goes on from there."
)


class TransientError(Exception):  # noqa: N818  (never seen by users)
    """A failure that may pass; `wait` is the pause in seconds that the server asks for."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


@contextmanager
def open_url(
    url: str, headers: Mapping[str, str] | None = None, timeout: tuple[float, float, float, float] = TIMEOUT
) -> Iterator[Any]:
    """The response to one request, its body still to be read.

    Raises
    ------
    TransientError
        If another attempt may succeed; from reading the body, too.
    DownloadError
        If it cannot.
    """
    from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled
    from huggingface_hub.utils import get_session

    from xappa import __version__

    # Compressed on the way, neither sizes nor ranges would be those of the file.
    sent = {"User-Agent": f"xappa/{__version__}", "Accept-Encoding": "identity"} | dict(headers or {})
    what = "failed"
    try:
        with get_session().stream("GET", url, headers=sent, timeout=timeout, follow_redirects=True) as response:
            _check(response, url)
            what = "broke"
            yield response
    except OfflineModeIsEnabled as error:
        raise DownloadError(f"{url} is not asked: HF_HUB_OFFLINE is set. Unset it to fetch what is missing.") from error
    except HTTPError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise DownloadError(
                f"{url}: the server's certificate was not accepted ({error}). Where a proxy renews certificates, "
                "set SSL_CERT_FILE to the file of its authority."
            ) from error
        raise TransientError(f"the connection {what} ({str(error) or type(error).__name__})") from error


def read_url(url: str, timeout: tuple[float, float, float, float] = TIMEOUT) -> tuple[bytes, Any]:
    """Body, of at most `LARGEST` bytes, and response of one request; see `open_url`."""
    found = bytearray()
    with open_url(url, timeout=timeout) as response:
        for piece in response.iter_bytes():
            found += piece
            if len(found) > LARGEST:
                raise DownloadError(f"{url} answers with more than {LARGEST} bytes, which is refused. {ADVICE}")
    return bytes(found), response


def retry_transient(action: Callable[[], T], url: str, progress: Callable[[], int] = lambda: 0) -> T:
    """Result of `action`, repeated while it raises `TransientError`.

    Attempts after which `progress` is further than ever before are not counted; `url` is for the message.

    Raises
    ------
    DownloadError
        After `TRIES` attempts in a row that came no further.
    """
    tries, best = 0, progress()
    while True:
        try:
            return action()
        except TransientError as failure:
            tries, best = (1, progress()) if progress() > best else (tries + 1, best)
            if tries >= TRIES:
                raise DownloadError(f"{url}: {failure} ({tries} attempts in a row). {ADVICE}") from failure
            pause = PAUSE * 2 ** (tries - 1) if failure.wait is None else failure.wait
            time.sleep(min(pause, LONGEST_PAUSE))


def _check(response: Any, url: str) -> None:
    status, said = response.status_code, response.headers.get("X-Error-Message", "")
    text = f"the server answered {status} {response.reason_phrase}" + (f" ({said})" if said else "")
    if status in MAY_PASS:
        seconds = response.headers.get("Retry-After", "")
        raise TransientError(text, float(seconds) if seconds.isdigit() else None)
    if status >= 400 and status != OUT_OF_RANGE:
        raise DownloadError(f"{url}: {text}. {_REMEDIES.get(status, ADVICE)}")


_LOGIN = "The repository, or a proxy on the way, wants to know who asks; xappa sends no credentials."
_REMEDIES = {
    401: _LOGIN,
    403: _LOGIN,
    404: "Neither this file nor its revision is there (any more). Is the revision right, and is XAPPA_MIRROR, "
    "where it is set, a complete mirror?",
}
