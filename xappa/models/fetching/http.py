"""Requests that are repeated where the failure may pass, and explained where it does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import requests
from requests.auth import HTTPBasicAuth
from requests.utils import get_auth_from_url

from xappa.errors import DownloadError

T = TypeVar("T")

TRIES = 5
PAUSE = 1.0  # seconds before the second attempt; doubled before each further one
LONGEST_PAUSE = 60.0
TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two packets
MAY_PASS = {408, 425, 429, 500, 502, 503, 504}
OUT_OF_RANGE = 416
LARGEST = 2**26
"""Bytes of an answer that is taken into memory: a page of a listing, a configuration."""

ADVICE = (
    "Check the network (proxies are taken from HTTPS_PROXY), or name another server with XAPPA_MIRROR. "
    "What has arrived is kept: the next call goes on from there."
)


class Transient(Exception):  # noqa: N818  (never seen by users)
    """A failure that may pass; `wait` is the pause in seconds that the server asks for."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class _Session(requests.Session):
    """Takes proxies from the environment, but no logins from ``.netrc``, for redirections neither."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Add nothing; a login in an address goes no further than that address."""
        prepared_request.headers.pop("Authorization", None)


def _login_of_address(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Login that an address itself holds (``https://name:password@server``), and no other."""
    name, password = get_auth_from_url(str(request.url))
    return HTTPBasicAuth(name, password)(request) if name or password else request


def new_session() -> requests.Session:
    """A session that says who asks, and asks for bytes as they are stored.

    Compressed on the way, neither sizes nor ranges would be those of the file. Logins of ``.netrc`` are not sent.
    """
    from xappa import __version__

    session = _Session()
    session.auth = _login_of_address  # without one, requests looks into .netrc
    session.headers.update({"User-Agent": f"xappa/{__version__}", "Accept-Encoding": "identity"})
    return session


def get(
    session: requests.Session,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    stream: bool = False,
    timeout: tuple[float, float] = TIMEOUT,
) -> requests.Response:
    """One request.

    Raises
    ------
    Transient
        If another attempt may succeed.
    DownloadError
        If it cannot.
    """
    try:
        response = session.get(url, headers=headers, stream=stream, timeout=timeout)
    except requests.exceptions.SSLError as error:
        raise DownloadError(
            f"{url}: the server's certificate was not accepted ({error}). Where a proxy renews certificates, "
            "set REQUESTS_CA_BUNDLE to the file of its authority."
        ) from error
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        raise Transient(_cause(error)) from error
    except requests.RequestException as error:
        raise DownloadError(f"{url} cannot be requested: {error}. Is XAPPA_MIRROR an address?") from error
    if response.status_code in MAY_PASS:
        response.close()
        raise Transient(f"the server answered {_status(response)}", _asked_pause(response))
    if response.status_code >= 400 and response.status_code != OUT_OF_RANGE:
        response.close()
        raise DownloadError(f"{url}: the server answered {_status(response)}. {_remedy(response.status_code)}")
    return response


@dataclass(frozen=True)
class Answer:
    """What a server answered: the whole body, its kind, and the address of the next page (if there is one)."""

    url: str
    body: bytes
    kind: str
    following: str


def answer(session: requests.Session, url: str, timeout: tuple[float, float] = TIMEOUT) -> Answer:
    """One request whose answer is taken into memory, up to `LARGEST` bytes.

    Raises
    ------
    Transient
        If another attempt may succeed.
    DownloadError
        If it cannot, or the answer is larger.
    """
    with get(session, url, stream=True, timeout=timeout) as response:
        found = bytearray()
        try:
            for piece in response.iter_content(2**16):
                found += piece
                if len(found) > LARGEST:
                    raise DownloadError(f"{url} answers with more than {LARGEST} bytes, which is refused. {ADVICE}")
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            raise Transient(_cause(error)) from error
    following = response.links.get("next", {}).get("url", "")
    return Answer(response.url, bytes(found), response.headers.get("Content-Type", "something"), following)


def persistently(action: Callable[[], T], url: str, progress: Callable[[], int] = lambda: 0) -> T:
    """Result of `action`, repeated while its failure may pass.

    Parameters
    ----------
    action : callable
        Raises `Transient` where another attempt may succeed.
    url : str
        For the message.
    progress : callable
        How far it is; attempts that come further than any before are not counted.

    Raises
    ------
    DownloadError
        After `TRIES` attempts in a row that came no further.
    """
    tries, best = 0, progress()
    while True:
        try:
            return action()
        except Transient as failure:
            tries, best = (1, progress()) if progress() > best else (tries + 1, best)
            if tries >= TRIES:
                raise DownloadError(f"{url}: {failure} ({tries} attempts in a row). {ADVICE}") from failure
            pause = PAUSE * 2 ** (tries - 1) if failure.wait is None else failure.wait
            time.sleep(min(pause, LONGEST_PAUSE))


def _cause(error: requests.RequestException) -> str:
    kind = "no answer in time" if isinstance(error, requests.Timeout) else "the connection failed"
    return f"{kind} ({error})"


def _status(response: requests.Response) -> str:
    said = response.headers.get("X-Error-Message", "")
    return f"{response.status_code} {response.reason}" + (f" ({said})" if said else "")


def _asked_pause(response: requests.Response) -> float | None:
    seconds = response.headers.get("Retry-After", "")
    return float(seconds) if seconds.isdigit() else None


def _remedy(status: int) -> str:
    if status in (401, 403):
        return "The repository, or a proxy on the way, wants to know who asks; xappa sends no credentials."
    if status == 404:
        return (
            "Neither this file nor its revision is there (any more). Is the revision right, and is XAPPA_MIRROR, "
            "where it is set, a complete mirror?"
        )
    return ADVICE
