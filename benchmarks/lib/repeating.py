"""Something that happens again and again on a thread of its own, while something else is looked at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeating(work: Callable[[], object], pause_s: float = 0.0) -> Iterator[None]:
    """Around a block: `work` is called, with a pause before each time, until the block ends. It raises nothing."""
    stopped = threading.Event()

    def run() -> None:
        while not stopped.wait(pause_s):
            work()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
