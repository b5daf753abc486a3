"""uvicorn's HTTP protocol with what it leaves to a proxy: time and size of headers, number of clients, our envelope.

Without these a client that sends a header a minute (slowloris), a header without end, or nothing at all holds a
connection for as long as it likes.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from clip_core.errors import (
    ClipServeError,
    HeadersTooLarge,
    MethodNotAllowed,
    TooLarge,
    TooSlow,
    Unavailable,
)
from gateway.connections.connection_limit import ConnectionLimit, network_of
from gateway.connections.lingering_close import LingeringProtocol
from gateway.connections.raw_answer import not_http, raw_answer
from gateway.connections.request_head import check_transfer, head_without_upgrade, origin_form, size_of

_FRAMING = 32  # what a header, a chunk or a request line takes besides its content; RFC 7541 counts headers so
_MAX_PIPELINED = 64
_SMALL_HEAD = 4096  # bytes, not worth a closer look


class GuardedProtocol(LingeringProtocol):
    """Use a subclass that `guarded` makes; uvicorn makes one object of it for each connection."""

    header_timeout_s: ClassVar[float] = 10.0
    max_header_bytes: ClassVar[int] = 64 * 1024
    connection_limit: ClassVar[ConnectionLimit] = ConnectionLimit(1024)

    _header_timer: asyncio.TimerHandle | None = None
    _unexplained = 0  # bytes that came and belong neither to a finished head nor to a body
    _deaf = False
    _running: RequestResponseCycle
    address = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _OneAtATime(transport, self)
        self.address = network_of(self.client[0]) if self.client else ""
        if self.connection_limit.admit(self, self.loop.time()):
            self._expect_headers()
        else:
            self._refuse(Unavailable("this gateway has as many connections as it may have; try again in a moment"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self.connection_limit.left(self)
        super().connection_lost(exc)

    def parse(self, data: bytes) -> None:
        if self._deaf:
            return
        self.connection_limit.works(self)
        self._unset_keepalive_if_required()
        if not self._in_body and (self.cycle is None or self.cycle.response_complete):
            self._expect_headers()
        self._unexplained += len(data)
        self._feed(data)
        if self._unexplained < 0:
            self._unexplained = 0
        pending = _FRAMING * len(self.headers or ())
        if self._unexplained + pending > self.max_header_bytes and not self._deaf:
            self._break_off(self._too_large(), own=not self._in_head)
        self._report_wait()

    @property
    def _in_head(self) -> bool:
        """Of a request whose headers are not complete."""
        return self.scope is not None and "method" not in self.scope

    def _feed(self, data: bytes) -> None:
        offered = None
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            offered = data[offer.args[0] :]
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._break_off(cause if isinstance(cause, ClipServeError) else not_http(data), own=self._in_body)
        if offered is not None:  # an error inside `except` would lose its cause
            self._decline(offered)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # parsed again by `_decline`
        self._stop_timer()
        self._count_head()
        if len(self.pipeline) >= _MAX_PIPELINED:
            raise TooLarge(f"more than {_MAX_PIPELINED} requests wait on one connection")
        check_transfer(self.headers)
        if self.url[:1] != b"/":
            self.url = origin_form(self.url, self.headers)
        super().on_headers_complete()
        self.headers = []  # for trailers, which are no headers

    def _count_head(self) -> None:
        if self._unexplained < _SMALL_HEAD:
            self._unexplained = 0
            return
        size = size_of(self.url, self.headers, _FRAMING)
        self._unexplained -= size
        if size > self.max_header_bytes:
            raise self._too_large()

    def on_chunk_header(self) -> None:
        self._unexplained -= _FRAMING

    def on_body(self, body: bytes) -> None:
        self._unexplained -= len(body)
        super().on_body(body)

    def rest(self) -> None:
        self._unexplained = 0
        if self._in_head:
            self._expect_headers()
            self._report_wait()
        else:
            self.connection_limit.rests(self, self.loop.time())

    def wants_more(self) -> bool:
        """Whether what comes now is read."""
        return self._leaving or not (self._deaf or self.pipeline)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body:
            self._report_wait()

    def leave(self, unread: bool = False) -> None:
        super().leave(unread or self._deaf)
        self.connection_limit.leaves(self, self.loop.time())

    def make_room(self) -> None:
        if self._in_body or self._in_head:
            self._break_off(
                TooSlow("the gateway is full, and this request was not sent to its end; send it again"), True
            )
        else:
            self.leave()

    def abort(self) -> None:
        self.transport.abort()

    def _report_wait(self) -> None:
        """Of a request that is not whole."""
        if self._in_body and not self.pipeline:
            self.connection_limit.awaits_body(self, self.loop.time())
        elif self._header_timer is not None:
            self.connection_limit.awaits_head(self, self.loop.time())

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def timeout_keep_alive_handler(self) -> None:
        """A peer that does not read its last answer is not waited for either."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(self.linger_s, self.transport.abort)

    def _decline(self, rest: bytes) -> None:
        """Ignore an offer to change the protocol (RFC 9110, 7.8): the request is parsed again without it."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._break_off(MethodNotAllowed("this is no proxy: CONNECT is not possible"), own=False)
            return
        head = head_without_upgrade(method, self.url, self.parser.get_http_version(), self.headers)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._unexplained = len(head) + len(rest)
        self._feed(head + rest)

    def _break_off(self, error: ClipServeError, own: bool) -> None:
        """What has come cannot be parsed any further; `own`: by the fault of the latest request that was begun.

        Requests before it are answered, and in their order.
        """
        if self.cycle is None or self.cycle.response_complete:
            self._refuse(error)
        elif self.pipeline or not own:
            self._end_before(own)
        elif self._running.response_started:
            self.transport.abort()
        else:
            self._running.disconnected = True
            self._running.message_event.set()
            self._refuse(error)

    def _end_before(self, own: bool) -> None:
        """The connection ends with the answer to the last good request."""
        self._deaf = True
        self.flow.pause_reading()
        if own:
            self.pipeline.popleft()
            self._in_body = False
        last = self.pipeline[0][0] if self.pipeline else self._running
        last.keep_alive = False

    def _refuse(self, error: ClipServeError) -> None:
        """Answers where no request has begun, or one that is not read to its end; and leaves."""
        self._stop_timer()
        if self._leaving or self.transport.is_closing():
            return
        if not (self._in_body and self.cycle is not None and self.cycle.response_complete):
            self.transport.write(raw_answer(error))
        self.leave(unread=True)

    def _too_large(self) -> HeadersTooLarge:
        return HeadersTooLarge(f"the request's headers are larger than {self.max_header_bytes} bytes")

    def _expect_headers(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(self.header_timeout_s, self._too_slow)

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _too_slow(self) -> None:
        self._refuse(TooSlow("the headers of the request did not come in time"))


class _OneAtATime(FlowControl):
    """Nothing is read while a request waits for the one before it, or when none will be taken any more."""

    def __init__(self, transport: asyncio.Transport, protocol: GuardedProtocol) -> None:
        super().__init__(transport)
        self._protocol = protocol

    def resume_reading(self) -> None:
        if self._protocol.wants_more():
            super().resume_reading()


def guarded(read_timeout_s: float, max_clients: int) -> type[GuardedProtocol]:
    """The class for `uvicorn.Config(http=…)`."""
    timeouts = {"header_timeout_s": read_timeout_s, "linger_s": read_timeout_s}
    return type("GuardedProtocol", (GuardedProtocol,), {**timeouts, "connection_limit": ConnectionLimit(max_clients)})
