"""A circuit breaker: calls to a peer that may be down are bounded in time, and skipped for a while after a failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate  # the builtin one only from Python 3.11 on
from typing import TypeVar

from clip_core.periodic import doubled

T = TypeVar("T")
_LONGEST_S = 60.0


class CircuitBreaker:
    """Runs calls on a thread of its own: neither a slow name server nor a dead peer holds the caller over `timeout_s`.

    After a failure none is tried for `pause_s`, twice as long after each further one, at most a minute.
    """

    def __init__(self, timeout_s: float, pause_s: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout_s, self._pause_s, self._clock = timeout_s, pause_s, clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="shared-cache")
        self._busy = threading.Semaphore()
        self._again_at, self._failures = 0.0, 0
        self.errors = 0

    def call(self, work: Callable[[], T], otherwise: T, *, patient: bool = False) -> T:
        """The result of `work` if it comes in time, else `otherwise`. Never raises.

        `patient` waits for the last call's end too, and tries during a pause.
        """
        future = self.start(work, patient=patient)
        if future is None:
            return otherwise
        try:
            return future.result(self._timeout_s)
        except TooLate:
            self._failed()
        except Exception:  # counted where it was raised
            return otherwise
        return otherwise

    def start(self, work: Callable[[], T], *, patient: bool = False) -> Future[T] | None:
        """Begin `work` without waiting; None while the last call still runs or the pause is not over."""
        if not patient and self._clock() < self._again_at:
            return None
        if not self._busy.acquire(timeout=self._timeout_s if patient else 0):
            return None
        return self._thread.submit(self._watched, work)

    def _watched(self, work: Callable[[], T]) -> T:
        try:
            result = work()
        except Exception:
            self._failed()
            raise
        finally:
            self._busy.release()
        self._failures = 0
        return result

    def _failed(self) -> None:
        self.errors += 1
        self._again_at = self._clock() + doubled(self._pause_s, self._failures, _LONGEST_S)
        self._failures += 1
