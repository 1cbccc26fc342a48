"""Requests carry no login from ``.netrc``; one in an address goes to that address alone."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from xappa.errors import DownloadError
from xappa.models.fetching import http


class Server(ThreadingHTTPServer):
    """Answers /there with 200, /moved by sending on to /there under another name, and keeps the logins."""

    def __init__(self) -> None:
        self.logins: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # noqa: N802
                server.logins.append(self.headers.get("Authorization"))
                self.send_response({"/there": 200, "/moved": 302}.get(self.path, 401))
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
    running = Server()
    threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
    yield running
    running.shutdown()


@pytest.mark.parametrize("path", ["there", "moved"])
def test_logins_of_netrc_are_not_sent(server: Server, path: str) -> None:
    http.get(http.new_session(), f"http://127.0.0.1:{server.server_port}/{path}")
    assert set(server.logins) == {None}


def test_nor_where_one_is_asked_for(server: Server) -> None:
    with pytest.raises(DownloadError, match="401.*xappa sends no credentials"):
        http.get(http.new_session(), f"http://127.0.0.1:{server.server_port}/other")
    assert server.logins == [None]


def test_a_login_of_the_address_goes_to_that_address_alone(server: Server) -> None:
    http.get(http.new_session(), f"http://c:d@127.0.0.1:{server.server_port}/moved")
    assert server.logins == [f"Basic {base64.b64encode(b'c:d').decode()}", None]


def test_proxies_of_the_environment_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    found = http.new_session().merge_environment_settings("https://example.org", {}, None, None, None)
    assert found["proxies"]["https"] == "http://127.0.0.1:9"
