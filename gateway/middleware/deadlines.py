"""How long a request may take, and its cancellation when the client has left. Pure ASGI.

The request's task is cancelled when the client leaves, when the time of `X-Request-Timeout` is over, or when nothing
has moved for long; what has not been sent to TorchServe or the index service by then is not sent. One timer checks all
of that. Most requests are answered before it fires for the first time, and cost nothing more. Inner layers end the
request with an error of their own by `scope[GIVE_UP]`.
"""

from __future__ import annotations

import asyncio
import math
import time

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clip_core.errors import ClipServeError, DeadlineExceeded, InvalidRequest, ShuttingDown, TooSlow
from gateway.errors import error_response
from gateway.middleware.client_timeouts import ClientTimeouts
from gateway.trace import current_trace

HEADER = "X-Request-Timeout"
GIVE_UP = "gateway.give_up"  # in the scope: ends this request with the error given
LEAST_BYTES_PER_S = 16 * 1024
_FIRST_LOOK_S = 0.05
_LOOK_S = 0.25
_STOPS = "the gateway is stopping and had no time left for this request: send it again in a moment"


class DeadlineMiddleware:
    """Answers 408 to a body that does not come, 504 when the client's own time is over."""

    def __init__(self, app: ASGIApp, timeouts: ClientTimeouts) -> None:
        self.app = app
        self.timeouts = timeouts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(receive, send, self.timeouts)
        try:
            await self._run(scope, exchange)
        except ClipServeError as error:
            if not exchange.answering:
                await error_response(error, exchange.closing())(scope, receive, send)

    async def _run(self, scope: Scope, exchange: _Exchange) -> None:
        """Raises what the app raises, ClientDisconnect, DeadlineExceeded, TooSlow or ShuttingDown."""
        current_trace().deadline = deadline_of(Headers(scope=scope))
        exchange.start()
        scope[GIVE_UP] = exchange.give_up
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            exchange.uncancel()
            raise exchange.verdict or ShuttingDown(_STOPS) from None
        finally:
            del scope[GIVE_UP]
            exchange.end()


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
    """The `receive` and `send` of one request, and the timer that looks at how they go; `verdict` is why it ended."""

    def __init__(self, receive: Receive, send: Send, timeouts: ClientTimeouts) -> None:
        self._receive = receive
        self._send = send
        self._timeouts = timeouts
        self._moved = time.monotonic()
        self._asked: float | None = None  # since when a piece of the body is waited for
        self._waited_s = 0.0
        self._received = 0
        self._whole = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.Task[None] | None = None
        self.verdict: Exception | None = None
        self.answering = False

    def start(self) -> None:
        """From the task that is to be cancelled."""
        self._task = asyncio.current_task()
        self._look_in(min(_FIRST_LOOK_S, self._time_of_work()))

    def end(self) -> None:
        """Free what it holds at once: the error's traceback keeps frames alive, and they refer to this object."""
        for waiting in (self._timer, self._watch):
            if waiting is not None:
                waiting.cancel()
        self.verdict = self._task = None

    def give_up(self, verdict: Exception) -> None:
        """Ends the request; the first verdict counts."""
        if self.verdict is None and self._task is not None:
            self.verdict = verdict
            self._task.cancel()

    def closing(self) -> dict[str, str]:
        """A body that was refused half-read is not waited for: the connection ends with the answer."""
        return {} if self._whole else {"Connection": "close"}

    def uncancel(self) -> None:
        """Python 3.11 counts cancellations; this one is dealt with."""
        uncancel = getattr(self._task, "uncancel", None)
        if uncancel is not None:
            uncancel()

    async def receive(self) -> Message:
        if self._whole:  # the app waits for the client to leave; then it is cancelled, like all that waits
            await asyncio.get_running_loop().create_future()
        asked = self._asked = time.monotonic()
        message = await self._receive()
        self._asked, self._moved = None, time.monotonic()
        self._waited_s += self._moved - asked
        self._received += len(message.get("body", b""))
        self._whole = message["type"] == "http.request" and not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        self.answering = True
        await self._send(message)
        self._moved = time.monotonic()

    def _look(self) -> None:
        if not self._whole and self._time_of_body() <= 0:
            self.give_up(TooSlow("the body of the request did not come in time"))
        elif self._time_of_work() <= 0:
            self.give_up(DeadlineExceeded("the time for this request is over; nothing more is done for it"))
        else:
            if self._whole and self._watch is None:
                self._watch = asyncio.ensure_future(self._gone())
            self._look_in(min(_LOOK_S, self._time_of_work()))

    def _look_in(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(max(seconds, 0.0), self._look)

    async def _gone(self) -> None:
        """Wait until the client leaves; what it sends after the body is ignored."""
        while (await self._receive())["type"] != "http.disconnect":
            await asyncio.sleep(0)
        self.give_up(ClientDisconnect())

    def _time_of_body(self) -> float:
        """Until the client takes too long for the body, in this pause or as a whole."""
        pause = 0.0 if self._asked is None else time.monotonic() - self._asked
        whole = self._timeouts.body_s + self._received / LEAST_BYTES_PER_S - self._waited_s
        return min(self._timeouts.pause_s, whole) - pause

    def _time_of_work(self) -> float:
        """Until the deadline, or until nothing has moved for too long."""
        trace = current_trace()
        stalled = max(self._moved, trace.progressed) + self._timeouts.stall_s
        return (stalled if trace.deadline is None else min(stalled, trace.deadline)) - time.monotonic()
