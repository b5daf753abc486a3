"""uvicorn's HTTP protocol with what it leaves to a proxy: time and size of headers, number of clients, our envelope.

Without these a client that sends a header a minute (slowloris), a header without end, or nothing at all holds a
connection for as long as it likes.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from clip_core.errors import ClipServeError, InvalidRequest, TooLarge, TooSlow

_REASONS = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}
_LINGER_S = 10.0


class GuardedProtocol(HttpToolsProtocol):
    """Use a subclass that `guarded` makes; uvicorn makes one object of it for each connection."""

    header_timeout_s: ClassVar[float] = 10.0
    max_header_bytes: ClassVar[int] = 64 * 1024
    max_clients: ClassVar[int] = 1024

    _header_timer: asyncio.TimerHandle | None = None
    _header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.max_clients:
            transport.abort()
            return
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self._expect_headers()
            self._header_bytes += len(data)
        super().data_received(data)
        if self._header_timer is not None and self._header_bytes > self.max_header_bytes:
            self._refuse(TooLarge(f"the request's headers are larger than {self.max_header_bytes} bytes"), 431)

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self._header_bytes = 0
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(InvalidRequest(msg))

    def timeout_keep_alive_handler(self) -> None:
        """A peer that does not read its last answer is not waited for either."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(_LINGER_S, self.transport.abort)

    def _expect_headers(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(self.header_timeout_s, self._too_slow)

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _too_slow(self) -> None:
        self._refuse(TooSlow("the headers of the request did not come in time"))

    def _refuse(self, error: ClipServeError, status: int | None = None) -> None:
        """Answers where no request has begun, and closes."""
        self._stop_timer()
        if self.transport.is_closing():
            return
        status, body = status or error.status, orjson.dumps(error.to_dict())
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()
        self.loop.call_later(_LINGER_S, self.transport.abort)


def guarded(header_timeout_s: float, max_clients: int) -> type[GuardedProtocol]:
    """The class for `uvicorn.Config(http=…)`."""
    limits = {"header_timeout_s": header_timeout_s, "max_clients": max_clients}
    return type("GuardedProtocol", (GuardedProtocol,), limits)
