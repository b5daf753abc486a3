"""Background jobs: a source's entries → a collection, batch by batch, each batch recorded before the next begins."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from clip_core.errors import ClipServeError, Conflict, Overloaded, Unavailable, WorkerLost
from gateway.ingest.ingester import Ingester
from gateway.ingest.items import parse_items
from gateway.inputs.parser import InputParser
from gateway.jobs.entries import Entry, EntrySource
from gateway.jobs.sources import open_source
from gateway.jobs.store import UNFINISHED, Failure, Job, JobStore, now
from gateway.keys.api_key import ApiKey, current_key_id, set_current_key

_log = logging.getLogger("gateway.jobs")
_LONGEST_PAUSE_S = 30.0
_TRY_AGAIN = (429, 503)
_MOST_LOSSES = 3  # of workers to one batch: one of its items may be the reason
SCOPE = "write"


class Jobs:
    """Runs at most `width` jobs at a time. A part that is down is waited for; a bad item is set aside.

    `key_of` finds the key of a job before each batch: a job does what its key may do at that moment, also after a
    restart, and counts against its limits. Raises Unauthorized, which ends the job.
    """

    def __init__(
        self,
        store: JobStore,
        ingester: Ingester,
        parser: InputParser,
        roots: Mapping[str, Path],
        key_of: Callable[[str | None], ApiKey],
        *,
        batch: int = 32,
        width: int = 1,
        first_pause_s: float = 0.5,
    ) -> None:
        self.store = store
        self._ingester, self._parser, self._roots, self._key_of = ingester, parser, roots, key_of
        self._batch, self._first_pause_s = batch, first_pause_s
        self._slots = asyncio.Semaphore(width)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Go on with what an earlier process left unfinished."""
        for job_id in await asyncio.to_thread(self.store.unfinished):
            self._spawn(job_id)

    async def stop(self) -> None:
        """Let go of everything; unfinished jobs stay so in the record."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self.store.close()

    async def submit(self, collection: str, source: Mapping[str, Any]) -> Job:
        """Raises Forbidden, NotFound or BadInput about the source, before there is a job."""
        await asyncio.to_thread(self._open, source)
        job = await asyncio.to_thread(self.store.add, collection, dict(source), current_key_id())
        self._spawn(job.id)
        return job

    async def cancel(self, job_id: str) -> Job:
        """What is in stays in. Raises UnknownJob, or Conflict when it has ended already."""
        job = await asyncio.to_thread(self.store.get, job_id)
        if job.state not in UNFINISHED:
            raise Conflict(f"the job has ended already ({job.state})")
        task = self._tasks.pop(job_id, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await asyncio.to_thread(self.store.update, job_id, state="cancelled", finished=now(), message=None)
        return await asyncio.to_thread(self.store.get, job_id)

    async def retry(self, job_id: str) -> Job:
        """What was set aside, and what a cancelled or failed job had not come to. Raises UnknownJob or Conflict."""
        job = await asyncio.to_thread(self.store.get, job_id)
        if job.state == "completed" and await asyncio.to_thread(self.store.failed, job_id) == 0:
            raise Conflict("nothing of this job was set aside")
        if not await asyncio.to_thread(self.store.retry, job_id, current_key_id()):
            raise Conflict("the job has not ended yet")
        self._spawn(job_id)
        return await asyncio.to_thread(self.store.get, job_id)

    def _open(self, source: Mapping[str, Any]) -> EntrySource:
        return open_source(source, self._roots, self._parser.max_image_bytes)

    def _spawn(self, job_id: str) -> None:
        """In a context of its own: the work has neither the deadline nor the id of the request that asked for it."""
        task = contextvars.Context().run(asyncio.create_task, self._in_slot(job_id))
        self._tasks[job_id] = task
        task.add_done_callback(lambda done: self._forget(job_id, done))

    def _forget(self, job_id: str, done: asyncio.Task[None]) -> None:
        if self._tasks.get(job_id) is done:
            del self._tasks[job_id]

    async def _in_slot(self, job_id: str) -> None:
        async with self._slots:
            state, error = "completed", None
            try:
                await self._run(job_id)
            except ClipServeError as failed:
                state, error = "failed", failed
            except Exception:
                _log.exception("a job failed", extra={"job": job_id})
                state, error = "failed", ClipServeError("the gateway failed on this job; its log has the details")
            text = None if error is None else orjson.dumps(error.to_dict()["error"]).decode()
            await asyncio.to_thread(self.store.update, job_id, state=state, error=text, finished=now(), message=None)

    async def _run(self, job_id: str) -> None:
        job = await asyncio.to_thread(self.store.get, job_id)
        source = await asyncio.to_thread(self._open, orjson.loads(job.source))
        total, again = await asyncio.to_thread(source.count), await asyncio.to_thread(self.store.to_retry, job_id)
        await asyncio.to_thread(self.store.update, job_id, state="running", total=total)
        entries = source.entries(lambda place: place >= job.position or place in again)
        with contextlib.closing(_Reader(entries, self._batch)) as reader:
            while batch := await asyncio.to_thread(reader.next):
                await self._add(job, batch)
        if total is None:
            position = (await asyncio.to_thread(self.store.get, job_id)).position
            await asyncio.to_thread(self.store.update, job_id, total=position)

    async def _add(self, job: Job, batch: Sequence[Entry]) -> None:
        started = time.monotonic()
        outcomes: dict[int, dict[str, Any] | None] = {
            entry.place: entry.item.to_dict()["error"] for entry in batch if isinstance(entry.item, ClipServeError)
        }
        todo = [entry for entry in batch if entry.place not in outcomes]
        pause, losses = self._first_pause_s, 0
        while todo:
            results = await self._try(job, todo)
            answered = list(zip(todo, results, strict=True))
            losses += any(_lost(error) for _, (_, error) in answered)
            again = {entry.place for entry, result in answered if _will_pass(*result, losses)}
            outcomes |= {entry.place: error for entry, (_, error) in answered if entry.place not in again}
            todo = [entry for entry in todo if entry.place in again]
            if todo:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
        await self._record(job, batch, outcomes, time.monotonic() - started)

    async def _try(self, job: Job, entries: Sequence[Entry]) -> list[tuple[int, dict[str, Any] | None]]:
        """(status, error) of each; what concerns the key or the collection is raised, what will pass is a status."""
        self._act_for(job)
        items = parse_items({"items": [entry.item for entry in entries]}, self._parser, len(entries))
        try:
            results = await self._ingester.add(job.collection, items)
        except (Unavailable, Overloaded) as error:
            results = [{"status": error.status, **error.to_dict()}] * len(entries)
        waiting = next((result["error"]["message"] for result in results if result["status"] in _TRY_AGAIN), None)
        if waiting is not None:
            await asyncio.to_thread(self.store.update, job.id, message=f"waiting: {waiting}")
        return [(result["status"], result.get("error")) for result in results]

    def _act_for(self, job: Job) -> None:
        """From here on as the job's key. Raises Unauthorized, ScopeMissing or CollectionForbidden."""
        key = self._key_of(job.key)
        key.check_scope(SCOPE)
        key.check_collection(job.collection)
        set_current_key(key)

    async def _record(
        self, job: Job, batch: Sequence[Entry], outcomes: Mapping[int, dict[str, Any] | None], seconds: float
    ) -> None:
        good = [place for place, error in outcomes.items() if error is None]
        failures = [
            Failure(entry.place, entry.id, orjson.dumps(outcomes[entry.place]).decode())
            for entry in batch
            if outcomes[entry.place] is not None
        ]
        await asyncio.to_thread(self.store.advance, job.id, batch[-1].place + 1, good, failures, seconds)


def _lost(error: dict[str, Any] | None) -> bool:
    return error is not None and error["code"] == WorkerLost.code


def _will_pass(status: int, error: dict[str, Any] | None, losses: int) -> bool:
    return status in _TRY_AGAIN and (losses < _MOST_LOSSES or not _lost(error))


class _Reader:
    """Batches of an iterator that blocks; read in threads, by one call at a time."""

    def __init__(self, entries: Iterator[Entry], batch: int) -> None:
        self._entries, self._batch = entries, batch

    def next(self) -> list[Entry]:
        return list(itertools.islice(self._entries, self._batch))

    def close(self) -> None:
        """Files are closed with the iterator; one that a thread still reads closes when that ends."""
        with contextlib.suppress(ValueError):
            getattr(self._entries, "close", lambda: None)()
