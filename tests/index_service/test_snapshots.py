"""Snapshots: made while writes go on, whole or absent, and restored to what they were."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest

from clip_core.errors import InvalidRequest, NotFound, StorageFull
from index_service.collection.collection import Collection
from index_service.collection.registry import Registry
from index_service.engines.base import BuildCancelled
from index_service.record.store import CollectionInfo, Store, StoredItem
from index_service.segments.segment_files import SegmentWriter
from index_service.settings import IndexSettings
from index_service.snapshots import parquet, seals
from index_service.snapshots.snapshot_files import Snapshots
from tests.index_service.helpers import item, unit_rows

VECTORS = unit_rows(3000, 8)
ITEMS = [item(f"ü{n}", row, {"n": n, "name": "Größe"}) for n, row in enumerate(VECTORS)]


@pytest.fixture
def collection(registry: Registry) -> Collection:
    info = CollectionInfo("shapes", "demo", "f1", 8, engine="hnsw", recall_target=0.9, metadata=b'{"a":[1]}')
    collection, _ = registry.create(info)
    collection.upsert([*ITEMS[:-1], ITEMS[-1]._replace(source=b'{"text":"x"}')], VECTORS)
    collection.delete(["ü1"])
    return collection


@pytest.fixture
def snapshots(tmp_path: Path, store: Store, registry: Registry) -> Snapshots:
    return Snapshots(tmp_path / "snapshots", store, registry)


def items_of(store: Store, collection: Collection) -> list[StoredItem]:
    return [item for chunk in store.stream(collection.info.key) for item in chunk.items]


def test_a_restored_collection_is_what_it_was(
    store: Store, settings: IndexSettings, collection: Collection, snapshots: Snapshots
) -> None:
    before = items_of(store, collection)
    name = snapshots.create(collection)["name"]
    collection.upsert(ITEMS[:2], VECTORS[:2])
    restored = snapshots.restore("again", name)
    assert items_of(store, restored) == before
    assert before[-1].source == b'{"text":"x"}'
    same = ("model", "fingerprint", "dim", "engine", "recall_target", "metadata", "created")
    assert [getattr(restored.info, field) for field in same] == [getattr(collection.info, field) for field in same]
    hits = restored.view.search(VECTORS[5:6], 1, None, True)[1]
    assert restored.view.rows.ids[hits[0, 0]] == "ü5"
    loaded = Registry(store, settings)
    loaded.load()
    assert loaded.get("again").view.live == 2999


def test_other_tools_can_read_it(collection: Collection, snapshots: Snapshots) -> None:
    table = pq.read_table(snapshots.path(snapshots.create(collection)["name"]))
    assert table.column_names == ["id", "vector", "metadata", "source"]
    assert table.num_rows == 2999
    assert np.array_equal(np.array(table["vector"].to_pylist(), np.float32), np.delete(VECTORS, 1, axis=0))


def test_what_a_dying_process_left_is_cleared_away(tmp_path: Path, store: Store) -> None:
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "a.part").write_bytes(b"half")
    key = store.add_collection(CollectionInfo(f"{Store.HIDDEN}half", "m", "f", 8))
    store.upsert(key, ITEMS[:3])
    assert store.collections() == []
    again = Store(store.path)
    registry = Registry(again, IndexSettings(data_dir=tmp_path))
    Snapshots(tmp_path / "snapshots", again, registry)
    assert list((tmp_path / "snapshots").iterdir()) == []
    assert again._read("SELECT COUNT(*) FROM collections") == [(0,)]
    again.close()


def test_without_room_it_is_507(tmp_path: Path, collection: Collection, snapshots: Snapshots) -> None:
    (tmp_path / "snapshots").write_bytes(b"")
    with pytest.raises(StorageFull, match="can't be written"):
        snapshots.create(collection)


@pytest.mark.parametrize("name", ["../index.sqlite3", "none", "shapes.20260101T000000000000.parquet", ""])
def test_only_snapshots_are_found(snapshots: Snapshots, name: str) -> None:
    with pytest.raises(NotFound):
        snapshots.path(name)


def test_a_file_that_someone_named_oddly_hides_no_other(
    tmp_path: Path, collection: Collection, snapshots: Snapshots
) -> None:
    made = snapshots.create(collection)
    (tmp_path / "snapshots" / "c.20261399T000000000000.parquet").touch()
    assert snapshots.all() == [made]


@pytest.mark.usefixtures("collection")
async def test_over_http(client: httpx.AsyncClient, tmp_path: Path) -> None:
    made = await client.post("/collections/shapes/snapshots")
    assert made.status_code == 201
    snapshot: dict[str, Any] = made.json()
    for path in ("/snapshots", "/collections/shapes/snapshots"):
        assert (await client.get(path)).json() == {"snapshots": [snapshot]}
    assert (await client.get("/collections/other/snapshots")).json() == {"snapshots": []}
    fetched = await client.get(f"/snapshots/{snapshot['name']}")
    assert len(fetched.content) == snapshot["bytes"]
    restored = await client.post("/collections/again/restore", json={"snapshot": snapshot["name"]})
    assert (restored.status_code, restored.json()["count"]) == (201, 2999)
    taken = await client.post("/collections/again/restore", json={"snapshot": snapshot["name"]})
    assert (taken.status_code, taken.json()["error"]["code"]) == (409, "conflict")
    assert (await client.delete(f"/snapshots/{snapshot['name']}")).json() == {"deleted": True}
    for call in (client.get, client.delete):
        assert (await call(f"/snapshots/{snapshot['name']}")).status_code == 404
    assert (await client.post("/collections/x/restore", json={"snapshot": "none"})).status_code == 404
    assert (await client.post("/collections/.x/restore", json={"snapshot": "none"})).status_code == 400
    shutil.rmtree(tmp_path / "snapshots")
    assert (await client.get("/snapshots")).json() == {"snapshots": []}


@pytest.mark.parametrize("failure", [MemoryError(), OSError("read"), RuntimeError("arrow")])
def test_a_restore_that_fails_leaves_nothing(
    tmp_path: Path,
    store: Store,
    collection: Collection,
    snapshots: Snapshots,
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
) -> None:
    name = snapshots.create(collection)["name"]
    folders = set((tmp_path / "segments").glob("*"))

    def fails(*_: object) -> None:
        raise failure

    monkeypatch.setattr(store, "rename_collection", fails)
    with pytest.raises(type(failure)):
        snapshots.restore("again", name)
    assert store._read("SELECT name FROM collections") == [("shapes",)]
    assert set((tmp_path / "segments").glob("*")) == folders


@pytest.mark.parametrize(("where", "name"), [(Store, "stream"), (seals, "_footer_start"), (seals, "_digest")])
def test_a_snapshot_that_fails_leaves_nothing(
    tmp_path: Path,
    collection: Collection,
    snapshots: Snapshots,
    monkeypatch: pytest.MonkeyPatch,
    where: object,
    name: str,
) -> None:
    def fails(*_: object) -> None:
        assert list((tmp_path / "snapshots").glob("*.parquet")) == []
        raise MemoryError

    monkeypatch.setattr(where, name, fails)
    with pytest.raises(MemoryError):
        snapshots.create(collection)
    assert list((tmp_path / "snapshots").iterdir()) == []


def test_the_draft_of_a_merge_that_was_killed_is_removed_at_the_next_start(
    tmp_path: Path, store: Store, settings: IndexSettings, collection: Collection
) -> None:
    collection.merge()
    draft = tmp_path / "segments" / str(collection.info.key) / "draft"
    draft.mkdir()
    (draft / "vectors.f32").write_bytes(b"half")
    Registry(store, settings).load()
    assert not draft.exists()


def test_a_merge_of_a_collection_that_is_dropped_meanwhile_leaves_no_folder(
    tmp_path: Path, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = SegmentWriter.save

    def dropped_first(self: SegmentWriter, segment: Any) -> None:
        collection.drop()
        self._draft.folder.mkdir(parents=True)  # as when the folder was made just after it was removed
        save(self, segment)

    monkeypatch.setattr(SegmentWriter, "save", dropped_first)
    with suppress(BuildCancelled):
        collection.merge()
    assert not (tmp_path / "segments" / str(collection.info.key)).exists()


def footer_of(content: bytes) -> range:
    """The places of the footer's bytes, and of the seal's in front of it."""
    return range(len(content) - 8 - int.from_bytes(content[-8:-4], "little") - 40, len(content))


@pytest.fixture
def small(registry: Registry) -> Collection:
    info = CollectionInfo("shapes", "demo", "f1", 8, metadata=b'{"a":[1]}')
    collection, _ = registry.create(info)
    collection.upsert(ITEMS[:9], VECTORS[:9])
    return collection


def test_a_flipped_bit_restores_nothing(store: Store, small: Collection, snapshots: Snapshots) -> None:
    path = snapshots.path(snapshots.create(small)["name"])
    whole = path.read_bytes()
    for place in [*range(0, footer_of(whole)[0], 50), *footer_of(whole)[:40], *footer_of(whole)[40::9]]:
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        path.write_bytes(content)
        with pytest.raises(InvalidRequest, match="damaged"):
            snapshots.restore("again", path.name)
    assert [info.name for info in store.collections()] == ["shapes"]
    path.write_bytes(whole)
    assert snapshots.restore("again", path.name).view.live == 9


def unsealed(monkeypatch: pytest.MonkeyPatch, snapshots: Snapshots, collection: Collection) -> Path:
    """A snapshot as an older version wrote it."""
    dumps = parquet.orjson.dumps
    told = SimpleNamespace(**vars(parquet.orjson))
    told.dumps = lambda value: dumps({name: one for name, one in value.items() if name != "sealed"})
    with monkeypatch.context() as patched:
        patched.setattr(parquet, "seal", lambda _: None)
        patched.setattr(parquet, "orjson", told)
        return snapshots.path(snapshots.create(collection)["name"])


def test_a_snapshot_of_an_older_version_is_restored_and_never_with_less_or_with_another_model(
    store: Store, small: Collection, snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = unsealed(monkeypatch, snapshots, small)
    assert b"clipseal" not in path.read_bytes()
    assert b"sealed" not in path.read_bytes()
    whole, before, restored = path.read_bytes(), items_of(store, small), 0
    for place in [None, *footer_of(whole)[40::17]]:
        content = bytearray(whole)
        if place is not None:
            content[place] ^= 1 << place % 8
        path.write_bytes(content)
        name = f"again{place}"
        with suppress(InvalidRequest):
            again = snapshots.restore(name, path.name)
            assert items_of(store, again) == before
            assert replace(again.info, name="shapes", key=small.info.key) == small.info
            store.drop_collection(again.info.key)
            restored += 1
    assert restored
