"""A small Hugging Face Hub on this machine: the API's answers, files, and faults on request."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

REPOSITORY = "montefiore-sail/appa"
LARGE = (".pth", ".h5")  # as Git LFS has them


def sha(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


@dataclass
class Fault:
    """What happens to requests whose path contains a text, as often as `times` says."""

    text: str
    kind: str
    times: int = 10**9
    value: int = 0


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that are gone are no news."""


@dataclass
class FakeHub:
    """Commits of files, the branch that leads to one, and what was asked.

    Faults: ``status`` (answers `value`), ``short`` (ends after 60 % of what it announced), ``reset`` (the same, and the
    connection is reset), ``truncate`` (has `value` bytes less), ``bytes`` (changes the last byte), ``tag`` (another
    entity tag), ``norange``, ``html``, ``hold`` (after 60 %, until the gate opens).
    """

    commits: dict[str, dict[str, bytes]]
    branches: dict[str, str]
    page: int = 7
    licence: str | None = None
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)
    gate: threading.Event = field(default_factory=threading.Event)
    server: ThreadingHTTPServer | None = None

    def start(self) -> FakeHub:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:  # noqa: N802
                if hub.server is None:  # connections that clients keep end with it
                    self.close_connection = True
                else:
                    hub.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self.server = _Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        self.gate.set()
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    @property
    def url(self) -> str:
        assert self.server
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def paths(self) -> list[str]:
        return [unquote(path) for path, _ in self.requests]

    def asked(self, text: str) -> list[dict[str, str]]:
        """Headers of the requests whose path contains a text."""
        return [headers for path, headers in self.requests if text in unquote(path)]

    def fault(self, path: str, *kinds: str) -> Fault | None:
        for fault in self.faults:
            if fault.kind in kinds and fault.text in path and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        path = unquote(parts.path)
        self.requests.append((request.path, dict(request.headers)))
        status = self.fault(path, "status")
        if status:
            return self.send(request, status.value, b"no", {"Content-Type": "text/plain"})
        if self.fault(path, "html"):
            return self.send(request, 200, b"<html>welcome</html>", {"Content-Type": "text/html"})
        found = re.fullmatch(rf"/api/datasets/{REPOSITORY}/(revision|tree)/([^/]+)", path)
        if found:
            return self.api(request, found[1], found[2], parse_qs(parts.query))
        found = re.fullmatch(rf"/datasets/{REPOSITORY}/resolve/([^/]+)/(.+)", path)
        contents = self.commits.get(found[1], {}).get(found[2]) if found else None
        if contents is None:
            return self.send(request, 404, b"Entry not found", {"X-Error-Message": "Entry not found"})
        assert found
        self.file(request, found[2], contents)

    def api(self, request: BaseHTTPRequestHandler, what: str, revision: str, query: dict[str, list[str]]) -> None:
        fitting = {commit for commit in self.commits if len(revision) >= 7 and commit.startswith(revision)}
        commit = self.branches.get(revision) or (fitting.pop() if fitting else None)
        if commit is None:
            return self.send(request, 404, b"{}", {"X-Error-Message": "Invalid rev id"})
        if what == "revision":
            card = {"cardData": {"license": self.licence}} if self.licence else {}
            return self.send(request, 200, json.dumps({"id": REPOSITORY, "sha": commit, **card}).encode(), {})
        assert query["recursive"] == ["true"]
        entries = [*self.entries(commit)]
        start = int(query.get("cursor", ["0"])[0])
        headers = {}
        if start + self.page < len(entries):
            # As behind a mirror: the link names the original host.
            link = f"https://original.invalid{urlsplit(request.path).path}?recursive=true&cursor={start + self.page}"
            headers["Link"] = f'<{link}>; rel="next"'
        self.send(request, 200, json.dumps(entries[start : start + self.page]).encode(), headers)

    def entries(self, commit: str) -> list[dict[str, object]]:
        entries: list[dict[str, object]] = []
        files = self.commits[commit]
        for folder in sorted({str(p) for path in files for p in Path(path).parents} - {"."}):
            entries.append({"type": "directory", "oid": sha(folder), "size": 0, "path": folder})
        for path, contents in files.items():
            blob = hashlib.sha1(b"blob %d\0" % len(contents) + contents).hexdigest()
            entry: dict[str, object] = {"type": "file", "oid": blob, "size": len(contents), "path": path}
            if path.endswith(LARGE):
                digest = hashlib.sha256(contents).hexdigest()
                pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(contents)}\n"
                entry["oid"] = sha(pointer)
                entry["lfs"] = {"oid": digest, "size": len(contents), "pointerSize": len(pointer)}
            entries.append(entry)
        return entries

    def file(self, request: BaseHTTPRequestHandler, path: str, contents: bytes) -> None:
        tag = f'"{hashlib.md5(contents).hexdigest()}{len(self.requests) if self.fault(path, "tag") else ""}"'
        wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        same = request.headers.get("If-Range", tag) == tag
        if self.fault(path, "bytes"):
            contents = contents[:-1] + bytes([contents[-1] ^ 1])
        fault = self.fault(path, "truncate")
        if fault:
            contents = contents[: -fault.value]
        headers = {"ETag": tag, "Accept-Ranges": "bytes"}
        status, body = 200, contents
        if wanted and same and not self.fault(path, "norange"):
            start = int(wanted[1])
            if start >= len(contents):
                return self.send(request, 416, b"", {"Content-Range": f"bytes */{len(contents)}"})
            status, body = 206, contents[start:]
            headers["Content-Range"] = f"bytes {start}-{len(contents) - 1}/{len(contents)}"
        self.send(request, status, body, headers, path)

    def send(
        self, request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str], path: str = ""
    ) -> None:
        fault = self.fault(path, "short", "reset", "hold") if path else None
        length = len(body)
        if fault and fault.kind != "hold":
            body = body[: int(0.6 * length)]
        try:
            request.send_response(status)
            for name, value in headers.items():
                request.send_header(name, value)
            request.send_header("Content-Length", str(length))
            request.end_headers()
            for start in range(0, len(body), 2**16):
                piece = body[start : start + 2**16]
                request.wfile.write(piece)
                self.sent[path] += len(piece)
                if fault and fault.kind == "hold" and start + len(piece) >= 0.6 * length:
                    self.gate.wait(60)
        except OSError:
            request.close_connection = True
            return
        if len(body) < length:
            request.close_connection = True
            if fault and fault.kind == "reset":
                threading.Event().wait(0.05)  # what was sent may arrive
                request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                request.connection.shutdown(socket.SHUT_RD)
                request.connection.close()
