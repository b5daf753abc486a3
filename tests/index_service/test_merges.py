"""When a merge follows another, and when one follows a failure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from index_service.collection.backoff import Retries, wait_after
from index_service.collection.collection import Collection
from index_service.collection.registry import Registry
from index_service.metrics.metrics import IndexMetrics
from index_service.record.store import CollectionInfo, Store
from index_service.settings import IndexSettings
from tests.index_service.helpers import item, unit_rows
from tests.waiting import settled, until

VECTORS = unit_rows(100, 4)
INFO = CollectionInfo("c", "m", "f", 4, engine="exact")


@pytest.fixture
def registry(store: Store, tmp_path: Path) -> Iterator[Registry]:
    registry = Registry(store, IndexSettings(data_dir=tmp_path, merge_min_rows=20, merge_idle_s=0))
    registry.start()
    until(lambda: registry.ready)
    yield registry
    registry.close()


def write(registry: Registry, collection: Collection, start: int, end: int) -> None:
    items = [item(f"i{n}", VECTORS[n]) for n in range(start, end)]
    collection.upsert(items, VECTORS[start:end])
    registry.written(collection)


def test_writes_during_a_merge_are_no_reason_for_another(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    collection, _ = registry.create(INFO)
    merge, began, go_on = collection.merge, threading.Event(), threading.Event()
    merges = 0

    def counted(cancelled: Callable[[], bool]) -> None:
        nonlocal merges
        merges += 1
        began.set()
        assert go_on.wait(30)
        merge(cancelled)

    monkeypatch.setattr(collection, "merge", counted)
    write(registry, collection, 0, 30)
    assert began.wait(30)
    for start in range(30, 40):
        write(registry, collection, start, start + 1)
    go_on.set()
    until(lambda: len(collection.view.delta) <= 10)
    assert settled(lambda: merges, 0.5) == 1
    write(registry, collection, 40, 60)
    until(lambda: merges == 2 and not len(collection.view.delta))


def test_a_merge_that_fails_is_tried_again_later_and_says_so(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection, _ = registry.create(INFO)
    tries = 0

    def full(_: Callable[[], bool]) -> None:
        nonlocal tries
        tries += 1
        raise OSError(28, "No space left on device")

    metrics = IndexMetrics(registry)
    with monkeypatch.context() as patched:
        patched.setattr(collection, "merge", full)
        for start in range(0, 60, 2):
            write(registry, collection, start, start + 2)
        said = until(lambda: collection.describe()["merge_failure"])
        assert said["failures"] >= 1
        assert "No space left" in said["error"]
        assert b'clipserve_index_merge_failures{collection="c"}' in metrics.render()[0]
        assert settled(lambda: tries, 0.5) <= 2
    until(lambda: collection.describe()["merge_failure"] is None)  # without another write
    assert len(collection.view.delta) == 0


def test_the_waits_double_up_to_ten_minutes() -> None:
    assert [wait_after(n) for n in (0, 1, 2, 3, 11, 10_000)] == [0, 1, 2, 4, 600, 600]
    retries = Retries()
    assert (retries.left_s, retries.describe()) == (0, None)
    for _ in range(4):
        retries.failed(OSError("full"))
    assert 7 < retries.left_s <= 8
    retries.succeeded()
    assert retries.left_s == 0
