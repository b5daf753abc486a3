"""How many answers may be under way: of all callers, and of each key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from clip_core.errors import Overloaded
from gateway.counts import Counts

_RETRY_S = 2.0


class TurnsOfKeys:
    """`most` at a time, the others wait; of a key `most_of_key`, further ones are refused."""

    def __init__(self, most: int, most_of_key: int) -> None:
        self._turns = asyncio.Semaphore(most)
        self._most_of_key = most_of_key
        self._of_keys = Counts()

    @asynccontextmanager
    async def turn(self, key: str, wait_s: float) -> AsyncIterator[None]:
        """Raises Overloaded."""
        if self._of_keys.get(key, 0) >= self._most_of_key:
            message = f"this API key has {self._most_of_key} questions under way; wait for one of their answers"
            raise Overloaded(message, retry_after=_RETRY_S)
        self._of_keys.add(key, 1)
        try:
            await self._wait(wait_s)
            try:
                yield
            finally:
                self._turns.release()
        finally:
            self._of_keys.add(key, -1)

    async def _wait(self, wait_s: float) -> None:
        try:
            await asyncio.wait_for(self._turns.acquire(), wait_s)
        except asyncio.TimeoutError as error:
            raise Overloaded("too many questions are under way; ask again in a moment", retry_after=_RETRY_S) from error
