"""Items in chunks: several passes of a tower each, so that the next pass's pictures are decoded meanwhile.

A background thread reads the next chunk while one is encoded. Where chunks end depends on the items alone.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

from scripts.bulk.reading.items import Bad, Raw

T = TypeVar("T")
PASSES = 4
_MOST_BYTES = 64 * 1024 * 1024  # of a chunk's pictures


def chunks(items: Iterable[Raw | Bad], batch: int) -> Iterator[list[Raw | Bad]]:
    """Raises what `items` raises, after the items before."""
    chunk: list[Raw | Bad] = []
    size = 0
    try:
        for item in items:
            chunk.append(item)
            size += len(item.content or b"") if isinstance(item, Raw) else 0
            if len(chunk) >= PASSES * batch or size >= _MOST_BYTES:
                yield chunk
                chunk, size = [], 0
    except Exception:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk


class InBackground(Generic[T]):
    """One thing of `things` is made ahead, on a thread. Raises what `things` raises, at its place."""

    _END = object()

    def __init__(self, things: Iterable[T]) -> None:
        self._things, self._stop = things, threading.Event()
        self._queue: queue.Queue[object] = queue.Queue(1)
        self._thread = threading.Thread(target=self._run, name="read ahead", daemon=True)

    def __iter__(self) -> Iterator[T]:
        self._thread.start()
        while (thing := self._queue.get()) is not self._END:
            if isinstance(thing, BaseException):
                raise thing
            yield thing  # type: ignore[misc]

    def close(self) -> None:
        self._stop.set()
        while self._thread.is_alive():
            with suppress(queue.Empty):
                self._queue.get(timeout=0.05)

    def _run(self) -> None:
        try:
            for thing in self._things:
                self._put(thing)
                if self._stop.is_set():
                    break
        except BaseException as error:
            self._put(error)
        finally:
            self._put(self._END)

    def _put(self, thing: object) -> None:
        while not self._stop.is_set():
            with suppress(queue.Full):
                self._queue.put(thing, timeout=0.1)
                return
