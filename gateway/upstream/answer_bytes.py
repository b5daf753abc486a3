"""How large the answers of searches may become, so that no upstream request brings more than one answer may hold.

The answers of a TorchServe batch share a limit (docs/decisions/051-bounded-answers.md), and the index service refuses
what is over its own. Searches that may bring much therefore travel in smaller requests, and one call is answered up to
a limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from clip_core.errors import TooLarge
from clip_core.wire import SearchPart

_ID_BYTES, _METADATA_BYTES = 100, 512  # of a usual hit; the index service bounds what metadata may be
_USUAL_DIM = 768
_SMALL = 1 / 16  # of the room


def answer_bytes(search: SearchPart, dim: int | None) -> int:
    """About what the hits of this search take, if there are as many as it asks for."""
    hit = _ID_BYTES
    if "metadata" in search.include:
        hit += _METADATA_BYTES
    if "vector" in search.include:
        hit += (dim or _USUAL_DIM) * 16 // 3
    return search.k * hit


class AnswerBudget:
    """The bytes that one call's answers have taken so far."""

    def __init__(self, most: int) -> None:
        self._most, self._taken = most, 0

    def add(self, answer: object) -> None:
        """An upstream's answer, which knows its `bytes`, or an error."""
        self._taken += answer.get("bytes", 0) if isinstance(answer, dict) else 0

    def refusal(self) -> TooLarge | None:
        """For the searches that are still to come, once the answers are too large."""
        if self._taken <= self._most:
            return None
        advice = "ask for fewer hits, leave vectors or metadata out, or send the searches in several calls"
        return TooLarge(f"the answers of this call are larger than {self._most} bytes: {advice}", param="k")


class AnswerRoom:
    """The bytes that answers of TorchServe may have together, all callers' counted, but for small ones.

    They come in batches, and TorchServe's time for a batch's answers grows with the square of their sum.
    """

    def __init__(self, most: int) -> None:
        self._most, self._taken = most, 0
        self._next, self._freed = asyncio.Lock(), asyncio.Event()

    @asynccontextmanager
    async def taken(self, size: int) -> AsyncIterator[None]:
        """Wait, in the order of coming, until there is room for so many bytes, or until all of it is free."""
        if size <= _SMALL * self._most:
            yield
            return
        async with self._next:
            while self._taken and self._taken + size > self._most:
                self._freed.clear()
                await self._freed.wait()
            self._taken += size
        try:
            yield
        finally:
            self._taken -= size
            self._freed.set()
