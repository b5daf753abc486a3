"""How many URLs are fetched at a time: callers take turns, and none holds all slots with hosts that are slow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from gateway.fair_queue import NEVER, FairQueue, QueuedTurn


class FetchSlots:
    """`width` slots, of which one caller holds three quarters at most: a quarter is left for whoever comes next."""

    def __init__(self, width: int) -> None:
        self._free, self._most = width, -(-3 * width // 4)
        self._own: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._queue: FairQueue[QueuedTurn] = FairQueue()  # empty while a slot is free

    @asynccontextmanager
    async def hold(self, caller: str) -> AsyncIterator[None]:
        async with self._own.setdefault(caller, asyncio.Semaphore(self._most)):
            await self._take(caller)
            try:
                yield
            finally:
                self._give()

    async def _take(self, caller: str) -> None:
        if self._free:
            self._free -= 1
            return
        queued = QueuedTurn(caller)
        self._queue.push(queued)
        try:
            await queued.turn
        except asyncio.CancelledError:
            if not queued.turn.cancelled():  # it had its turn just now
                self._give()
            raise

    def _give(self) -> None:
        while self._queue:
            turn = self._queue.pop(NEVER).turn
            if not turn.done():  # its caller has not left
                turn.set_result(None)
                return
        self._free += 1
