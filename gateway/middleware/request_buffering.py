"""Reads a request's body before anything else is done for it, within the budget of bytes held. Pure ASGI.

What comes after this layer never waits for a client: limits and places in a queue are taken by whole requests only.
A streamed body goes through piece by piece, and counts for what is held of it. Pictures that are fetched or read for a
request count as its body does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.middleware.body_budget import SMALL_BYTES, Body, BodyBudget
from gateway.middleware.body_limits import STREAM_PATH
from gateway.middleware.deadlines import GIVE_UP
from gateway.trace import current_trace

T = TypeVar("T")
_WITHOUT_BODY = ("GET", "HEAD", "OPTIONS")
_LET_GO = "gateway.let_go"
_BYTES_PER_S = 256_000_000  # a quarter of what one core reads: the rest of it is for other requests
_BURST_BYTES = 32_000_000


class RequestBuffering:
    """Below DeadlineMiddleware, which ends the requests that the budget gives up."""

    def __init__(self, app: ASGIApp, budget: BodyBudget) -> None:
        self.app = app
        self.budget = budget
        self._pace = Pace(_BYTES_PER_S, _BURST_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in _WITHOUT_BODY:
            await self.app(scope, receive, send)
            return
        body = Body(current_trace().caller, scope[GIVE_UP], scope["path"].endswith(STREAM_PATH))
        self.budget.begin(body)
        current_trace().hold = lambda size: self.budget.hold(body, size)
        try:
            await self.app(scope, await self._incoming(scope, receive, body), send)
        finally:
            self.budget.end(body)

    async def _incoming(self, scope: Scope, receive: Receive, body: Body) -> Receive:
        if not body.streamed:
            return replayed(await self._whole(receive, body), receive)
        current_trace().patient = True
        scope[_LET_GO] = lambda: self.budget.let_go(body)

        async def counted() -> Message:
            return await self._piece(receive, body)

        return counted

    async def _whole(self, receive: Receive, body: Body) -> Message:
        message = await self._piece(receive, body)
        if not message.get("more_body", False):
            return message
        body.content += message["body"]
        while message.get("more_body", False):
            message = await self._piece(receive, body)
            body.content += message["body"]
        content, body.content = bytes(body.content), bytearray()
        return {"type": "http.request", "body": content, "more_body": False}

    async def _piece(self, receive: Receive, body: Body) -> Message:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnect()
        size = len(message.get("body", b""))
        self.budget.add(body, size, whole=not message.get("more_body", False))
        if body.bytes > SMALL_BYTES:
            await self._pace.wait(size)
        return message


class Pace:
    """Large bodies together come at so many bytes a second, after a burst that may come at once (a token bucket)."""

    def __init__(self, bytes_per_s: float, burst: float) -> None:
        self._bytes_per_s, self._burst_s = bytes_per_s, burst / bytes_per_s
        self._due = 0.0  # when all that has come would have come at this pace

    async def wait(self, size: int) -> None:
        """Until so many bytes more may be read."""
        now = asyncio.get_running_loop().time()
        self._due = max(self._due, now - self._burst_s) + size / self._bytes_per_s
        if self._due > now:
            await asyncio.sleep(self._due - now)


def replayed(message: Message, receive: Receive) -> Receive:
    """The body, and then whatever comes."""
    waiting = [message]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


async def letting_go(request: Request, batches: AsyncIterator[T]) -> AsyncIterator[T]:
    """The batches of a streamed body; one that has been worked on is held no longer."""
    async for batch in batches:
        yield batch
        request.scope[_LET_GO]()
