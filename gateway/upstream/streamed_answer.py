"""An answer that comes piece by piece, over a connection of its own. The connection ends with it: so a neighbour sees
that nobody waits for the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httptools

_End = Exception | None  # None: the answer is whole
_MOST_WAITING = 64 * 1024  # bytes that nobody has asked for yet


class Broken(OSError):
    """The connection ended, or spoke no HTTP, before the answer was whole."""


class StreamedAnswer(asyncio.Protocol):
    """To be closed. `ask` sends the request; then `status` is known, and `piece` gives the body."""

    def __init__(self) -> None:
        self.status = 0
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._news = asyncio.Event()
        self._ended = False
        self._why: _End = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self._end(Broken(f"the connection was closed: {error!r}" if error else "the connection was closed"))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(Broken(f"the answer is not HTTP: {error!r}"))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200:  # else 100 Continue or 103 Early Hints: the answer follows
            self.status = status
            self._news.set()

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._waiting += len(piece)
        if self._waiting > _MOST_WAITING and self._transport is not None:
            self._transport.pause_reading()
        self._news.set()

    def on_message_complete(self) -> None:
        if self.status:
            self._end(None)

    async def ask(self, head: bytes, body: bytes, timeout_s: float) -> None:
        """Until the status is known. Raises Broken or asyncio.TimeoutError."""
        assert self._transport is not None
        self._transport.writelines((head, body))
        await self._until(lambda: bool(self.status), timeout_s)

    async def piece(self, timeout_s: float) -> bytes:
        """What has come since; empty at the end. Raises Broken or asyncio.TimeoutError."""
        await self._until(lambda: bool(self._pieces), timeout_s)
        found, self._pieces, self._waiting = b"".join(self._pieces), [], 0
        if self._transport is not None and not self._ended:
            self._transport.resume_reading()
        return found

    def close(self) -> None:
        self._ended = True
        if self._transport is not None:
            self._transport.abort()

    async def _until(self, there: Callable[[], bool], timeout_s: float) -> None:
        """Until it is there, or the answer has ended well."""
        while not there():
            if self._why is not None:
                raise self._why
            if self._ended:
                return
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), timeout_s)

    def _end(self, why: _End) -> None:
        if not self._ended:
            self._ended, self._why = True, why
            self._news.set()
