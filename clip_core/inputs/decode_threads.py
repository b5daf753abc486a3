"""A batch's pictures are prepared on a few threads, ahead of the tower: PIL leaves the GIL while it works.

Results come in order as soon as they are ready, so that a batch of several forward passes decodes the next one's
pictures while the tower runs the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Decoder:
    """`threads` of them, started when first needed; what is lone or alone in a pass runs where it is asked for."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")

    def map(self, prepare: Callable[[T], R], values: Sequence[T], passes: int = 1) -> Iterator[R]:
        """`prepare` of each value, in order; all are under way once the first is asked for.

        With one thread and one pass there is nothing to run beside, so that hand-over is saved.
        """
        if len(values) < 2 or (self.threads == 1 and passes < 2):
            return map(prepare, values)
        return self._pool.map(prepare, values)
