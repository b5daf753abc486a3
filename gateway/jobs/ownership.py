"""Which jobs this gateway works on: all of its own folder, or those that it leased from a database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Mapping
from typing import Protocol

from clip_core.errors import Conflict, DatabaseUnavailable
from gateway.jobs.job_lock import JobLock
from gateway.jobs.shared_store import SharedJobStore
from gateway.jobs.store import JobStore

_LOOKS_A_LEASE = 5  # so that one that failed costs no lease
_log = logging.getLogger("gateway.jobs")
Spawn = Callable[[str], None]
Tasks = Mapping[str, asyncio.Task[None]]


class Ownership(Protocol):
    async def start(self) -> None:
        """Go on with what an earlier process left unfinished."""

    async def before_a_change(self) -> None:
        """Raises Conflict where this gateway may not change jobs."""

    def queued(self, job_id: str) -> None:
        """There is one more to be worked on."""

    async def stop(self) -> None:
        """Begin no job any more."""

    async def release(self) -> None:
        """Once none is worked on here: others may."""


class OfAFolder:
    """All jobs of a data folder, unless another gateway has its lock."""

    def __init__(self, store: JobStore, spawn: Spawn) -> None:
        assert store.path is not None
        self._store, self._spawn, self._file = store, spawn, store.path
        self._lock = JobLock(self._file.with_suffix(".lock"))
        self._owning, self._owned = asyncio.Lock(), False

    async def start(self) -> None:
        if not self._file.exists():
            return
        try:
            await self.before_a_change()
        except Conflict as error:
            _log.warning("this gateway runs no jobs: %s", error.message)

    async def before_a_change(self) -> None:
        """Once, before this process adds a job."""
        async with self._owning:
            if not self._owned:
                await asyncio.to_thread(self._lock.take)
                for job_id in await asyncio.to_thread(self._store.unfinished):
                    self._spawn(job_id)
                self._owned = True

    def queued(self, job_id: str) -> None:
        self._spawn(job_id)

    async def stop(self) -> None:
        """Jobs begin with calls only."""

    async def release(self) -> None:
        self._lock.release()


class Leases:
    """Leases jobs of a database while fewer than `width` are worked on here; tells when one is lost.

    What is in `left_alone` is being cancelled, while the record still says that it runs.
    """

    def __init__(
        self, store: SharedJobStore, tasks: Tasks, spawn: Spawn, width: int, left_alone: Container[str]
    ) -> None:
        self._store, self._tasks, self._spawn, self._width = store, tasks, spawn, width
        self._left_alone = left_alone
        self._due = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._away = False

    async def start(self) -> None:
        self._looking = asyncio.create_task(self._look_again_and_again())

    async def before_a_change(self) -> None:
        """Any gateway may."""

    def queued(self, job_id: str) -> None:  # noqa: ARG002
        self._due.set()

    async def stop(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def release(self) -> None:
        try:
            await asyncio.to_thread(self._store.release)
        except DatabaseUnavailable as error:
            _log.warning("the jobs of this gateway wait until their leases end: %s", error.message)

    async def _look_again_and_again(self) -> None:
        while True:
            try:
                await self._look()
                self._away = False
            except DatabaseUnavailable as error:
                if not self._away:
                    _log.error("jobs wait: %s", error.message)
                self._away = True
            except Exception:  # the next time may go well
                _log.exception("leases of jobs were not renewed")
            try:
                await asyncio.wait_for(self._due.wait(), self._store.lease_s / _LOOKS_A_LEASE)
            except asyncio.TimeoutError:
                continue

    async def _look(self) -> None:
        self._due.clear()
        ours = await asyncio.to_thread(self._store.renew)
        for job_id, task in list(self._tasks.items()):
            if job_id not in ours:
                task.cancel()  # cancelled through another gateway, or lost to one
        for job_id in ours:
            if job_id not in self._tasks and job_id not in self._left_alone:  # it stopped while the database was away
                self._spawn(job_id)
        while len(self._tasks) < self._width:
            claimed = await asyncio.to_thread(self._store.claim)
            if claimed is None:
                return
            self._spawn(claimed)
