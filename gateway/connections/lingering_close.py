"""Closing a connection without a reset: a client that still sends would lose the answer to it.

A client that writes its whole body before it reads (urllib, requests) gets the answer to a refused body only if the
rest of that body is read. It is read and thrown away, up to a time and a number of bytes (nginx: `lingering_close`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MB = 1024 * 1024


class LingeringProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which leaves a connection by `leave`."""

    linger_s: ClassVar[float] = 10.0
    linger_bytes: ClassVar[int] = 256 * MB

    _in_body = False  # the head of a request was parsed, its body has not ended
    _leaving = False
    _drained = 0
    _drain_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._exit = cast(asyncio.Transport, _Exit(transport, self.leave))

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_draining()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._drain_timer is not None:
            self._drained += len(data)
            if self._drained > self.linger_bytes:
                self.transport.abort()
        if not self._leaving and not self.transport.is_closing():
            self.parse(data)

    def parse(self, data: bytes) -> None:
        """Feed the parser."""
        super().data_received(data)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._in_body = True
        self.cycle.transport = self._exit

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # it had no body, and no cycle was begun for it
        self._in_body = False
        super().on_message_complete()
        if self._drain_timer is not None:
            self._stop_draining()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
            self.rest()

    def on_response_complete(self) -> None:
        if self._leaving:
            return
        super().on_response_complete()
        if not self.cycle.response_complete or self.transport.is_closing():
            return
        if self._in_body:
            self._answered_early()
        else:
            self.rest()

    def rest(self) -> None:
        """No request is under way."""

    def leave(self, unread: bool = False) -> None:
        """Close once what was written is sent. `unread`: the client may still be sending."""
        if self._leaving or self.transport.is_closing():
            return
        if not unread and not self._in_body:
            self.transport.close()
            self.loop.call_later(self.linger_s, self.transport.abort)
            return
        self._leaving = True
        self.pipeline.clear()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._drain(self.transport.abort)

    def _answered_early(self) -> None:
        """The connection goes on if the rest of the body comes soon; a client that waits for 100 sends none."""
        self._unset_keepalive_if_required()
        if self.expect_100_continue:
            self.leave()
        else:
            self._drain(self.transport.close)

    def _drain(self, at_last: Callable[[], None]) -> None:
        self._stop_draining()
        self._drained = 0
        self._drain_timer = self.loop.call_later(self.linger_s, at_last)

    def _stop_draining(self) -> None:
        if self._drain_timer is not None:
            self._drain_timer.cancel()
            self._drain_timer = None


class _Exit:
    """The transport as uvicorn's request cycle sees it: closing it means to leave."""

    def __init__(self, transport: asyncio.Transport, leave: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = leave
