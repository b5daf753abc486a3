"""Snapshots: a collection as it was at one moment, in a file below the data folder; made and restored while in use.

A snapshot is read in one transaction of the record, so writes go on meanwhile and aren't in it. A restored collection
appears whole or not at all.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from clip_core.errors import NotFound, StorageFull, Unavailable
from clip_core.wire import COLLECTION_NAME
from index_service.collection.registry import Registry
from index_service.collection.stored import StoredCollection
from index_service.record.records import StoreName
from index_service.record.store import Store
from index_service.segments.segment_files import sync
from index_service.snapshots.hidden_copy import hidden_copy
from index_service.snapshots.parquet import read_info, read_items, write_parquet

SNAPSHOT_NAME = re.compile(rf"({COLLECTION_NAME})\.(\d{{8}}T\d{{12}})\.parquet")
_PART = ".part"


class Snapshots:
    """The snapshots in `folder`."""

    def __init__(self, folder: Path, store: Store, registry: Registry) -> None:
        self._folder, self._store, self._registry = folder, store, registry
        for part in folder.glob(f"*{_PART}"):  # a process died while it wrote this
            part.unlink()

    def create(self, collection: StoredCollection) -> dict[str, Any]:
        """Write a snapshot; described as in `all`. Raises StorageFull, and leaves nothing behind then."""
        now_us = time.time_ns() // 1000  # read once: newer snapshots have later names
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now_us // 1_000_000)) + f"{now_us % 1_000_000:06d}"
        path = self._folder / f"{collection.info.name}.{stamp}.parquet"
        part = path.with_suffix(_PART)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_parquet(part, collection.info, collection.stream())
            _publish(part, path)
        except OSError as error:
            raise StorageFull(f"the snapshot can't be written: {error}") from error
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
        return self._described(path)

    def all(self, collection: str | None = None) -> list[dict[str, Any]]:
        """`{"name", "collection", "created", "bytes"}` of each, by name; of one collection when it is given."""
        found: list[dict[str, Any]] = []
        for path in sorted(self._folder.glob("*.parquet")):
            if SNAPSHOT_NAME.fullmatch(path.name):
                with suppress(FileNotFoundError, ValueError):  # deleted meanwhile; named by no time that there is
                    found.append(self._described(path))
        return [one for one in found if collection in (None, one["collection"])]

    def path(self, name: str) -> Path:
        """The file. Raises NotFound."""
        path = self._folder / name
        if not SNAPSHOT_NAME.fullmatch(name) or not path.is_file():
            raise NotFound(f"there is no snapshot {name!r}", param="snapshot")
        return path

    def delete(self, name: str) -> None:
        """Remove the file. Raises NotFound."""
        self.path(name).unlink(missing_ok=True)

    def restore(self, name: str, snapshot: str, store: StoreName = "embedded") -> StoredCollection:
        """A new collection `name` from a snapshot, in that store.

        Raises NotFound, Conflict, InvalidRequest when it is damaged.
        """
        path = self.path(snapshot)
        self._registry.check_free(name, store)
        if store != "embedded":
            return self._registry.restore(replace(read_info(path, name), store=store), read_items(path))
        with hidden_copy(self._store, path, name) as copy:
            return self._registry.reveal(replace(copy, name=name))

    def _described(self, path: Path) -> dict[str, Any]:
        parts = SNAPSHOT_NAME.fullmatch(path.name)
        if parts is None:
            raise Unavailable(f"the snapshot {path.name} has an odd name")
        stamp = time.strptime(parts[2][:15], "%Y%m%dT%H%M%S")
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", stamp)
        return {"name": path.name, "collection": parts[1], "created": created, "bytes": path.stat().st_size}


def _publish(part: Path, path: Path) -> None:
    """Give a file its name once its content is on disk."""
    sync(part)
    part.rename(path)
    sync(part.parent)
