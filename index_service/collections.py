"""One collection: writes go to the record first, then into a new `View`; merges happen in the background.

Invariant: `view` is replaced whole and only after the record has committed, so a search that starts after a write
was acknowledged sees it, and no search ever waits for a writer or for a merge.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson

from clip_core.errors import UnknownCollection, UnknownItem
from clip_core.wire import FloatArray
from index_service.backends.approximate import ApproximateSegment
from index_service.backends.base import IntArray, Segment
from index_service.backends.exact import ExactSegment
from index_service.engines import Engines, describe_engine
from index_service.recall import RecallTally
from index_service.segments import GrowingMatrix, Rows, View, empty_view, view_of
from index_service.store import CollectionInfo, Item, Store

_RECENT_QUERIES = 64


class Collection:
    """`view` is what searches read; everything that writes holds the lock."""

    def __init__(self, info: CollectionInfo, store: Store, engines: Engines) -> None:
        self.info = info
        self.view = empty_view(info.dim)
        self.dropped = False
        self.recall = RecallTally()
        self._recent: deque[FloatArray] = deque(maxlen=_RECENT_QUERIES)
        self._store, self._engines = store, engines
        self._row_of: dict[str, int] = {}
        self._lock, self._merging = threading.Lock(), threading.Lock()

    def load(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Read all items from the record into an exact main segment; a merge gives it its engine later."""
        matrix = np.empty((self._store.count(self.info.key), self.info.dim), np.float32)
        ids: list[str] = []
        metadata: list[bytes] = []
        for items in self._store.stream(self.info.key):
            if cancelled():
                return
            vectors = np.frombuffer(b"".join(item.vector for item in items), "<f4").reshape(len(items), -1)
            matrix[len(ids) : len(ids) + len(items)] = vectors
            ids += [item.id for item in items]
            metadata += [item.metadata for item in items]
        self._row_of = {id_: row for row, id_ in enumerate(ids)}
        self.view = view_of(ExactSegment(matrix), ids, metadata)

    def upsert(self, items: Sequence[Item], vectors: FloatArray) -> None:
        """Write `items`, whose ids differ, with their unit `vectors` (N, D); durable and visible on return."""
        if not items:
            return
        with self._lock:
            self._check_open()
            self._store.upsert(self.info.key, items)
            self.view = self._with(items, vectors)

    def _with(self, items: Sequence[Item], vectors: FloatArray) -> View:
        view, rows = self.view, self.view.rows
        alive = np.concatenate((view.alive, np.ones(len(items), np.bool_)))
        live = view.live + len(items)
        for row, item in enumerate(items, view.count):
            old = self._row_of.get(item.id)
            if old is not None:
                alive[old], live = False, live - 1
            self._row_of[item.id] = row
        rows.ids.extend(item.id for item in items)
        rows.metadata.extend(item.metadata for item in items)
        return View(rows, rows.delta.append(vectors), alive, live)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete the items of these ids; how many there were."""
        with self._lock:
            self._check_open()
            return self._delete([id_ for id_ in dict.fromkeys(ids) if id_ in self._row_of])

    def delete_where(self, where: bytes) -> int:
        """Delete every item that the canonical filter lets through; how many there were."""
        self.view.allowed(where)  # most of the work, before anyone has to wait
        with self._lock:
            self._check_open()
            view = self.view
            places = np.flatnonzero(view.alive & view.rows.masks.mask(where, view.count))
            return self._delete([view.rows.ids[row] for row in places.tolist()])

    def _delete(self, ids: Sequence[str]) -> int:
        if ids:
            self._store.delete(self.info.key, ids)
            view, alive = self.view, self.view.alive.copy()
            alive[[self._row_of.pop(id_) for id_ in ids]] = False
            self.view = View(view.rows, view.delta, alive, view.live - len(ids))
        return len(ids)

    def get(self, id_: str) -> Item:
        """The item as recorded. Raises UnknownItem."""
        item = self._store.get(self.info.key, id_)
        if item is None:
            raise UnknownItem(f"there is no item {id_!r} in the collection {self.info.name}", param="id")
        return item

    def page(self, after: str, limit: int) -> list[tuple[str, bytes]]:
        """(id, metadata) of the next `limit` items by id."""
        return self._store.page(self.info.key, after, limit)

    def drop(self) -> None:
        """Delete the collection from the record; later writes get 404."""
        with self._lock:
            self._check_open()
            self._store.drop_collection(self.info.key)
            self.dropped = True

    def _check_open(self) -> None:
        if self.dropped:
            raise UnknownCollection(f"the collection {self.info.name} was deleted", param="collection")

    def note_query(self, query: FloatArray) -> None:
        """Remember a query (D,) to measure recall on, when the collection has a recall target."""
        if self.info.recall_target is not None:
            self._recent.append(query.copy())

    def merge_due(self) -> bool:
        """Whether a merge would pay now."""
        view = self.view
        return self._engines.merge_due(view.count - len(view.delta), len(view.delta), view.count - view.live)

    def engine_due(self) -> bool:
        """Whether the main segment isn't of the engine that it should have, as after a start."""
        main = self.view.rows.main
        return main.engine != self._engines.choose(self.info, len(main.vectors)).engine

    def compact(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Merge main segment, delta and tombstones into a new main segment, and swap it in.

        Raises BuildCancelled when `cancelled()` turns true or the collection is dropped meanwhile.
        """
        with self._merging:
            old = self.view
            live = np.flatnonzero(old.alive)
            recent = list(self._recent)
            backend = self._engines.choose(self.info, len(live), np.stack(recent) if recent else None)
            main = backend.build(old.vectors_of(live), lambda: cancelled() or self.dropped)
            ids = [old.rows.ids[row] for row in live.tolist()]
            metadata = [old.rows.metadata[row] for row in live.tolist()]
            row_of = {id_: row for row, id_ in enumerate(ids)}
            with self._lock:
                self._swap(old, live, Rows(main, GrowingMatrix(self.info.dim), ids, metadata, old.rows.masks), row_of)

    def _swap(self, old: View, live: IntArray, rows: Rows, row_of: dict[str, int]) -> None:
        """Bring `rows`, built from the `live` rows of `old`, up to what was written since."""
        now, size = self.view, len(live)
        alive = np.concatenate((now.alive[live], now.alive[old.count :]))
        for row in np.flatnonzero(~alive[:size]).tolist():
            del row_of[rows.ids[row]]
        rows.ids.extend(now.rows.ids[old.count :])
        rows.metadata.extend(now.rows.metadata[old.count :])
        row_of.update((rows.ids[row], row) for row in (np.flatnonzero(alive[size:]) + size).tolist())
        masks = now.rows.masks.carried(rows.metadata, live)
        delta = rows.delta.append(now.delta[len(old.delta) :])
        merged = Rows(rows.main, rows.delta, rows.ids, rows.metadata, masks)
        self._row_of = row_of
        self.view = View(merged, delta, alive, now.live)

    def describe(self) -> dict[str, Any]:
        """The collection as the API shows it."""
        info, view = self.info, self.view
        return {
            "name": info.name,
            "model": info.model,
            "fingerprint": info.fingerprint,
            "dim": info.dim,
            **describe_engine(info.engine),
            "recall_target": info.recall_target,
            "count": view.live,
            "created": info.created,
            "metadata": orjson.Fragment(info.metadata),
            "segment": _describe_segment(view.rows.main, view),
            "recall": self.recall.describe(),
        }


def _describe_segment(main: Segment, view: View) -> dict[str, Any]:
    delta = len(view.delta)
    return {
        "engine": main.engine,
        **(main.described if isinstance(main, ApproximateSegment) else {}),
        "rows": view.count - delta,
        "delta": delta,
        "tombstones": view.count - view.live,
    }
