"""A job's source → batches: what is settled at once, and items to be added, as many as a call should hold."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import orjson

from clip_core.errors import BadInput, ImageTooLarge
from clipserve_client.answers.answers import Limits
from clipserve_client.ingest.results import Result
from clipserve_client.inputs.inputs import NewItem
from clipserve_client.sources.entries import Entry, Source, SourceError
from clipserve_client.sources.planning import Known, Planner
from gateway.jobs.store import Job, JobStore, Outcome

_BATCH_BYTES = 6 * 1024 * 1024  # of pictures
_MOST_SETTLED = 500  # so that progress is seen, and recorded


@dataclass
class Batch:
    """`settled` have their outcome; `items` are to be added, each with what to remember of it."""

    settled: list[Outcome] = field(default_factory=list)
    items: list[tuple[NewItem, Known | None]] = field(default_factory=list)
    bytes: int = 0
    places: dict[str, int] = field(default_factory=dict)  # by id

    def in_order(self, outcomes: Iterable[Outcome]) -> list[Outcome]:
        """As their entries came."""
        return sorted(outcomes, key=lambda told: self.places.get(told.item, -1))

    def __bool__(self) -> bool:
        return bool(self.settled or self.items)

    def is_full(self, most: int) -> bool:
        return len(self.items) >= most or self.bytes >= _BATCH_BYTES or len(self.settled) >= _MOST_SETTLED

    def add(self, item: NewItem, known: Known | None) -> None:
        self.items.append((item, known))
        content = item.image if item.image is not None else item.text
        self.bytes += len(content) if isinstance(content, bytes | str) else 0


class JobMemory:
    """What jobs put into a collection. `again`: only what this job itself did."""

    def __init__(self, store: JobStore, job: Job, collection: str, again: bool) -> None:
        self._store, self._job, self.collection, self._again = store, job, collection, again
        self.restamped: dict[str, Known] = {}

    def known(self, item_id: str) -> Known | None:
        if self._again and not self._store.is_in(self._job.id, item_id):
            return None
        return self._store.known(self.collection, item_id)

    def remember(self, items: Iterable[tuple[str, Known]]) -> None:
        """Recorded with the batch."""
        self.restamped.update(items)


class JobReader:
    """Read in threads, by one call at a time. `present` says whether an id is in the collection, `shown` how a path of
    this machine is named to callers.
    """

    def __init__(
        self,
        store: JobStore,
        job: Job,
        source: Source,
        memory: JobMemory,
        limits: Limits,
        present: Callable[[str], bool],
        prefix: str = "",
        shown: Callable[[str], str] = os.path.basename,
    ) -> None:
        self._store, self._job, self._source, self._memory = store, job, source, memory
        self._planner = Planner(
            memory, limits, present, prefix=prefix, scales=False, shown=shown, prefix_option="`prefix`"
        )
        self._prefix = prefix
        self._entries = source.entries()
        self._error: SourceError | None = None

    def next(self, most: int) -> Batch:
        """Empty at the end. Raises SourceError, after the batch of what came before it."""
        if self._error is not None:
            raise self._error
        batch = Batch()
        try:
            self._fill(batch, most)
        except SourceError as error:
            if not batch:
                raise
            self._error = error
        return batch

    def _fill(self, batch: Batch, most: int) -> None:
        while not batch.is_full(most):
            entry = next(self._entries, None)
            if entry is None:
                break
            self._take(entry, batch)

    def _take(self, entry: Entry | Result, batch: Batch) -> None:
        item_id = entry.id if isinstance(entry, Result) else self._prefix + entry.id
        if item_id in batch.places or self._store.seen(self._job, item_id):
            batch.settled.append(_duplicate(item_id))
            return
        batch.places[item_id] = len(batch.places)
        thing, known = self._planner.plan(entry)
        if isinstance(thing, NewItem):
            batch.add(thing, known)
        else:
            batch.settled.append(_settled(thing, self._memory.restamped.pop(item_id, None)))

    def close(self) -> None:
        """Files are closed with the iterator; one that a thread still reads closes when that ends."""
        with suppress(ValueError):
            self._entries.close()
        with suppress(ValueError):
            self._source.close()


def _settled(result: Result, known: Known | None) -> Outcome:
    if result.outcome == "unchanged":
        return Outcome(result.id, "unchanged", known=known)
    kind = ImageTooLarge if result.code.startswith("too ") else BadInput
    message = f"{result.code}: {result.message}" if result.message else result.code
    error = orjson.dumps(kind(message).to_dict()["error"]).decode()
    return Outcome(result.id, result.outcome, result.code, error, notes=result.notes)


def _duplicate(item_id: str) -> Outcome:
    error = BadInput("duplicate_id: another entry of this source has the same id; the first one counts")
    return Outcome(item_id, "failed", "duplicate_id", orjson.dumps(error.to_dict()["error"]).decode(), again=True)
