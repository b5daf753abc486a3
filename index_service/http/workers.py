"""Thread pools for work that would block the event loop.

Each kind of work has a pool of its own, so that slow work never takes the last thread from searches or writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import faiss

from clip_core.cores import available_cores
from clip_core.heap import give_back
from clip_core.tracing.spans import carried

T = TypeVar("T")
_WRITERS = 4
_WAITERS, _LARGE_WAITERS = 64, 4  # for another process, which takes no core; the latter hold large answers


class Workers:
    """Reads, writes and large searches have several threads each; listings, facets and copies have one each.

    Work that `waits` for another process has threads of its own, so that one that hangs holds up nothing else.
    """

    def __init__(self, threads: int) -> None:
        """`threads` 0: one a core."""
        self._threads = threads or available_cores()
        self._readers = ThreadPoolExecutor(self._threads, "index-read")
        self._writers = ThreadPoolExecutor(_WRITERS, "index-write")
        self._waiters = ThreadPoolExecutor(_WAITERS, "index-wait")
        turns = max(1, self._threads // 2)
        self._large, self._listing = ThreadPoolExecutor(turns, "index-large"), ThreadPoolExecutor(1, "index-listing")
        self._large_waiters = ThreadPoolExecutor(_LARGE_WAITERS, "index-large-wait")
        self._counter, self._copier = ThreadPoolExecutor(1, "index-facets"), ThreadPoolExecutor(1, "index-copy")

    async def read(self, work: Callable[[], T], sharing: int = 1, *, waits: bool = False) -> T:
        """Run `work` in a thread for reads. FAISS uses the cores divided by `sharing`, the calls under way.

        One call alone uses all cores, many calls one each: more threads than cores would wait for each other.
        """
        if waits:
            return await self._waiting(work)
        threads = max(1, self._threads // sharing)

        def shared() -> T:
            faiss.omp_set_num_threads(threads)
            return work()

        return await asyncio.get_running_loop().run_in_executor(self._readers, carried(shared))

    async def large(self, work: Callable[[], T], *, listing: bool = False, waits: bool = False) -> T:
        """Run a large search or listing: few at a time, apart from all others, and their memory is given back."""

        def freed() -> T:
            faiss.omp_set_num_threads(max(1, self._threads // 2))
            try:
                return work()
            finally:
                give_back()

        pool = self._large_waiters if waits else self._listing if listing else self._large
        return await asyncio.get_running_loop().run_in_executor(pool, carried(freed))

    async def _waiting(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._waiters, carried(work))

    async def write(self, work: Callable[[], T], *, waits: bool = False) -> T:
        """Run `work` in a thread for writing."""
        if waits:
            return await self._waiting(work)
        return await asyncio.get_running_loop().run_in_executor(self._writers, carried(work))

    async def aside(self, work: Callable[[], T], *, waits: bool = False) -> T:
        """Run `work` that may read a whole collection's metadata, one after the other."""
        if waits:
            return await self._waiting(work)
        return await asyncio.get_running_loop().run_in_executor(self._counter, carried(work))

    async def copy(self, work: Callable[[], T]) -> T:
        """Run `work` that copies a whole collection, one after the other."""
        return await asyncio.get_running_loop().run_in_executor(self._copier, carried(work))

    def close(self) -> None:
        """Wait for what is under way; what only waits for a thread is dropped where that takes long."""
        self._readers.shutdown()
        self._writers.shutdown()
        for pool in (
            *(self._large, self._listing, self._large_waiters),
            *(self._waiters, self._counter, self._copier),
        ):
            pool.shutdown(cancel_futures=True)
