"""The items of one collection in the order of writing, which Milvus can't give: it sorts by id only.

A window of numbers with a few thousand items at most is searched for by counting, its ids are sorted here, and only
what a page takes of them is read whole. The rest of the window is kept for the next page.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

from index_service.milvus.reading import MilvusReader, Moment
from index_service.milvus.rows import ITEM_FIELDS
from index_service.milvus.sequence import Sequence
from index_service.record.records import ItemChunk, StoredItem

_MOST = 8192  # items of a window


class _Window(NamedTuple):
    """All items of the numbers beyond `start` up to `end`: (number, id), ascending; as of `moment`."""

    start: int
    end: int
    entries: list[tuple[int, str]]
    moment: Moment
    last: bool = False  # nothing beyond it was written by then


class Follower:
    """Of one collection. Whatever reads are to see otherwise, these see every write that any replica acknowledged."""

    def __init__(self, reader: MilvusReader, sequence: Sequence) -> None:
        self._reader, self._sequence = reader, sequence
        self._lock, self._kept = threading.Lock(), _Window(0, 0, [], Moment("strong", 0))

    def since(self, seq: int, limit: int) -> ItemChunk:
        """The next `limit` items of larger numbers than `seq`, fewer where there were no more when they were read.

        At most one window is waited for, so that somebody who writes all the time keeps no reader here.
        """
        seqs, items = list[int](), list[StoredItem]()
        while len(items) < limit:
            window = self._window(seq)
            wanted = [entry for entry in window.entries if entry[0] > seq][: limit - len(items)]
            if not wanted:
                if window.last:
                    break
                seq = window.end
                continue
            found = self._read(wanted, window.moment)
            for number, id_ in wanted:
                item = found.get((number, id_))
                if item is not None:  # else it was written again or deleted since
                    seqs.append(number)
                    items.append(item)
            seq = wanted[-1][0]
            if items and window.last and seq == window.entries[-1][0]:
                break
        return ItemChunk(seqs, items)

    def _read(self, wanted: list[tuple[int, str]], moment: Moment) -> dict[tuple[int, str], StoredItem]:
        found: dict[tuple[int, str], StoredItem] = {}
        for columns in self._reader.by_ids([id_ for _, id_ in wanted], [*ITEM_FIELDS, "seq"], moment):
            found.update(
                zip(zip(columns.numbers("seq"), columns.texts("id"), strict=True), columns.items(), strict=True)
            )
        return found

    def _window(self, seq: int) -> _Window:
        """One that holds the items that follow `seq`, if there are any; none of them is still to become visible."""
        with self._lock:
            kept = self._kept
        if kept.start <= seq < kept.end and kept.entries and kept.entries[-1][0] > seq:
            return kept
        bound = self._sequence.bound()  # before the moment, so that this one shows all up to there
        moment = self._now()
        end = self._end(seq, bound, moment)
        window = self._read_window(seq, end, moment)
        if window.entries:
            self._sequence.settle(window.entries[-1][0])
            window = self._read_window(seq, end, self._now())
        window = window._replace(last=end == bound)
        with self._lock:
            self._kept = window
        return window

    def _now(self) -> Moment:
        """The same as strong, but for that later reads of the same moment wait no more."""
        return Moment("session", self._sequence.tick())

    def _end(self, start: int, end: int, moment: Moment) -> int:
        """The largest number up to which few enough items follow `start`: halved until they are."""
        least = start
        if self._count(start, end, moment) <= _MOST:
            return end
        while end - least > 1:
            middle = (least + end) // 2
            count = self._count(start, middle, moment)
            if count > _MOST:
                end = middle
            elif count > _MOST // 4:
                return middle
            else:
                least = middle
        return least if self._count(start, least, moment) else end

    def _count(self, start: int, end: int, moment: Moment) -> int:
        return self._reader.count(f"seq > {start} and seq <= {end}", moment)

    def _read_window(self, start: int, end: int, moment: Moment) -> _Window:
        entries: list[tuple[int, str]] = []
        for columns in self._reader.pages(f"seq > {start} and seq <= {end}", ["id", "seq"], moment):
            entries += zip(columns.numbers("seq"), columns.texts("id"), strict=True)
        return _Window(start, end, sorted(entries), moment)
