"""Requests begin a few at a time, and callers take turns: hundreds that come at once hold up nobody else's. Pure ASGI.

All that is ready in one round of the event loop is done before the next round, and a search takes several rounds.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.fair_queue import NEVER, FairQueue, QueuedTurn
from gateway.trace import current_trace

_EACH_ROUND = 4


class Turns:
    """Below AuthMiddleware, which names the caller, and below DeadlineMiddleware: waiting takes the request's time."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._begun = 0  # in this round
        self._queue: FairQueue[QueuedTurn] = FairQueue()

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
        queued = QueuedTurn(caller)
        self._queue.push(queued)
        await queued.turn

    def _next_round(self) -> None:
        self._begun = 0
        try:
            self._begin_next()
        finally:  # without a next round no request would begin any more
            if self._begun:
                asyncio.get_running_loop().call_soon(self._next_round)

    def _begin_next(self) -> None:
        while self._queue and self._begun < _EACH_ROUND:
            turn = self._queue.pop(NEVER).turn
            if not turn.done():  # its client has not left
                turn.set_result(None)
                self._begun += 1
