"""Ends calls to a TorchServe endpoint that has no READY worker: TorchServe itself would keep them in its queue.

A call that is answered in time costs one timer. Only a call that takes long, or that follows a failure, asks the
management API; calls of one endpoint share the question.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

from clip_core.errors import TorchServeUnavailable

LOOK_S = 2.0  # without an answer for so long, a call asks for the workers
Ready = Callable[[str], Coroutine[Any, Any, bool | None]]


def no_worker(endpoint: str) -> TorchServeUnavailable:
    return TorchServeUnavailable(
        f"TorchServe's endpoint {endpoint} has no ready worker: it is starting, or its model failed to load; "
        "try again in a moment"
    )


class ReadyWorkers:
    """`ready(endpoint)` says whether it has a READY worker, None when that can't be known.

    `doubted` are the endpoints whose last call failed: the next call asks before it is sent.
    """

    def __init__(self, ready: Ready, look_s: float = LOOK_S) -> None:
        self.look_s = look_s
        self.doubted: set[str] = set()
        self._ready = ready
        self._asking: dict[str, asyncio.Task[bool | None]] = {}

    async def check(self, endpoint: str) -> None:
        """Raises TorchServeUnavailable when there is no READY worker."""
        if await asyncio.shield(self.ask(endpoint)) is False:
            raise no_worker(endpoint)

    def ask(self, endpoint: str) -> asyncio.Task[bool | None]:
        """In a context of its own: the deadline of the caller that asks first is not that of the others."""
        asking = self._asking.get(endpoint)
        if asking is None or asking.done():
            asking = contextvars.Context().run(asyncio.ensure_future, self._ready(endpoint))
            self._asking[endpoint] = asking
        return asking

    def waiting(self, endpoint: str) -> Waiting:
        """The block in which a call waits for its answer."""
        return Waiting(self, endpoint)


class Waiting:
    """Ends the block with TorchServeUnavailable once its endpoint is seen to have no READY worker."""

    __slots__ = ("_endpoint", "_loop", "_over", "_stopped", "_task", "_timer", "_workers")

    def __init__(self, workers: ReadyWorkers, endpoint: str) -> None:
        self._workers, self._endpoint = workers, endpoint
        self._over = self._stopped = False

    def __enter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._look_later()

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._over = True
        self._timer.cancel()
        if self._stopped and self._is_only_ours() and kind is asyncio.CancelledError:
            raise no_worker(self._endpoint) from None

    def _is_only_ours(self) -> bool:
        """Takes our cancellation back, and says whether nobody else cancelled the task; Python 3.10 does not count."""
        uncancel = getattr(self._task, "uncancel", None)
        return uncancel is None or uncancel() == 0

    def _look_later(self) -> None:
        self._timer = self._loop.call_later(self._workers.look_s, self._look)

    def _look(self) -> None:
        self._workers.ask(self._endpoint).add_done_callback(self._judge)

    def _judge(self, asked: asyncio.Task[bool | None]) -> None:
        if self._over or self._task is None:
            return
        if asked.cancelled() or asked.exception() is not None or asked.result() is not False:
            self._look_later()
            return
        self._stopped = True
        self._task.cancel()
