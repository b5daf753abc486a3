from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from index_service.errors import IndexStartError
from index_service.record.schema import SCHEMA_VERSION, version
from index_service.record.store import CollectionInfo, Store
from tests.index_service.helpers import item, unit_rows

GOLDEN = Path(__file__).parents[1] / "golden" / "index"
INFO = CollectionInfo("shapes", "demo", "f1", 4, recall_target=0.9, metric="dot", metadata=b'{"a":1}')


def all_ids(store: Store, key: int) -> list[str]:
    return [item.id for chunk in store.stream(key) for item in chunk.items]


def test_what_is_written_is_read_back_after_a_restart(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    key = store.add_collection(INFO)
    items = [item(f"i{n}", row, {"n": n}) for n, row in enumerate(unit_rows(5000, 4))]
    store.upsert(key, items)
    store.close()
    store = Store(tmp_path / "db")
    (info,) = store.collections()
    assert info == replace(INFO, key=key)
    assert [item for chunk in store.stream(key) for item in chunk.items] == items
    assert store.get(key, "i7") == items[7]
    assert store.get(key, "none") is None
    store.close()


def test_an_upsert_moves_the_item_to_the_end_of_the_order(store: Store) -> None:
    key = store.add_collection(INFO)
    a, b, c = unit_rows(3, 4)
    store.upsert(key, [item("a", a), item("b", b)])
    store.upsert(key, [item("a", c)])
    assert all_ids(store, key) == ["b", "a"]
    assert store.count(key) == 2


def test_an_upsert_is_all_or_nothing(store: Store) -> None:
    key = store.add_collection(INFO)
    broken = item("b", unit_rows(1, 4)[0])._replace(metadata=None)
    with pytest.raises(Exception, match="NOT NULL"):
        store.upsert(key, [item("a", unit_rows(1, 4)[0]), broken])
    assert store.count(key) == 0


def test_pages_follow_the_ids(store: Store) -> None:
    key = store.add_collection(INFO)
    store.upsert(key, [item(id_, unit_rows(1, 4)[0]) for id_ in ("b", "ä", "a", "c")])
    assert [id_ for id_, _ in store.page(key, "", 2)] == ["a", "b"]
    assert [id_ for id_, _ in store.page(key, "b", 9)] == ["c", "ä"]


def test_a_dropped_collection_is_gone_and_its_name_is_free(store: Store) -> None:
    first = store.add_collection(INFO)
    store.upsert(first, [item("a", unit_rows(1, 4)[0])])
    store.drop_collection(first)
    assert store.collections() == []
    second = store.add_collection(INFO)
    assert second != first
    assert store.count(second) == 0


def test_a_record_of_version_2_gets_its_metrics(tmp_path: Path) -> None:
    shutil.copy(GOLDEN / "v2" / "index.sqlite3", tmp_path / "db")
    store = Store(tmp_path / "db")
    before = [(info.name, info.metric, info.created) for info in store.collections()]
    assert before == [("empty", "cosine", "2026-01-02T03:04:05Z"), ("shapes", "cosine", "2026-01-02T03:04:05Z")]
    store.add_collection(replace(INFO, name="weights"))
    store.close()
    store = Store(tmp_path / "db")
    assert [info.metric for info in store.collections()] == ["cosine", "cosine", "dot"]
    assert version(store._writer) == SCHEMA_VERSION == 3
    store.close()


def test_a_file_that_is_no_database_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"not a database, whatever its name says" * 100)
    with pytest.raises(IndexStartError, match=r"can't be opened.*DATA_DIR"):
        Store(tmp_path / "db")


def test_the_log_shrinks_again_after_a_long_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index_service.record.reading._LOG_BYTES", 4 << 20)
    store = Store(store.path.with_name("other.sqlite3"))
    key, log = store.add_collection(INFO), store.path.with_name("other.sqlite3-wal")
    many = [item(f"i{n}", row, {"text": "x" * 4000}) for n, row in enumerate(unit_rows(2500, 4))]
    store.upsert(key, many)
    reading = store.stream(key)
    next(reading)
    for _ in range(3):
        store.upsert(key, many)
    assert log.stat().st_size > 20 << 20
    reading.close()  # type: ignore[attr-defined]
    for one in many[:3]:
        store.upsert(key, [one])
    assert log.stat().st_size <= 4 << 20
    store.close()
