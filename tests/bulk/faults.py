"""An S3 server that fails as real ones do, in front of one that works."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

Fault = Callable[[str, int], str]  # (path, how often it was asked for before) → "", "half", or one of `_ANSWERS`
_ANSWERS = {"503": (503, ""), "expired": (400, "ExpiredToken"), "denied": (403, "AccessDenied")}


@contextmanager
def in_front_of(target: str, fault: Fault) -> Iterator[str]:
    """The address of a server that gives what `target` gives, but for what `fault` says of a GET."""
    asked: dict[str, int] = {}

    class Between(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path.partition("?")[0]
            how = fault(name, asked.get(name, 0))
            asked[name] = asked.get(name, 0) + 1
            if how in _ANSWERS:
                status, code = _ANSWERS[how]
                self._answer(status, {}, f"<Error><Code>{code}</Code></Error>".encode() if code else b"")
            else:
                self._pass_on(half=how == "half")

        def do_HEAD(self) -> None:
            self._pass_on()

        do_PUT = do_POST = do_DELETE = do_HEAD

        def _pass_on(self, half: bool = False) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else None
            headers = {name: value for name, value in self.headers.items() if name not in ("Host", "Expect")}
            asks = Request(target + self.path, body, headers, method=self.command)
            try:
                with urlopen(asks) as answer:
                    status, told, content = answer.status, dict(answer.headers), answer.read()
            except HTTPError as error:
                status, told, content = error.code, dict(error.headers), error.read()
            self._answer(status, told, content[: len(content) // 2] if half else content)

        def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                    self.send_header(name, value)
            size = headers.get("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", size or str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Silent."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Between) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
