"""The gateway's own short history: a reading every few seconds, an hour of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from gateway.history.figures import TIME, WIDTH, Figures, Rows, row_of
from gateway.history.ring import Ring

EVERY_S = 5.0
SPAN_S = 3600.0
_MORE = 12  # rows: the last step before the span is what its first one is counted from
_log = logging.getLogger("gateway.history")


class History:
    """Of this process only. Nothing in it is written to disk."""

    def __init__(self, read: Callable[[], Awaitable[Figures]], every_s: float = EVERY_S) -> None:
        self._read, self._every_s = read, every_s
        self._ring = Ring(int(SPAN_S / every_s) + _MORE, WIDTH)
        self._task: asyncio.Task[None] | None = None
        self._offset_s = time.time() - time.monotonic()

    @property
    def nbytes(self) -> int:
        return self._ring.nbytes

    def __len__(self) -> int:
        return len(self._ring)

    def now(self) -> float:
        """Seconds since 1970 by a clock that is never set back while the process runs."""
        return self._offset_s + time.monotonic()

    def add(self, figures: Figures) -> None:
        """One more reading, with its TIME."""
        self._ring.add(row_of(figures))

    def rows(self) -> Rows:
        """(N, WIDTH), the oldest first."""
        return self._ring.all()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        next_at = time.monotonic()
        while True:
            await self.take()
            next_at = max(next_at + self._every_s, time.monotonic())
            await asyncio.sleep(next_at - time.monotonic())

    async def take(self) -> None:
        """One reading now; a failure is logged."""
        try:
            figures = await self._read()
        except Exception:  # the next time may go well
            _log.exception("a reading of the history failed")
        else:
            self.add({TIME: self.now(), **figures})
