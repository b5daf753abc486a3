"""Work on the next few of many things, on threads, in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(things: Iterable[T], work: Callable[[T], R], threads: int) -> Iterator[R]:
    """At most twice as many results as threads wait. Raises what `work` raises, at its place, and what `things` raises
    after the results of those before.
    """
    pool, waiting = ThreadPoolExecutor(threads, "ahead"), deque[Future[R]]()
    until_an_error = _UntilAnError(things)
    try:
        for thing in until_an_error:
            waiting.append(pool.submit(work, thing))
            if len(waiting) >= 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        if until_an_error.error is not None:
            raise until_an_error.error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class _UntilAnError(Iterable[T]):
    def __init__(self, things: Iterable[T]) -> None:
        self._things = things
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[T]:
        try:
            yield from self._things
        except Exception as error:
            self.error = error
