"""Filters that come again are answered from a copy of the rows that they leave."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from index_service.collection.collection import Collection
from index_service.engines.base import METRICS
from index_service.engines.exact.segment import ExactSegment
from index_service.metadata.filters import canonical
from index_service.metadata.materialised_filters import MaterialisedFilters
from index_service.record.store import CollectionInfo, Store
from index_service.settings import IndexSettings
from tests.index_service.helpers import item, made, rows_of, unit_rows
from tests.waiting import until

DIM, ROWS, EVERY, K = 16, 60_000, 25, 10
VECTORS, QUERIES = unit_rows(ROWS, DIM), unit_rows(40, DIM, seed=1)
ROWS_OF = {metric: rows_of(metric, ROWS, DIM) for metric in METRICS}
WHERE = canonical({"n": 0})  # one row in 25: more than are scored at once anyway, less than 5 %
RARE, FREQUENT = canonical({"n": 0, "rare": True}), canonical({"n": {"$ne": 0}})


@pytest.fixture(params=METRICS)
def collection(request: pytest.FixtureRequest, store: Store, tmp_path: Path) -> Collection:
    """All rows in the main segment of an approximate engine."""
    settings = IndexSettings(data_dir=tmp_path, build_process_min_rows=1 << 30)
    info = CollectionInfo("c", "m", "f", DIM, engine="faiss:IVF16,SQ8", recall_target=0.9, metric=request.param)
    collection = made(store, info, settings)
    for start in range(0, ROWS, 10_000):
        write(collection, start, start + 10_000)
    collection.merge()
    return collection


def write(collection: Collection, start: int, end: int) -> None:
    vectors = ROWS_OF[collection.info.metric][start:end]
    items = [
        item(f"i{row}", vectors[row - start], {"n": row % EVERY, "rare": row % 1000 == 0}) for row in range(start, end)
    ]
    collection.upsert(items, vectors)


def ask(collection: Collection, where: bytes = WHERE, times: int = 8) -> None:
    """Until a filter is materialised, if it is going to be."""
    for _ in range(times):
        collection.view.search(QUERIES[:1], K, where, False)
    materialised = collection.view.rows.materialised
    until(lambda: materialised.making is None)


def kept(collection: Collection, where: bytes = WHERE) -> bool:
    view = collection.view
    return view.rows.materialised.of(where, view.rows.main.vectors, view.rows.masks.mask(where, ROWS)) is not None


def shared(collection: Collection, where: bytes = WHERE) -> float:
    """The share of the truth that is found; all that is found is let through."""
    view = collection.view
    found, truth = (view.search(QUERIES, K, where, exact) for exact in (False, True))
    allowed = view.allowed(where)
    assert allowed is not None
    assert allowed[found[1]].all()
    same = found[1] == truth[1]
    np.testing.assert_array_equal(found[0][same], truth[0][same])
    return float(np.mean([np.isin(b, a).mean() for a, b in zip(found[1], truth[1], strict=True)]))


def test_a_filter_that_comes_again_is_answered_from_its_own_rows(collection: Collection) -> None:
    ask(collection, times=7)
    assert collection.view.rows.materialised.making is None
    ask(collection, times=1)
    assert kept(collection)
    assert shared(collection) >= 0.97


def test_what_was_deleted_or_came_later_is_seen(collection: Collection) -> None:
    ask(collection)
    best = collection.view.search(QUERIES[:1], K, WHERE, False)[1][0]
    ids = collection.view.rows.ids.at(best)
    collection.delete(ids[:5])
    new = QUERIES[:1] * np.float32(1 if collection.info.metric == "cosine" else 100)
    collection.upsert([item("new", new[0], {"n": 0})], new)
    assert kept(collection)
    rows = collection.view.search(QUERIES[:1], K, WHERE, False)[1][0]
    found = collection.view.rows.ids.at(rows)
    assert found[0] == "new"
    assert set(found[1:6]) == set(ids[5:])
    assert not set(found) & set(ids[:5])
    assert shared(collection) >= 0.97


def test_most_of_it_may_be_deleted(collection: Collection) -> None:
    ask(collection)
    collection.delete([f"i{row}" for row in range(0, ROWS, EVERY) if row >= 250])
    assert shared(collection) == 1.0
    assert (collection.view.search(QUERIES, 20, WHERE, False)[1] >= 0).sum() == 10 * len(QUERIES)


def test_a_merge_forgets_it(collection: Collection) -> None:
    ask(collection)
    collection.merge()
    assert not kept(collection)
    ask(collection)
    assert kept(collection)


@pytest.mark.parametrize("where", [RARE, FREQUENT])
def test_few_rows_and_many_are_searched_as_before(collection: Collection, where: bytes) -> None:
    ask(collection, where)
    assert not kept(collection, where)


def test_exact_searches_do_not_count(collection: Collection) -> None:
    for _ in range(20):
        collection.view.search(QUERIES[:1], K, WHERE, True)
        collection.view.search(QUERIES[:1], K, None, False)
    assert collection.view.rows.materialised.making is None
    assert not kept(collection)


def test_so_many_rows_are_kept_at_most() -> None:
    """Of 60,000 rows 3,750: one filter's 2,400, the one that was asked last."""
    materialised = MaterialisedFilters(ExactSegment)
    filters = [f"{n}".encode() for n in range(3)]
    for n, where in enumerate(filters):
        mask = np.arange(ROWS) % EVERY == n
        materialised._next = 0.0
        for _ in range(8):
            materialised.of(where, VECTORS, mask)
        until(lambda: materialised.making is None)
    nothing = np.zeros(ROWS, np.bool_)
    assert [materialised.of(where, VECTORS, nothing) is not None for where in filters] == [False, False, True]


def test_one_is_made_at_a_time_and_then_there_is_a_rest() -> None:
    going, built = threading.Event(), []

    def build(vectors: np.ndarray) -> ExactSegment:
        going.wait(10)
        built.append(len(vectors))
        return ExactSegment(vectors)

    materialised = MaterialisedFilters(build)
    mask, started = np.arange(ROWS) % EVERY == 0, time.monotonic()
    for _ in range(8):
        for where in (b"1", b"2"):
            assert materialised.of(where, VECTORS, mask) is None
    going.set()
    until(lambda: materialised.making is None)
    assert built == [ROWS // EVERY]
    assert materialised.of(b"1", VECTORS, mask) is not None
    assert materialised._next > started
    materialised._next = time.monotonic() + 3600
    assert materialised.of(b"2", VECTORS, mask) is None
    assert materialised.making is None
    materialised._next = 0.0
    assert materialised.of(b"2", VECTORS, mask) is None
    until(lambda: materialised.making is None)
    assert built == [ROWS // EVERY] * 2


def test_one_that_fails_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def build(_: np.ndarray) -> ExactSegment:
        raise MemoryError

    materialised = MaterialisedFilters(build)
    mask = np.arange(ROWS) % EVERY == 0
    for _ in range(8):
        assert materialised.of(b"1", VECTORS, mask) is None
    until(lambda: materialised.making is None)
    assert "materialised filter not made" in caplog.text
    assert materialised.of(b"1", VECTORS, mask) is None
