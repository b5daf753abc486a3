"""Fields that were filtered on are columns again after a restart, before anyone asks."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from index_service.collection.collection import Collection
from index_service.collection.registry import Registry
from index_service.collection.warm_fields import WarmFields
from index_service.metadata.filters import canonical
from index_service.record.store import CollectionInfo, Store
from index_service.settings import IndexSettings
from tests.index_service.helpers import item, unit_rows
from tests.waiting import until

VECTORS = unit_rows(5000, 4)
WHERE = canonical({"n": {"$lt": 3}, "at.k": 1})


class Restarts:
    """One data folder, and a registry over it for each start."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._store = folder, Store(folder / "index.sqlite3")

    def started(self) -> Registry:
        registry = Registry(self._store, IndexSettings(data_dir=self.folder))
        registry.load()
        return registry

    def filled(self) -> tuple[Registry, Collection]:
        registry = self.started()
        collection, _ = registry.create(CollectionInfo("c", "m", "f", 4))
        rows = enumerate(VECTORS)
        collection.upsert([item(f"i{n}", row, {"n": n, "at": {"k": n % 2}}) for n, row in rows], VECTORS)
        collection.merge()
        return registry, collection

    @property
    def file(self) -> Path:
        return self.folder / "segments" / "1" / "fields.json"


@pytest.fixture
def restarts(tmp_path: Path) -> Restarts:
    return Restarts(tmp_path)


def missing(registry: Registry) -> int:
    view = registry.get("c").view
    return view.rows.masks.missing(WHERE, view.count)


def test_the_first_filter_after_a_restart_parses_nothing(restarts: Restarts) -> None:
    before, collection = restarts.filled()
    expected = collection.view.search(VECTORS[:3], 5, WHERE, True)[1]
    WarmFields(before).note()
    again = restarts.started()
    assert missing(again) == len(VECTORS)
    WarmFields(again).recall()
    assert missing(again) == 0
    assert again.get("c").view.search(VECTORS[:3], 5, WHERE, True)[1].tolist() == expected.tolist()


def test_in_the_background_it_is_noted_at_the_end_and_made_at_the_start(restarts: Restarts) -> None:
    before, collection = restarts.filled()
    fields = WarmFields(before)
    fields.start()
    collection.view.allowed(WHERE)
    fields.close()
    assert sorted(orjson.loads(restarts.file.read_bytes())) == ["at.k", "n"]
    again = restarts.started()
    fields = WarmFields(again)
    fields.start()
    until(lambda: missing(again) == 0)
    fields.close()


def test_merges_and_writes_meanwhile_lose_nothing(restarts: Restarts) -> None:
    before, collection = restarts.filled()
    collection.view.allowed(WHERE)
    WarmFields(before).note()
    again = restarts.started()
    collection, fields = again.get("c"), WarmFields(again)
    collection.view.rows.masks.expect(["n", "at.k"])
    assert fields._advanced(collection)
    collection.delete(["i0"])
    collection.merge()
    collection.upsert([item("late", VECTORS[0], {"n": 2, "at": {"k": 1}})], VECTORS[:1])
    fields.recall()
    assert missing(again) == 0
    allowed = collection.view.allowed(WHERE)
    assert allowed is not None
    assert {collection.view.rows.ids[row] for row in allowed.nonzero()[0]} == {"i1", "late"}


def test_what_is_asked_meanwhile_is_not_driven_out(restarts: Restarts) -> None:
    before, _ = restarts.filled()
    restarts.file.write_bytes(orjson.dumps([f"f{n}" for n in range(16)]))
    collection, fields = before.get("c"), WarmFields(before)
    collection.view.rows.masks.expect([f"f{n}" for n in range(16)])
    collection.view.allowed(WHERE)
    while fields._advanced(collection):
        pass
    keys = collection.view.rows.masks.keys
    assert (len(keys), set(keys[-2:])) == (16, {"at.k", "n"})


def test_it_is_written_only_when_the_fields_are_others(restarts: Restarts) -> None:
    registry, collection = restarts.filled()
    fields = WarmFields(registry)
    fields.note()
    assert not restarts.file.exists()
    collection.view.allowed(WHERE)
    fields.note()
    written = restarts.file.stat().st_ino
    collection.view.allowed(canonical({"n": 4}))
    fields.note()
    assert restarts.file.stat().st_ino == written
    collection.view.allowed(canonical({"color": "red"}))
    fields.note()
    assert restarts.file.stat().st_ino != written
    assert sorted(path.name for path in restarts.file.parent.iterdir()) == ["1", "fields.json"]


@pytest.mark.parametrize("content", [b"", b'["n', b"\xff\x00", b"{}", b"7", b"[1, null]"])
def test_a_damaged_file_is_as_good_as_none(restarts: Restarts, content: bytes) -> None:
    restarts.filled()
    restarts.file.write_bytes(content)
    again = restarts.started()
    WarmFields(again).recall()
    assert again.get("c").view.rows.masks.keys == []
    again.get("c").view.allowed(WHERE)
    WarmFields(again).note()
    assert sorted(orjson.loads(restarts.file.read_bytes())) == ["at.k", "n"]


def test_a_dropped_collection_leaves_nothing_and_a_small_one_writes_nothing(restarts: Restarts) -> None:
    registry, collection = restarts.filled()
    collection.view.allowed(WHERE)
    fields = WarmFields(registry)
    fields.note()
    registry.drop("c")
    small, _ = registry.create(CollectionInfo("small", "m", "f", 4))
    small.upsert([item("a", VECTORS[0], {"n": 1})], VECTORS[:1])
    small.view.allowed(WHERE)
    fields.note()
    assert list((restarts.folder / "segments").iterdir()) == []
