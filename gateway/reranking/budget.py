"""What a request may spend on reranking: milliseconds, and tokens that a decoder reads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass
class Budget:
    """None sets no limit. The time runs from when the budget is made."""

    ms: float | None = None
    tokens: int | None = None
    started: float = field(default_factory=time.perf_counter)
    used_tokens: int = 0
    spent: str | None = None  # which of the two ended the work: "ms" or "tokens"

    def seconds_left(self) -> float | None:
        return None if self.ms is None else max(0.0, self.ms / 1e3 - (time.perf_counter() - self.started))

    def tokens_left(self) -> int | None:
        return None if self.tokens is None else max(0, self.tokens - self.used_tokens)

    def elapsed_ms(self) -> float:
        return (time.perf_counter() - self.started) * 1e3

    def over(self) -> bool:
        """Notes it, too."""
        if self.seconds_left() == 0.0:
            self.spent = "ms"
        elif self.tokens_left() == 0:
            self.spent = "tokens"
        return self.spent is not None

    async def within(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result. Raises TimeoutError where the time ends first; how the work then ends is not waited for."""
        task = asyncio.ensure_future(work)
        task.add_done_callback(_seen)
        try:
            await asyncio.wait({task}, timeout=self.seconds_left())
        finally:
            if not task.done():
                task.cancel()
        if not task.done():
            raise asyncio.TimeoutError
        return task.result()


def _seen(ended: asyncio.Future[Any]) -> None:
    """Without this asyncio logs errors of tasks that nobody waits for."""
    if not ended.cancelled():
        ended.exception()
