"""Whichever call of a write, a merge or a load fails, searches go on to say what the record says."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clip_core.errors import Unavailable
from index_service.collection import collection as collection_module
from index_service.collection import segment_builder
from index_service.collection.collection import Collection
from index_service.collection.registry import Registry
from index_service.metadata.filters import canonical
from index_service.record.store import CollectionInfo, Store, StoredItem
from index_service.segments import segment_files
from index_service.segments.engine_choice import Engines
from index_service.segments.view import View
from index_service.settings import IndexSettings
from tests.index_service.faults import Fault
from tests.index_service.helpers import item, made, unit_rows
from tests.waiting import until

DIM, IDS = 8, 12
VECTORS = unit_rows(3200, DIM)
WHERE = canonical({"even": True})
INFO = CollectionInfo("c", "m", "f", DIM, engine="exact")


def recorded(store: Store, collection: Collection) -> dict[str, StoredItem]:
    return {item.id: item for chunk in store.stream(collection.info.key) for item in chunk.items}


def shown(collection: Collection) -> dict[str, StoredItem]:
    """What searches see, row by row, after a search for each vector has found its own row."""
    view = collection.view
    rows = np.flatnonzero(view.alive)
    vectors = view.vectors_of(rows)
    if len(rows):
        assert view.search(vectors, 1, None, True)[1][:, 0].tolist() == rows.tolist()
    seen = [
        StoredItem(view.rows.ids[row], vector.astype("<f4").tobytes(), view.rows.metadata[row])
        for row, vector in zip(rows.tolist(), vectors, strict=True)
    ]
    assert len({one.id for one in seen}) == len(seen) == view.live
    allowed = view.allowed(WHERE)
    assert allowed is not None
    assert [b"true" in view.rows.metadata[row] for row in rows.tolist()] == allowed[rows].tolist()
    return {one.id: one for one in seen}


def agree(store: Store, collection: Collection) -> dict[str, StoredItem]:
    """What the record and searches both say; the record decides about a write that failed."""
    collection.refresh()
    record = recorded(store, collection)
    assert shown(collection) == record
    assert dict(collection.page("", len(VECTORS))) == {id_: one.metadata for id_, one in record.items()}
    return record


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk doesn't matter here, and hundreds of merges wait for it."""
    monkeypatch.setattr(segment_files, "sync", lambda _: None)
    monkeypatch.setattr(collection_module, "_log", logging.getLogger("quiet"))
    monkeypatch.setattr(segment_builder, "_log", logging.getLogger("quiet"))


def items(n: int) -> list[StoredItem]:
    """Three: some ids are new each time, some are there already."""
    return [item(f"i{(n + k) % IDS}", VECTORS[3 * n + k], {"even": k % 2 == 0, "v": n}) for k in range(3)]


def faults(step: int = 1) -> Iterator[tuple[int, Fault]]:
    """One at each call in turn, or at each `step`-th, until there are no more calls."""
    for n in range(0, 2000 * step, step):
        yield n, (fault := Fault(n))
        if not fault.raised:
            return
    raise AssertionError("there are calls that no fault has met")


def attempt(work: Callable[[], object], fault: Fault) -> bool:
    """Whether it was done."""
    try:
        with fault:
            work()
    except Exception:
        assert fault.raised
        return False
    return True


@pytest.fixture
def collection(store: Store, settings: IndexSettings) -> Collection:
    collection = made(store, INFO, settings)
    for n in range(4):
        collection.upsert(items(n), VECTORS[3 * n : 3 * n + 3])
    collection.merge()
    collection.upsert(items(4), VECTORS[12:15])
    collection.view.allowed(WHERE)
    return collection


def test_any_call_of_an_upsert_may_fail(store: Store, collection: Collection) -> None:
    for n, fault in faults():
        new = items(n + 5)
        before = recorded(store, collection)
        done = attempt(lambda new=new, n=n: collection.upsert(new, VECTORS[3 * n + 15 : 3 * n + 18]), fault)
        after = {**before, **{one.id: one for one in new}}
        assert agree(store, collection) in ([after] if done else [before, after])


@pytest.mark.parametrize("by_filter", [False, True])
def test_any_call_of_a_delete_may_fail(store: Store, collection: Collection, by_filter: bool) -> None:
    for n, fault in faults():
        collection.upsert(items(n + 5), VECTORS[3 * n + 15 : 3 * n + 18])
        before = recorded(store, collection)
        ids = [id_ for id_, one in before.items() if b"true" in one.metadata] if by_filter else [f"i{n % IDS}", "i1"]
        after = {id_: one for id_, one in before.items() if id_ not in ids}
        work = (lambda: collection.delete_where(WHERE)) if by_filter else (lambda ids=ids: collection.delete(ids))
        done = attempt(work, fault)
        assert agree(store, collection) in ([after] if done else [before, after])


def test_any_call_of_a_merge_may_fail(store: Store, collection: Collection) -> None:
    for n, fault in faults(step=13):
        collection.upsert(items(n % 1000), VECTORS[3 * (n % 1000) :][:3])
        before = recorded(store, collection)
        attempt(collection.merge, fault)
        assert agree(store, collection) == before


def test_any_call_of_a_load_may_fail(store: Store, settings: IndexSettings, collection: Collection) -> None:
    before = recorded(store, collection)
    for _, fault in faults(step=3):
        again = Collection(collection.info, store, Engines(settings))
        if attempt(again.load, fault):
            assert agree(store, again) == before


def test_any_call_of_a_seal_may_fail(store: Store, tmp_path: Path) -> None:
    info = CollectionInfo("s", "m", "f", DIM, engine="faiss:IVF16,SQ8")
    sealing = made(store, info, IndexSettings(data_dir=tmp_path, merge_min_rows=700))
    rows = [item(f"i{n}", row, {"even": n % 2 == 0}) for n, row in enumerate(VECTORS)]
    sealing.upsert(rows[:1000], VECTORS[:1000])
    sealing.merge()
    sealing.upsert(rows[1000:], VECTORS[1000:])
    before = recorded(store, sealing)
    for _, fault in faults(step=11):
        attempt(sealing.seal, fault)
    assert sealing.view.sealed is not None
    assert agree(store, sealing) == before


def test_any_call_of_making_and_dropping_a_collection_may_fail(store: Store, settings: IndexSettings) -> None:
    registry = Registry(store, settings)
    registry.load()
    for _, fault in faults(step=2):
        attempt(lambda: registry.create(INFO), fault)
        assert [one.info.name for one in registry.all()] == [info.name for info in store.collections()]
        registry.create(INFO)[0].upsert(items(0), VECTORS[:3])
        registry.drop("c")
    for _, fault in faults():
        registry.create(INFO)
        attempt(lambda: registry.drop("c"), fault)
        assert [one.info.name for one in registry.all()] == [info.name for info in store.collections()]


def test_any_call_of_switching_an_alias_may_fail(store: Store, settings: IndexSettings) -> None:
    registry = Registry(store, settings)
    registry.load()
    keys = {name: registry.create(replace(INFO, name=name))[0].info.key for name in ("c", "d")}
    for n, fault in faults():
        target = "cd"[n % 2]
        attempt(lambda target=target: registry.set_alias("a", target), fault)
        assert {name: keys[at] for name, at in registry.aliases().items()} == {a.name: a.key for a in store.aliases()}


def answers(registry: Registry) -> bool:
    with suppress(Unavailable):
        registry.get("c")
        return True
    return False


def test_a_collection_that_cannot_be_read_again_answers_nothing_until_it_can(
    store: Store, settings: IndexSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(store, settings)
    registry.start()
    try:
        until(lambda: registry.ready)
        collection, _ = registry.create(INFO)

        def short(*_: object) -> View:
            raise MemoryError

        with monkeypatch.context() as patched:
            patched.setattr(View, "with_rows", short)
            with pytest.raises(MemoryError):
                collection.upsert(items(0), VECTORS[:3])
            with pytest.raises(Unavailable, match="again"):
                registry.get("c")
        until(lambda: answers(registry))  # each time that somebody asks it is tried again
        assert len(agree(store, registry.get("c"))) == 3
    finally:
        registry.close()
