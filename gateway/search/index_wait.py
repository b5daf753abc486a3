"""Searches that find the index service away wait for it, all on one probe, so that its restart fails none of them."""

from __future__ import annotations

import asyncio
import time

from clip_core.errors import ClipServeError
from gateway.trace import Trace, current_trace, set_current_trace
from gateway.upstream.index_service import IndexServiceClient

_PROBE_S, _PAUSE_S = 1.0, 0.1


class IndexWait:
    """For at most `wait_s` from when the first of those who wait has come; 0: nobody waits."""

    def __init__(self, index: IndexServiceClient, wait_s: float) -> None:
        self._index, self._wait_s = index, wait_s
        self._probe: asyncio.Task[bool] | None = None

    async def back(self) -> bool:
        """True once the index service is ready; False when the wait, or the request's own time, is over."""
        if self._wait_s <= 0:
            return False
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._until_ready(time.monotonic() + self._wait_s))
        try:
            return await asyncio.wait_for(asyncio.shield(self._probe), current_trace().seconds_left())
        except asyncio.TimeoutError:
            return False

    async def _until_ready(self, ends: float) -> bool:
        set_current_trace(Trace())  # no deadline of one of those who wait
        while time.monotonic() < ends:
            if await self._is_ready():
                return True
            await asyncio.sleep(_PAUSE_S)
        return False

    async def _is_ready(self) -> bool:
        try:
            await self._index.ready(timeout_s=_PROBE_S)
        except ClipServeError:
            return False
        return True
