"""A snapshot's items in the record, under a name that no caller can give."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from clip_core.errors import ClipServeError
from index_service.record.store import CollectionInfo, Store
from index_service.segments.segment_files import SegmentFiles, segments_folder
from index_service.snapshots.parquet import read_info, read_items


@contextmanager
def hidden_copy(store: Store, path: Path, name: str) -> Iterator[CollectionInfo]:
    """The collection, for the block to call it `name`; it is forgotten when that fails.

    Raises InvalidRequest when the snapshot is damaged, StorageFull.
    """
    hidden = replace(read_info(path, name), name=f"{Store.HIDDEN}{time.time_ns()}")
    hidden = replace(hidden, key=store.add_collection(hidden))
    try:
        for items in read_items(path):
            store.upsert(hidden.key, items)
        yield hidden
    except BaseException:
        with suppress(ClipServeError):  # a full disk: it stays hidden, and the next start forgets it
            store.drop_collection(hidden.key)
        SegmentFiles(segments_folder(store.path.parent, hidden.key), hidden.dim).remove()
        raise
