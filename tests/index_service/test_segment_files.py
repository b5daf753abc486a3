"""Segments on disk: what a restart begins with, and what it makes of damaged ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import psutil
import pytest

from index_service.collection.collection import Collection
from index_service.collection.registry import Registry
from index_service.record.store import CollectionInfo, Store
from index_service.segments.engine_choice import Engines
from index_service.segments.segment_files import SegmentFiles, prefault, segments_folder
from index_service.settings import IndexSettings
from tests.index_service.helpers import block_of, item, made, unit_rows

DIM = 8
VECTORS = unit_rows(300, DIM)
FILES = ["vectors.f32", "seqs.i64", "ids", "ids.ends", "metadata", "metadata.ends", "engine", "manifest.json"]
SETTINGS = IndexSettings(merge_min_rows=50)


@pytest.fixture
def collection(store: Store) -> Collection:
    """300 items in a main segment on disk."""
    collection = made(store, CollectionInfo("c", "m", "f", DIM, engine="hnsw"), SETTINGS)
    collection.upsert([item(f"ü{n}", row, {"n": n}) for n, row in enumerate(VECTORS)], VECTORS)
    collection.merge()
    return collection


def folder_of(store: Store, collection: Collection) -> Path:
    (path,) = segments_folder(store.path.parent, collection.info.key).iterdir()
    return path


def restarted(store: Store, collection: Collection) -> Collection:
    again = Collection(collection.info, store, Engines(SETTINGS))
    again.load()
    return again


def assert_whole(collection: Collection) -> None:
    rows = collection.view.search(VECTORS, 1, None, True)[1][:, 0]
    assert [collection.view.rows.ids[row] for row in rows] == [f"ü{n}" for n in range(300)]
    assert [collection.view.rows.metadata[row] for row in rows] == [b'{"n": %d}' % n for n in range(300)]
    assert collection.view.live == 300


def test_a_restart_maps_what_was_written(store: Store, collection: Collection) -> None:
    assert sorted(path.name for path in folder_of(store, collection).iterdir()) == sorted(FILES)
    stored = SegmentFiles(segments_folder(store.path.parent, collection.info.key), DIM).newest(store.last_seq(1))
    assert stored is not None
    assert np.array_equal(stored.block.vectors, VECTORS)
    assert not stored.block.vectors.flags.owndata
    again = restarted(store, collection)
    assert again.view.rows.main.engine == "hnsw"
    assert_whole(again)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["flipped", "torn", "gone"])
def test_a_damaged_segment_is_found_out_and_made_again(
    store: Store, collection: Collection, name: str, damage: str
) -> None:
    path = folder_of(store, collection)
    content = bytearray((path / name).read_bytes())
    content[len(content) // 2] ^= 1
    damaged = {"flipped": bytes(content), "torn": bytes(content[: len(content) // 2])}
    (path / name).unlink()
    if damage in damaged:
        (path / name).write_bytes(damaged[damage])
    again = restarted(store, collection)
    assert again.view.rows.main.engine == "exact"
    assert again.engine_due()
    assert_whole(again)
    assert restarted(store, collection).view.count == 300


def test_a_segment_of_another_record_is_not_taken(store: Store, collection: Collection, tmp_path: Path) -> None:
    other = Store(tmp_path / "other" / "db") if (tmp_path / "other").mkdir() is None else store
    key = other.add_collection(CollectionInfo("c", "m", "f", DIM))
    assert key == collection.info.key
    other.upsert(key, [item(f"{n}", row) for n, row in enumerate(VECTORS[:60])])
    shutil.copytree(store.path.parent / "segments", other.path.parent / "segments")
    again = Collection(collection.info, other, Engines(SETTINGS))
    again.load()
    assert {again.view.rows.ids[row] for row in range(again.view.count)} == {str(n) for n in range(60)}
    other.close()


def test_what_was_left_half_written_is_cleared_away(store: Store, collection: Collection) -> None:
    with SegmentFiles(segments_folder(store.path.parent, collection.info.key), DIM).draft().writer() as writer:
        writer.append(block_of(collection.view, np.arange(10)))
        writer.mapped()  # and here the process died
    again = restarted(store, collection)
    assert_whole(again)
    again.merge()
    assert folder_of(store, again).name == "2"


def test_a_dropped_collection_leaves_no_files(store: Store, collection: Collection) -> None:
    collection.drop()
    assert list((store.path.parent / "segments").iterdir()) == []


def test_files_of_collections_that_are_no_more_are_removed(store: Store) -> None:
    orphan = segments_folder(store.path.parent, 7)
    orphan.mkdir(parents=True)
    Registry(store, SETTINGS).load()
    assert not orphan.exists()


def test_without_room_for_a_segment_the_rows_are_held_in_memory(store: Store, collection: Collection) -> None:
    shutil.rmtree(store.path.parent / "segments")
    (store.path.parent / "segments").write_bytes(b"")  # no folder can be made here
    again = restarted(store, collection)
    assert again.describe()["segment"] == {"engine": "exact", "rows": 0, "delta": 300, "tombstones": 0}
    assert_whole(again)
    with pytest.raises(OSError, match="segments"):
        again.merge()
    assert_whole(again)


def test_a_draft_has_the_checksums_of_its_files_across_blocks(
    tmp_path: Path, store: Store, collection: Collection
) -> None:
    files = SegmentFiles(tmp_path / "many", DIM)
    draft = files.draft()
    block = block_of(collection.view, np.arange(300))
    with draft.writer() as writer:
        for _ in range(1900):  # more than one block of checksums
            writer.append(block)
        writer.mapped()
        writer.save(collection.view.rows.main)
    files.commit(draft)
    stored = files.newest(store.last_seq(collection.info.key))
    assert stored is not None
    assert stored.block.vectors.nbytes > 16 << 20
    assert stored.block.ids[300 * 1899 + 7] == "ü7".encode()


def test_pages_are_mapped_before_a_search_asks_for_them(tmp_path: Path, collection: Collection) -> None:
    draft = SegmentFiles(tmp_path / "wide", DIM).draft()
    block, process = block_of(collection.view, np.arange(300)), psutil.Process()
    with draft.writer() as writer:
        for _ in range(7000):
            writer.append(block)
        vectors = writer.mapped().vectors
    before = process.memory_info().rss
    assert prefault(vectors, vectors.nbytes - 1) == 0
    assert prefault(np.zeros(10), vectors.nbytes) == 0
    assert process.memory_info().rss - before < 0.1 * vectors.nbytes
    assert prefault(vectors, vectors.nbytes) == vectors.nbytes
    assert process.memory_info().rss - before > 0.8 * vectors.nbytes
    draft.drop()
