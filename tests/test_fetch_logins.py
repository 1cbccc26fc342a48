"""Requests carry no login from ``.netrc`` nor the user's token; one in an address goes to that address alone."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from huggingface_hub.errors import HTTPError
from huggingface_hub.utils import close_session, get_session

from xappa.errors import DownloadError
from xappa.model.fetching import http


class Server(ThreadingHTTPServer):
    """Answers /there with 200, /moved by sending on to /there under another name; keeps logins and addresses."""

    def __init__(self) -> None:
        self.logins: list[str | None] = []
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # noqa: N802
                server.logins.append(self.headers.get("Authorization"))
                server.asked.append(self.path)
                self.send_response({"/there": 200, "/moved": 302}.get(urlsplit(self.path).path, 401))
                if self.path == "/moved":
                    self.send_header("Location", f"http://localhost:{server.server_port}/there")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    netrc = tmp_path / "netrc"
    netrc.write_text("".join(f"machine {host} login a password b\n" for host in ("127.0.0.1", "localhost")))
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    running = Server()
    threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
    close_session()  # clients of the environment as it is now
    yield running
    close_session()
    running.shutdown()
    running.server_close()


@pytest.mark.parametrize("path", ["there", "moved"])
def test_no_login_is_sent(server: Server, path: str) -> None:
    http.read_url(f"http://127.0.0.1:{server.server_port}/{path}")
    assert set(server.logins) == {None}


def test_nor_where_one_is_asked_for(server: Server) -> None:
    with pytest.raises(DownloadError, match="401.*xappa sends no credentials"):
        http.read_url(f"http://127.0.0.1:{server.server_port}/other")
    assert server.logins == [None]


def test_a_login_of_the_address_goes_to_that_address_alone(server: Server) -> None:
    http.read_url(f"http://c:d@127.0.0.1:{server.server_port}/moved")
    assert server.logins == [f"Basic {base64.b64encode(b'c:d').decode()}", None]


def test_proxies_of_the_environment_are_kept(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.server_port}")
    http.read_url("http://hub.invalid/there")
    assert server.asked == ["http://hub.invalid/there"]


def test_a_certificate_that_is_not_accepted_is_no_passing_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def stream(*_: object, **__: object) -> None:
        raise HTTPError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate")

    monkeypatch.setattr(get_session(), "stream", stream)
    with pytest.raises(DownloadError, match="certificate was not accepted.*SSL_CERT_FILE"):
        http.read_url("https://hub.invalid/")
    close_session()


def test_where_the_hub_is_not_to_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE is set"):
        http.read_url("http://hub.invalid/")
