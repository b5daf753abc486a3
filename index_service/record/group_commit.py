"""Group commit: writes that arrive while another one is being synced share one transaction and one sync."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from clip_core.errors import Unavailable

T = TypeVar("T")


class _Waiting(Generic[T]):
    """One writer's part. `failure` is the error that the writer raises; None once the part is committed."""

    def __init__(self, part: T) -> None:
        self.part = part
        self.taken = False
        self.failure: Exception | None = Unavailable("the write was cut short: send it again")


class GroupCommit(Generic[T]):
    """`commit` writes several parts, all or none, in the order in which they came; it is called under `lock`."""

    def __init__(self, lock: threading.Lock, commit: Callable[[Sequence[T]], None]) -> None:
        self._lock, self._commit = lock, commit
        self._waiting: deque[_Waiting[T]] = deque()

    def write(self, part: T) -> None:
        """`part` is committed on return, by this thread or by the one before. Raises what `commit` raised for it."""
        own = _Waiting(part)
        self._waiting.append(own)
        with self._lock:
            if not own.taken:
                self._write_all([self._waiting.popleft() for _ in range(len(self._waiting))])
        if own.failure is not None:
            raise own.failure

    def _write_all(self, group: list[_Waiting[T]]) -> None:
        """Write all parts together; if that fails, write each alone, so that only the parts at fault fail."""
        for each in group:
            each.taken = True
        failure = self._failure(group)
        for each in group:
            each.failure = failure if failure is None or len(group) == 1 else self._failure([each])

    def _failure(self, group: list[_Waiting[T]]) -> Exception | None:
        try:
            self._commit([each.part for each in group])
        except Exception as error:  # raised again by the writer whose part it was
            return error
        return None
