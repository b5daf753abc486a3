"""How long a request may take, and an end to its work when nobody waits for it any more. Pure ASGI.

The app runs in a task of its own. It is cancelled when the client leaves, when the time of `X-Request-Timeout` is over,
or when nothing has moved for long; what has not been sent to TorchServe or the index by then never is.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clip_core.errors import ClipServeError, DeadlineExceeded, InvalidRequest, TooSlow
from gateway.errors import error_response
from gateway.telemetry import current_trace

HEADER = "X-Request-Timeout"
LEAST_BYTES_PER_S = 16 * 1024


@dataclass(frozen=True)
class Patience:
    """`pause_s`: between two pieces of a body; `body_s`: for a body, and one second more for every 16 KB of it that has
    come; `stall_s`: with neither a piece of body nor of answer.
    """

    pause_s: float = 10.0
    body_s: float = 30.0
    stall_s: float = 120.0


class DeadlineMiddleware:
    """Answers 408 to a body that does not come, 504 when the client's own time is over."""

    def __init__(self, app: ASGIApp, patience: Patience) -> None:
        self.app = app
        self.patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(receive, send, self.patience)
        try:
            current_trace().deadline = deadline_of(Headers(scope=scope))
            await self._run(scope, exchange)
        except ClipServeError as error:
            if not exchange.answering:
                await error_response(error)(scope, receive, send)

    async def _run(self, scope: Scope, exchange: _Exchange) -> None:
        """Raises what the app raises, ClientDisconnect, or DeadlineExceeded."""
        work = asyncio.ensure_future(self.app(scope, exchange.receive, exchange.send))
        watch = asyncio.ensure_future(exchange.gone())
        try:
            while not work.done():
                left = exchange.seconds_left()
                if watch.done():
                    raise ClientDisconnect
                if left <= 0:
                    raise DeadlineExceeded("the time for this request is over; nothing more is done for it")
                await asyncio.wait((work, watch), timeout=left, return_when=asyncio.FIRST_COMPLETED)
            work.result()
        finally:
            await _end(work, watch)


def deadline_of(headers: Headers) -> float | None:
    """On the clock of time.monotonic(). Raises InvalidRequest when it is not a number of seconds."""
    given = headers.get(HEADER)
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < 1e6:
        raise InvalidRequest(f"`{HEADER}` is a number of seconds, such as 2.5", param=HEADER)
    return time.monotonic() + seconds


class _Exchange:
    """The `receive` and `send` of one request, timed."""

    def __init__(self, receive: Receive, send: Send, patience: Patience) -> None:
        self._receive = receive
        self._send = send
        self._patience = patience
        self._started = self._moved = time.monotonic()
        self._received = 0
        self._whole = asyncio.Event()
        self._left = asyncio.Event()
        self.answering = False

    async def receive(self) -> Message:
        """Raises TooSlow inside the route that reads the body, so that its handler answers."""
        if self._whole.is_set():
            await self._left.wait()
            return {"type": "http.disconnect"}
        message = await self._piece()
        self._moved = time.monotonic()
        self._received += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._whole.set()
        return message

    async def send(self, message: Message) -> None:
        self.answering = True
        await self._send(message)
        self._moved = time.monotonic()

    async def gone(self) -> None:
        """Returns when the client has left; what is left of a body is the app's to read."""
        await self._whole.wait()
        while (await self._receive())["type"] != "http.disconnect":
            """What a peer sends after its body is no business of this request."""
        self._left.set()

    def seconds_left(self) -> float:
        stalled = self._moved + self._patience.stall_s
        deadline = current_trace().deadline
        return min(stalled, deadline if deadline is not None else math.inf) - time.monotonic()

    async def _piece(self) -> Message:
        allowed = self._patience.body_s + self._received / LEAST_BYTES_PER_S
        left = min(self._patience.pause_s, self._started + allowed - time.monotonic())
        try:
            return await asyncio.wait_for(self._receive(), max(left, 0.001))
        except asyncio.TimeoutError:
            raise TooSlow("the body of the request did not come in time") from None


async def _end(*tasks: asyncio.Future[None]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task
