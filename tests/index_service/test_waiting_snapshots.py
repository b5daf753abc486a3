"""Snapshots in the data folder's `restore`: restored at the start, the newest of each collection, and only once."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import httpx
import pytest

from clip_core.errors import StorageFull
from index_service.collection.collection import Collection
from index_service.collection.registry import Registry
from index_service.record.store import CollectionInfo, Store
from index_service.settings import IndexSettings
from index_service.snapshots.snapshot_files import Snapshots
from index_service.snapshots.waiting import restore_waiting
from tests.index_service.helpers import Service, item, unit_rows

VECTORS = unit_rows(20, 4)


@pytest.fixture
def restore(tmp_path: Path) -> Path:
    folder = tmp_path / "restore"
    folder.mkdir()
    return folder


@pytest.fixture
def taken(tmp_path: Path, registry: Registry, store: Store, restore: Path) -> list[str]:
    """Two snapshots of `a`, with 10 and 20 items, and one of `b`, waiting; both collections are gone."""
    snapshots = Snapshots(tmp_path / "snapshots", store, registry)
    names = []
    for name, count in (("a", 10), ("a", 20), ("b", 3)):
        collection, _ = registry.create(CollectionInfo(name, "m", "f", 4))
        collection.upsert([item(str(n), row, {}) for n, row in enumerate(VECTORS[:count])], VECTORS[:count])
        names.append(snapshots.create(collection)["name"])
    for name in ("a", "b"):
        registry.drop(name)
    for path in (tmp_path / "snapshots").glob("*"):
        shutil.move(path, restore / path.name)
    return names


def counts(store: Store) -> dict[str, int]:
    return {info.name: store.count(info.key) for info in store.collections()}


@pytest.mark.usefixtures("taken")
def test_the_newest_of_each_collection_is_restored(store: Store, restore: Path) -> None:
    restore_waiting(restore, store)
    assert counts(store) == {"a": 20, "b": 3}
    assert list(restore.iterdir()) == []


@pytest.mark.usefixtures("taken")
def test_a_collection_that_is_there_stays_as_it_is(store: Store, restore: Path) -> None:
    store.add_collection(CollectionInfo("a", "m", "f", 4))
    restore_waiting(restore, store)
    assert counts(store) == {"a": 0, "b": 3}


def test_a_damaged_one_is_told_and_an_older_one_is_taken(
    store: Store, restore: Path, taken: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    damaged = restore / taken[1]
    damaged.write_bytes(damaged.read_bytes()[:-40])
    with caplog.at_level(logging.ERROR):
        restore_waiting(restore, store)
    assert counts(store) == {"a": 10, "b": 3}
    assert list(restore.iterdir()) == [damaged]
    assert f"the snapshot {taken[1]} is damaged" in caplog.text


@pytest.mark.usefixtures("taken")
def test_a_start_that_dies_goes_on_with_the_rest(store: Store, restore: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StorageFull("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(store, "upsert", full)
        with pytest.raises(StorageFull):
            restore_waiting(restore, store)
    assert counts(store) == {}
    assert len(list(restore.iterdir())) == 3
    restore_waiting(restore, store)
    assert counts(store) == {"a": 20, "b": 3}


def test_other_files_and_no_folder(store: Store, restore: Path, tmp_path: Path) -> None:
    (restore / "notes.parquet").touch()
    restore_waiting(restore, store)
    restore_waiting(tmp_path / "none", store)
    assert counts(store) == {}


@pytest.mark.usefixtures("taken")
def test_a_new_record_starts_with_what_waits(tmp_path: Path, restore: Path) -> None:
    new = tmp_path / "new"
    shutil.copytree(restore, new / "restore")
    service = Service(new)
    try:
        found = httpx.get(f"{service.url()}/collections").json()["collections"]
        assert {each["name"]: each["count"] for each in found} == {"a": 20, "b": 3}
    finally:
        service.stop()


def opened(data_dir: Path) -> Registry:
    store = Store(data_dir / "index.sqlite3")
    restore_waiting(data_dir / "restore", store)
    registry = Registry(store, IndexSettings(data_dir=data_dir))
    registry.load()
    return registry


def test_a_new_record_takes_nothing_from_the_segments_of_a_lost_one(tmp_path: Path, restore: Path) -> None:
    """It gives its collections and items numbers that those had."""
    registry = opened(tmp_path)
    collection, _ = registry.create(CollectionInfo("a", "m", "f", 4))
    assert isinstance(collection, Collection)
    old, new = ([item(f"{word}{n}", row) for n, row in enumerate(VECTORS[:10])] for word in ("old", "new"))
    collection.upsert(old, VECTORS[:10])
    collection.merge()
    collection.upsert(new, VECTORS[:10])
    collection.delete([each.id for each in old])
    Snapshots(restore, registry.store, registry).create(collection)
    registry.close()
    (tmp_path / "index.sqlite3").unlink()
    registry = opened(tmp_path)
    (restored,) = registry.embedded()
    assert {restored.view.rows.ids[row] for row in range(restored.view.count)} == {each.id for each in new}
    registry.close()
