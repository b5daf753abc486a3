"""TorchServe behind a scaler: its workers come and go, and may all be gone until something is asked of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeVar

from clip_core.errors import TorchServeUnavailable, WorkerLost
from gateway.trace import current_trace
from gateway.upstream.json_client import Json
from gateway.upstream.replies import EncodeReply

T = TypeVar("T")
_LOOK_S = 0.25


class Predicting(Protocol):
    """As much of a TorchServeClient as encodes."""

    async def predict(self, endpoint: str, body: Json, *, timeout_s: float | None = None) -> EncodeReply: ...


class Workforce(Predicting, Protocol):
    """And tells of its workers."""

    async def workers_ready(self, endpoint: str) -> bool | None: ...

    async def workers_wanted(self, endpoint: str) -> int | None: ...


class Waking:
    """Requests wait `wait_s` for a first worker, within their deadlines; the demand that they are counted as wakes one.

    `replicas`: TorchServe itself may be away. Else a TorchServe that doesn't answer has failed, and nothing waits.
    A request whose worker ended is sent once more: a scaler ends workers, and TorchServe does not let them finish.
    """

    def __init__(self, torchserve: Workforce, wait_s: float, *, replicas: bool = False) -> None:
        self._torchserve, self._wait_s, self._replicas = torchserve, wait_s, replicas

    async def predict(self, endpoint: str, body: Json, *, timeout_s: float | None = None) -> EncodeReply:
        """Raises ClipServeError, as a TorchServeClient does."""
        return await self.patiently(endpoint, partial(self._torchserve.predict, endpoint, body, timeout_s=timeout_s))

    async def patiently(self, endpoint: str, call: Callable[[], Awaitable[T]]) -> T:
        """The outcome of `call`, which asks `endpoint` and may be made again. Raises ClipServeError."""
        answer = await _tried(call)
        until, again = time.monotonic() + self._patience_s(), 1
        while isinstance(answer, TorchServeUnavailable):
            if isinstance(answer, WorkerLost) and again:
                again -= 1  # a request that two workers ended with may be the reason
            elif isinstance(answer, WorkerLost) or not await self._woken(endpoint, until):
                raise answer
            answer = await _tried(call)
        return answer

    def _patience_s(self) -> float:
        left = current_trace().seconds_left()
        return self._wait_s if left is None else min(self._wait_s, left)

    async def _woken(self, endpoint: str, until: float) -> bool:
        """Whether a worker became ready in time."""
        if not self._replicas and await self._torchserve.workers_wanted(endpoint) is None:
            return False
        while time.monotonic() + _LOOK_S < until:
            await asyncio.sleep(_LOOK_S)
            if await self._torchserve.workers_ready(endpoint):
                return True
        return False


async def _tried(call: Callable[[], Awaitable[T]]) -> T | TorchServeUnavailable:
    try:
        return await call()
    except TorchServeUnavailable as error:
        return error
