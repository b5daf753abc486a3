"""Snapshots that wait in the data folder's `restore` become collections before anything is served.

The newest of each collection that is not there. A file is removed once its collection is there; a damaged one is told,
stays, and an older one takes its place. A process that dies meanwhile goes on at its next start.
"""

from __future__ import annotations

import logging
from pathlib import Path

from clip_core.errors import InvalidRequest
from index_service.record.store import Store
from index_service.segments.segment_files import remove_orphans
from index_service.snapshots.hidden_copy import hidden_copy
from index_service.snapshots.snapshot_files import SNAPSHOT_NAME

_log = logging.getLogger("index_service.snapshots.waiting")


def restore_waiting(folder: Path, store: Store) -> None:
    """Of a folder that need not be there. Raises StorageFull, Unavailable; what is left waits for the next start.

    Segments that the record knows nothing of go first: a new record gives a collection the number of a lost one.
    """
    there = store.collections()
    remove_orphans(store.path.parent, {info.key for info in there})
    held = {info.name for info in there} | {alias.name for alias in store.aliases()}
    for path in sorted(folder.glob("*.parquet"), reverse=True):  # the newest of a collection first
        name = _collection(path)
        if name is None:
            _log.warning("%s is no snapshot's name, such as shapes.20260102T030405000000.parquet", path.name)
        elif name in held or _restored(path, name, store):
            held.add(name)
            path.unlink(missing_ok=True)


def _collection(path: Path) -> str | None:
    parts = SNAPSHOT_NAME.fullmatch(path.name)
    return parts and parts[1]


def _restored(path: Path, name: str, store: Store) -> bool:
    try:
        with hidden_copy(store, path, name) as copy:
            store.rename_collection(copy.key, name)
    except InvalidRequest as error:
        _log.error("not restored: %s", error)
        return False
    _log.info("restored", extra={"collection": name, "snapshot": path.name})
    return True
