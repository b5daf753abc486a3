"""Calls of one neighbour's JSON API over HTTP; what goes wrong on the wire becomes `Unavailable`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import orjson

from clip_core.errors import ClipServeError, DeadlineExceeded, Unavailable
from clip_core.tracing.spans import passed_on, stage
from clip_core.wire import json_text
from gateway.trace import current_trace
from gateway.upstream.keepalive import Broken, ConnectFailed, KeepAlivePool
from gateway.upstream.streamed_answer import StreamedAnswer

Json = dict[str, Any]
_log = logging.getLogger("gateway.upstream.json_client")
_TO_SAY_S = 0.1
_AT_ONCE_S = 0.01  # two timers for the same moment go off this near to each other


@dataclass(frozen=True)
class UpstreamReply:
    """An answer: `body` is None when it was empty or not JSON; `content` is what came."""

    status: int
    content: bytes = b""

    @cached_property
    def body(self) -> Any:
        """Parsed when it is first looked at."""
        try:
            return orjson.loads(self.content) if self.content else None
        except orjson.JSONDecodeError:
            return None


@dataclass(frozen=True)
class Stream:
    """An answer under way: `piece` waits for more of its body; empty at the end."""

    status: int
    piece: Callable[[], Awaitable[bytes]]


class JsonClient:
    """Keep-alive calls to one base URL. To be closed."""

    def __init__(
        self,
        name: str,
        base_url: str,
        unavailable: type[Unavailable],
        *,
        timeout_s: float = 30.0,
        max_connections: int = 256,
        traced: bool = False,
        headers: Callable[[], dict[str, str]] = dict,
    ) -> None:
        """`traced`: each call is a span of its own, where the caller's trace is recorded. `headers`: of each call."""
        self._traced, self._own_headers = traced, headers
        self.name = name
        self.unavailable = unavailable
        self.timeout_s = timeout_s
        self._pool = KeepAlivePool(base_url, max_connections)

    async def close(self) -> None:
        self._pool.close()

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        idempotent: bool = False,
        timeout_s: float | None = None,
    ) -> UpstreamReply:
        """`path` is percent-encoded, `body` may be JSON text. Raises `self.unavailable`; any status is a UpstreamReply.

        The time limit is `timeout_s`, or what is left until the request's own deadline if that is less; past the
        deadline nothing is sent: DeadlineExceeded.

        An `idempotent` call is tried once more, over a new connection and in what is left of its time, when the
        connection broke: the peer may have closed an idle keep-alive connection just as we picked it.
        """
        limit = _within_deadline(timeout_s or self.timeout_s)
        ends = time.monotonic() + limit
        payload = b"" if body is None else body if isinstance(body, bytes) else json_text(body, "body")
        try:
            return await self._send(method, path, payload, limit)
        except Broken as error:
            if not idempotent:
                raise self._failed(error, "closed the connection") from error
        except (asyncio.TimeoutError, ConnectFailed) as error:
            raise self._give_up(error, limit) from error
        try:
            return await self._send(method, path, payload, ends - time.monotonic(), fresh=True)
        except (asyncio.TimeoutError, ConnectFailed, Broken) as error:
            raise self._give_up(error, limit) from error

    @asynccontextmanager
    async def streamed(self, method: str, path: str, body: bytes) -> AsyncIterator[Stream]:
        """An answer that is read piece by piece, sent once. Raises as `call` does, here and while it is read.

        The time limit is for the first piece, and for each one after it.
        """
        limit = _within_deadline(self.timeout_s)
        headers = {**_headers(), **self._own_headers(), "Content-Type": "application/json"}
        try:
            async with self._pool.streamed(method, path, headers, body, limit) as answer:
                yield Stream(answer.status, partial(self._piece, answer))
        except (asyncio.TimeoutError, ConnectFailed, Broken) as error:
            raise self._give_up(error, limit) from error

    async def _piece(self, answer: StreamedAnswer) -> bytes:
        """Gives up a moment before the deadline, so that there is time to say so: the answer has begun."""
        left = current_trace().seconds_left()
        limit = self.timeout_s if left is None else min(self.timeout_s, max(0.0, left - _TO_SAY_S))
        try:
            return await answer.piece(limit)
        except asyncio.TimeoutError as error:
            if limit < self.timeout_s:
                raise DeadlineExceeded("the time for this request is over") from error
            raise self._give_up(error, limit) from error
        except Broken as error:
            raise self._give_up(error, limit) from error

    async def _send(
        self, method: str, path: str, payload: bytes, limit: float, *, fresh: bool = False
    ) -> UpstreamReply:
        if not self._traced:
            return await self._sent(method, path, payload, limit, fresh)
        attributes = {"http.request.method": method, "url.path": path.partition("?")[0], "peer.service": self.name}
        with stage(f"{method} {self.name}", kind="client", attributes=attributes) as span:
            reply = await self._sent(method, path, payload, limit, fresh)
            if span is not None:
                span.attributes["http.response.status_code"] = reply.status
            return reply

    async def _sent(self, method: str, path: str, payload: bytes, limit: float, fresh: bool) -> UpstreamReply:
        headers = {**_headers(), **self._own_headers()}
        if payload:
            headers["Content-Type"] = "application/json"
        status, content = await self._pool.request(method, path, headers, payload, limit, fresh=fresh)
        return UpstreamReply(status, content)

    def _give_up(self, error: Exception, limit: float) -> ClipServeError:
        if isinstance(error, asyncio.TimeoutError):
            left = current_trace().seconds_left()
            if left is not None and left < _AT_ONCE_S:
                return DeadlineExceeded(f"the time for this request was over before {self.name} answered")
            return self._failed(error, f"did not answer within {limit:g} s")
        if isinstance(error, ConnectFailed):
            return self._failed(error, "refuses connections")
        return self._failed(error, "broke off its answer")

    def _failed(self, error: Exception, what: str) -> Unavailable:
        extra = {"request_id": current_trace().request_id, "url": self._pool.address, "cause": repr(error)[:200]}
        _log.log(logging.DEBUG if current_trace().quiet else logging.WARNING, "%s %s", self.name, what, extra=extra)
        return self.unavailable(f"{self.name} {what}")


def _within_deadline(limit: float) -> float:
    left = current_trace().seconds_left()
    if left is None:
        return limit
    if left <= 0:
        raise DeadlineExceeded("the time for this request was over before all its work had begun")
    return min(limit, left)


def _headers() -> dict[str, str]:
    request_id, parent = current_trace().request_id, passed_on()
    headers = {"X-Request-Id": request_id} if request_id else {}
    return headers if parent is None else {**headers, "traceparent": parent}
