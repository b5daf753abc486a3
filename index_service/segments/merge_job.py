"""A merge's work on files: the rows of a new main segment, copied from the one before and from the record, its engine
over them, and all of it forced to disk.

It needs nothing that the service holds in memory, so for many rows a process of its own does it (`builder_processes`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from index_service.engines.base import Backend, BuildCancelled, Segment
from index_service.metadata.columns import Packed, RowBlock, matched
from index_service.record.reading import RecordReader
from index_service.record.records import ItemChunk
from index_service.segments.segment_files import Draft, mapped_rows

_COPY_ROWS = 64  # that are copied between two pauses, for searches to go on


@dataclass(frozen=True)
class MergeJob:
    """Writes into `draft` the rows that the collection `key` has in the database `record`.

    Those that the segment in the folder `before` has too are copied from there; None where there is no segment.
    """

    record: Path
    key: int
    before: Path | None
    draft: Draft
    backend: Backend

    def run(self, cancelled: Callable[[], bool] = lambda: False, *, pauses: bool = False) -> tuple[Segment, RowBlock]:
        """The segment and its rows, mapped. With `pauses` half of the time of copying is left to other threads.

        Raises BuildCancelled soon after `cancelled()` turns true; OSError; what reading the record raises.
        """
        with self.draft.writer() as writer:
            for block in _paced(self._rows()) if pauses else self._rows():
                if cancelled():
                    raise BuildCancelled
                writer.append(block)
            block = writer.mapped()
            segment = self.backend.build(block.vectors, cancelled)
            writer.save(segment)
        return segment, block

    def _rows(self) -> Iterator[RowBlock]:
        """All rows, ascending. A row that is written or deleted meanwhile may be among them or not."""
        reader, last = RecordReader(self.record), 0
        if self.before is not None:
            block = mapped_rows(self.before, self.draft.dim)
            last = int(block.seqs[-1]) if len(block.seqs) else 0
            kept = np.flatnonzero(matched(block.seqs, reader.seqs(self.key))[1])
            yield from (block.taken(kept[start : start + _COPY_ROWS]) for start in range(0, len(kept), _COPY_ROWS))
        yield from (rows_of(chunk, self.draft.dim) for chunk in reader.stream(self.key, last))


def rows_of(chunk: ItemChunk, dim: int) -> RowBlock:
    """Rows of the record as columns, with vectors of `dim` numbers."""
    vectors = np.frombuffer(b"".join(item.vector for item in chunk.items), "<f4").reshape(-1, dim)
    ids = Packed.of([item.id.encode() for item in chunk.items])
    return RowBlock(np.array(chunk.seqs), vectors, ids, Packed.of([item.metadata for item in chunk.items]))


def _paced(blocks: Iterable[RowBlock]) -> Iterator[RowBlock]:
    """The same blocks, with a pause after each as long as it took."""
    for block in blocks:
        started = time.perf_counter()
        yield block
        time.sleep(time.perf_counter() - started)
