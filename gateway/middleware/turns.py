"""Requests begin a few at a time, and callers take turns: hundreds that come at once hold up nobody else's. Pure ASGI.

All that is ready in one round of the event loop is done before the next round, and a search takes several rounds.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.admission.fair_queue import FairQueue
from gateway.trace import current_trace

_EACH_ROUND = 4
_NEVER = float("-inf")


@dataclass(eq=False, slots=True)
class _Waiter:
    lane: str
    begins: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    weight: int = 1
    since: float = 0.0
    firm: bool = False


class Turns:
    """Below AuthMiddleware, which names the caller, and below DeadlineMiddleware: waiting takes the request's time."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._begun = 0  # in this round
        self._queue: FairQueue[_Waiter] = FairQueue()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._turn(current_trace().caller)
        await self.app(scope, receive, send)

    async def _turn(self, caller: str) -> None:
        if not self._begun:
            asyncio.get_running_loop().call_soon(self._next_round)
        if self._begun < _EACH_ROUND:
            self._begun += 1
            return
        waiter = _Waiter(caller)
        self._queue.push(waiter)
        await waiter.begins

    def _next_round(self) -> None:
        self._begun = 0
        try:
            self._begin_next()
        finally:  # without a next round no request would begin any more
            if self._begun:
                asyncio.get_running_loop().call_soon(self._next_round)

    def _begin_next(self) -> None:
        while self._queue and self._begun < _EACH_ROUND:
            waiter = self._queue.pop(_NEVER)
            if not waiter.begins.done():  # its client has not left
                waiter.begins.set_result(None)
                self._begun += 1
