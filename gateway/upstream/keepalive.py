"""HTTP/1.1 to one neighbour over connections that are kept: what a hop needs, at a third of a full client's cost."""

from __future__ import annotations

import asyncio
import base64
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

import httptools

from gateway.upstream.streamed_answer import Broken as Broken
from gateway.upstream.streamed_answer import StreamedAnswer

T = TypeVar("T")
P = TypeVar("P", bound=asyncio.Protocol)
_IDLE_S = 30.0  # a connection that was idle for longer is closed: the peer may be about to close it


class ConnectFailed(OSError):
    """No connection could be made."""


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.idle_since = 0.0
        self.open = False
        self._why: Exception = Broken("the connection was closed")  # of the end
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport, self.open = transport, True

    def connection_lost(self, error: Exception | None) -> None:
        self._end(Broken(f"the connection was closed: {error!r}" if error else "the connection was closed"))

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self._end(Broken("the peer spoke without being asked"))
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(Broken(f"the answer is not HTTP: {error!r}"))

    async def ask(self, head: bytes, body: bytes, timeout_s: float) -> tuple[int, bytes]:
        """The status and the body of the answer. Raises Broken when the connection ends, or asyncio.TimeoutError."""
        if not self.open or self.transport is None:  # it ended since it was made, or since it was taken
            raise Broken(str(self._why)) from self._why
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[int, bytes]] = loop.create_future()
        self._answer = answer
        self._parser, self._pieces = httptools.HttpResponseParser(self), list[bytes]()
        self.transport.writelines((head, body) if body else (head,))
        timer = loop.call_later(timeout_s, self._end, asyncio.TimeoutError())
        try:
            return await answer
        finally:
            timer.cancel()

    def close(self) -> None:
        self.open = False
        if self.transport is not None:
            self.transport.abort()

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # 100 Continue, 103 Early Hints: the answer follows
            self._pieces.clear()
            return
        answer, self._answer = self._answer, None
        if answer is None or not self._parser.should_keep_alive():
            self.close()
        body = b"".join(self._pieces)
        self._pieces.clear()  # an idle connection holds nothing
        if answer is not None and not answer.done():
            answer.set_result((status, body))

    def _end(self, why: Exception) -> None:
        if self.open:
            self._why = why
        self.close()
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(why)


class KeepAlivePool:
    """Requests to `base_url`, at most `max_connections` at a time; others wait for their turn.

    A connection that was idle for `idle_s` seconds is closed: those of a burst do not stay.
    """

    def __init__(self, base_url: str, max_connections: int, *, idle_s: float = _IDLE_S) -> None:
        parts = urlsplit(base_url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._prefix = parts.path.rstrip("/")
        self._authority = parts.netloc.rpartition("@")[2]
        self.address = f"{parts.scheme}://{self._authority}{self._prefix}"  # without a user: it may be logged
        self._turns = asyncio.Semaphore(max_connections)
        self._idle: deque[_Connection] = deque()  # the one that was used last is at the end
        self._idle_s = idle_s
        self._closing: asyncio.TimerHandle | None = None  # of the one that has been idle for longest
        self._authorization = _basic(parts)

    async def request(
        self, method: str, path: str, headers: dict[str, str], body: bytes, timeout_s: float, *, fresh: bool = False
    ) -> tuple[int, bytes]:
        """Status and body. `path` is percent-encoded, header values are single lines of Latin-1.

        `fresh`: over a new connection. Where a peer ends, all that are kept may be about to close.
        Raises ConnectFailed, Broken or asyncio.TimeoutError; then the connection is closed, as it is on cancellation.
        """
        head = self._head(method, path, headers, len(body))
        ends = time.monotonic() + timeout_s
        await _within(self._turns.acquire(), timeout_s if self._turns.locked() else None)
        try:
            kept = None if fresh else self._kept()
            connection = await _within(self._connect(), ends - time.monotonic()) if kept is None else kept
            try:
                answer = await connection.ask(head, body, ends - time.monotonic())
            except BaseException:
                connection.close()
                raise
            self._keep(connection)
            return answer
        finally:
            self._turns.release()

    @asynccontextmanager
    async def streamed(
        self, method: str, path: str, headers: dict[str, str], body: bytes, timeout_s: float
    ) -> AsyncIterator[StreamedAnswer]:
        """An answer whose status has come, over a connection that ends with the block. Raises as `request` does."""
        head = self._head(method, path, headers, len(body))
        ends = time.monotonic() + timeout_s
        await _within(self._turns.acquire(), timeout_s if self._turns.locked() else None)
        try:
            answer = await _within(self._connected(StreamedAnswer), ends - time.monotonic())
            try:
                await answer.ask(head, body, ends - time.monotonic())
                yield answer
            finally:
                answer.close()
        finally:
            self._turns.release()

    def _head(self, method: str, path: str, headers: dict[str, str], length: int) -> bytes:
        lines = [f"{method} {self._prefix}{path} HTTP/1.1", f"Host: {self._authority}"]
        lines += [*self._authorization, *(f"{name}: {value}" for name, value in headers.items())]
        if length or method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {length}")
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a request's line holds a line break")
        return "\r\n".join([*lines, "\r\n"]).encode("latin-1")

    def close(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
        while self._idle:
            self._idle.pop().close()

    def _keep(self, connection: _Connection) -> None:
        """For later requests."""
        if connection.open:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
            if self._closing is None:
                self._close_old()

    def _close_old(self) -> None:
        """Close what has been idle for too long, now and again as long as a connection is idle."""
        now = time.monotonic()
        while self._idle and now - self._idle[0].idle_since >= self._idle_s:
            self._idle.popleft().close()
        if self._idle:
            due_s = self._idle[0].idle_since + self._idle_s - now
            self._closing = asyncio.get_running_loop().call_later(due_s, self._close_old)
        else:
            self._closing = None

    def _kept(self) -> _Connection | None:
        """The one that was used last; those that are closed or old are dropped."""
        while self._idle:
            connection = self._idle.pop()
            if connection.open and time.monotonic() - connection.idle_since < self._idle_s:
                return connection
            connection.close()
        return None

    async def _connect(self) -> _Connection:
        return await self._connected(_Connection)

    async def _connected(self, kind: Callable[[], P]) -> P:
        try:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(kind, self._host, self._port, ssl=self._tls)
        except OSError as error:
            raise ConnectFailed(str(error)) from error
        return connection


def _basic(parts: SplitResult) -> list[str]:
    """The header for an address with a user in it, as curl sends it (RFC 7617)."""
    if parts.username is None:
        return []
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return [f"Authorization: Basic {base64.b64encode(user.encode()).decode('ascii')}"]


async def _within(work: Coroutine[Any, Any, T], timeout_s: float | None) -> T:
    """Without a limit nothing but `work` is run: it is the usual case, and costs no task."""
    return await (work if timeout_s is None else asyncio.wait_for(work, timeout_s))
