"""A process that writes until it is killed, for `test_kill_9`: it tells what it is about to do, and that it is done."""

from __future__ import annotations

import itertools
import random
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from index_service.collection.collection import Collection
from index_service.collection.patches import ItemPatch, PatchBatch
from index_service.collection.registry import Registry
from index_service.record.store import CollectionInfo, Store
from index_service.settings import IndexSettings
from index_service.snapshots.snapshot_files import Snapshots
from tests.index_service.helpers import item, unit_rows

DIM = 16
POOL = 300  # ids are taken again, so that upserts replace and tombstones arise
VECTORS = unit_rows(POOL, DIM)


def run(folder: Path, seed: int, pipe: Connection) -> None:
    """Send what there is, then for each write `(kind, version, ids)` before it and `None` once it is acknowledged."""
    store = Store(folder / "index.sqlite3")
    registry = Registry(store, IndexSettings(data_dir=folder, merge_min_rows=20))
    registry.load()
    snapshots = Snapshots(folder / "snapshots", store, registry)
    check_restored(registry, snapshots)
    collection, _ = registry.create(CollectionInfo("c", "m", "f", DIM))
    pipe.send(contents(collection))
    threading.Thread(target=_merge, args=(collection,), daemon=True).start()
    threading.Thread(target=_snapshot, args=(collection, registry, snapshots), daemon=True).start()
    for version in itertools.count(seed):
        _write(collection, version, pipe)


def contents(collection: Collection) -> dict[str, int]:
    """id → version as searches see it, after checking that the record says the same."""
    view, record = collection.view, dict(collection.page("", POOL))
    rows = view.search(VECTORS, 1, None, True)[1][:, 0].tolist() if view.live else []
    nearest = {view.rows.ids[row]: view.rows.metadata[row] for row in rows}
    assert {id_: text for id_, text in nearest.items() if id_ in record} == record
    assert view.live == len(record)
    return {id_: int(text.split(b":")[1].rstrip(b"}")) for id_, text in record.items()}


def _write(collection: Collection, version: int, pipe: Connection) -> None:
    choice = random.Random(version)
    kind, numbers = (
        choice.choice(("upsert", "upsert", "patch", "delete")),
        choice.sample(range(POOL), choice.randint(1, 40)),
    )
    pipe.send((kind, version, [f"i{n}" for n in numbers]))
    if kind == "upsert":
        collection.upsert([item(f"i{n}", VECTORS[n], {"v": version}) for n in numbers], VECTORS[numbers])
    elif kind == "patch":
        collection.patch(PatchBatch([ItemPatch(f"i{n}", {"v": version}) for n in numbers], None, 100))
    else:
        collection.delete([f"i{n}" for n in numbers])
    pipe.send(None)


def _merge(collection: Collection) -> None:
    while True:
        collection.merge()


def _snapshot(collection: Collection, registry: Registry, snapshots: Snapshots) -> None:
    """Make one, restore it, and take both away again, for ever."""
    while True:
        made = snapshots.create(collection)["name"]
        snapshots.restore("copy", made)
        registry.drop("copy")
        snapshots.delete(made)


def check_restored(registry: Registry, snapshots: Snapshots) -> None:
    """What the process before left of snapshots is whole: each can be restored, and `copy` is all of one or absent."""
    found = [collection for collection in registry.all() if collection.info.name == "copy"]
    for snapshot in snapshots.all():
        whole = contents(snapshots.restore("check", snapshot["name"]))
        registry.drop("check")
        assert all(contents(copy) == whole for copy in found)
        snapshots.delete(snapshot["name"])
    for copy in found:
        contents(copy)
        registry.drop("copy")


def applied(state: dict[str, int], operation: tuple[str, int, list[str]]) -> dict[str, int]:
    """The state after `operation`."""
    kind, version, ids = operation
    if kind == "patch":
        return {id_: version if id_ in ids else old for id_, old in state.items()}
    after: dict[str, Any] = {id_: old for id_, old in state.items() if id_ not in ids}
    return {**after, **dict.fromkeys(ids, version)} if kind == "upsert" else after
