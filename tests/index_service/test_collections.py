"""A collection against a dictionary: whatever is written, merged and reloaded in between, searches agree."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from benchmarks.lib.repeating import repeating
from clip_core.wire import FloatArray
from index_service.collection.collection import Collection
from index_service.collection.registry import Registry
from index_service.collection.vectors import as_kept
from index_service.engines.base import METRICS, Backend, Metric, Segment
from index_service.engines.exact.segment import ExactBackend
from index_service.engines.faiss.backend import least_rows
from index_service.metadata.filters import canonical
from index_service.metadata.masks import FilterMasks
from index_service.record.store import CollectionInfo, Store
from index_service.segments.engine_choice import Engines, auto_factory
from index_service.segments.view_cost import search_cost
from index_service.settings import IndexSettings
from tests.index_service.helpers import item, made, unit_rows

DIM = 4
IDS = st.sampled_from([f"i{n}" for n in range(12)])
VECTORS = st.lists(st.integers(-2, 2), min_size=DIM, max_size=DIM).filter(any)
ITEMS = st.dictionaries(IDS, st.tuples(VECTORS, st.integers(0, 3)), max_size=5)
COLORS = st.integers(0, 3)


class Slow(Engines):
    """Engines whose builds call `meanwhile` before they are done."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    def choose(self, info: CollectionInfo, rows: int, queries: FloatArray | None = None) -> Backend:
        outer = self

        class Building(ExactBackend):
            def build(self, vectors: FloatArray, cancelled: Callable[[], bool] = lambda: False) -> Any:
                segment = super().build(vectors, cancelled)
                outer.meanwhile()
                return segment

        del rows, queries
        return Building(info.metric)


class Model(RuleBasedStateMachine):
    """`self.items` is the oracle: id → (vector, color), in the order of insertion."""

    @initialize(metric=st.sampled_from(METRICS))
    def start(self, metric: Metric) -> None:
        self.metric = metric
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store(Path(self.folder.name) / "db")
        info = CollectionInfo("c", "m", "f", DIM, metric=metric)
        self.info = replace(info, key=self.store.add_collection(info))
        self.engines = Slow(IndexSettings())
        self.collection = Collection(self.info, self.store, self.engines)
        self.items: dict[str, tuple[FloatArray, int]] = {}

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()

    def kept(self, numbers: list[int]) -> FloatArray:
        """Between dimensions lie some thousand times, so that many bounds of any kind are met."""
        vector = np.array(numbers, np.float32) * np.array([1, 1e3, 1, 1e-3], np.float32)
        return as_kept(vector, self.metric)

    @rule(items=ITEMS)
    def upsert(self, items: dict[str, tuple[list[int], int]]) -> None:
        vectors = np.array([self.kept(v) for v, _ in items.values()], np.float32).reshape(-1, DIM)
        rows = [item(id_, v, {"color": items[id_][1]}) for id_, v in zip(items, vectors, strict=True)]
        self.collection.upsert(rows, vectors)
        for id_, vector in zip(items, vectors, strict=True):
            self.items.pop(id_, None)
            self.items[id_] = (vector, items[id_][1])

    @rule(ids=st.lists(IDS, max_size=4))
    def delete(self, ids: list[str]) -> None:
        expected = [id_ for id_ in set(ids) if self.items.pop(id_, None)]
        assert self.collection.delete(ids) == len(expected)

    @rule(color=COLORS)
    def delete_by_filter(self, color: int) -> None:
        expected = [id_ for id_, (_, own) in self.items.items() if own == color]
        assert self.collection.delete_where(canonical({"color": color})) == len(expected)
        self.items = {id_: kept for id_, kept in self.items.items() if id_ not in expected}

    @rule()
    def merge(self) -> None:
        self.collection.merge()
        segment = self.collection.describe()["segment"]
        assert (segment["delta"], segment["tombstones"]) == (0, 0)

    @rule(items=ITEMS, ids=st.lists(IDS, max_size=3), color=COLORS)
    def merge_while_writing(self, items: dict[str, tuple[list[int], int]], ids: list[str], color: int) -> None:
        def meanwhile() -> None:
            self.upsert(items)
            self.delete(ids)
            self.search([1, 0, 0, 0], 5, color)

        self.engines.meanwhile = meanwhile
        self.collection.merge()
        self.engines.meanwhile = lambda: None

    @rule()
    def restart(self) -> None:
        self.collection = Collection(self.info, self.store, self.engines)
        self.collection.load()

    @rule(query=VECTORS, k=st.integers(1, 20), color=st.none() | COLORS)
    def search(self, query: list[int], k: int, color: int | None) -> None:
        self.check(self.kept(query), k, color)

    def check(self, query: FloatArray, k: int, color: int | None) -> None:
        view = self.collection.view
        where = None if color is None else canonical({"color": color})
        scores, rows = view.search(query[None], k, where, False)
        hits = [(view.rows.ids[row], float(score)) for row, score in zip(rows[0], scores[0], strict=True) if row >= 0]
        ranked = [
            (id_, float(np.float32(vector.astype(np.float64) @ query.astype(np.float64))))
            for id_, (vector, own) in self.items.items()
            if color is None or own == color
        ]
        assert hits == sorted(ranked, key=lambda hit: -hit[1])[:k]
        (certain, same), certificates = view.certify(query[None], k, where)
        assert (certain.tolist(), same.tolist()) == (scores.tolist(), rows.tolist())
        assert sum(certificates[0]) == len(ranked)

    @invariant()
    def counts_agree(self) -> None:
        if hasattr(self, "collection"):
            assert self.collection.describe()["count"] == len(self.items) == self.store.count(self.info.key)


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def make(store: Store, settings: IndexSettings, **info: Any) -> Collection:
    return made(store, CollectionInfo("c", "m", "f", 16, **info), settings)


def test_searches_go_on_and_miss_nothing_while_segments_are_merged(store: Store) -> None:
    collection = make(store, IndexSettings(), engine="hnsw")
    vectors = unit_rows(4000, 16)
    acknowledged, missed = 0, list[int]()

    def search() -> None:
        last = acknowledged - 1
        if last >= 0:
            view = collection.view
            rows = view.search(vectors[last : last + 1], 1, None, True)[1]
            if view.rows.ids[rows[0, 0]] != f"i{last}":
                missed.append(last)

    with repeating(collection.merge), repeating(search):
        for start in range(0, 4000, 50):
            batch = vectors[start : start + 50]
            collection.upsert([item(f"i{start + n}", row) for n, row in enumerate(batch)], batch)
            acknowledged = start + len(batch)
    assert missed == []
    assert collection.view.live == 4000


def test_writers_at_once_share_a_transaction_and_the_later_one_wins(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection, vectors = make(store, IndexSettings()), unit_rows(5, 16)
    groups: list[int] = []
    write = store.upsert_all
    monkeypatch.setattr(store, "upsert_all", lambda key, batches: groups.append(len(batches)) or write(key, batches))
    with ThreadPoolExecutor(5) as pool, collection._lock:
        for n, vector in enumerate(vectors):
            pool.submit(collection.upsert, [item(f"own{n}", vector), item("shared", vector)], vectors[[n, n]])
            while len(collection._upserts._waiting) <= n:
                time.sleep(0.001)
    assert groups == [5]
    view = collection.view
    assert view.live == store.count(collection.info.key) == 6
    rows = view.search(vectors[4:], 6, None, True)[1][0]
    assert [view.rows.ids[row] for row in rows[:2]] == ["own4", "shared"]
    assert store.get(collection.info.key, "shared") == item("shared", vectors[4])


def test_another_engine_than_the_saved_one_is_due_after_a_restart(store: Store) -> None:
    collection = make(store, IndexSettings())
    vectors = unit_rows(3000, 16)
    collection.upsert([item(f"i{n}", row) for n, row in enumerate(vectors)], vectors)
    collection.merge()
    again = Collection(collection.info, store, Engines(IndexSettings(exact_max_rows=50)))
    again.load()
    assert again.engine_due()
    again.merge()
    assert again.describe()["segment"]["engine"] == "faiss"


@pytest.mark.parametrize(
    ("info", "target"), [({}, 0.95), ({"engine": "faiss:IVF16,SQ8", "recall_target": 0.9}, 0.9)], ids=str
)
def test_what_was_calibrated_on_queries_is_described(store: Store, info: dict[str, Any], target: float) -> None:
    collection = make(store, IndexSettings(exact_max_rows=100), **info)
    vectors = unit_rows(3000, 16)
    collection.upsert([item(f"i{n}", row) for n, row in enumerate(vectors)], vectors)
    for query in unit_rows(40, 16, seed=3):
        collection.note_query(query)
    collection.merge()
    description = collection.describe()
    calibration = description["segment"]["calibration"]
    assert (calibration["measured_on"], calibration["queries"], calibration["recall_target"]) == ("queries", 40, target)
    assert description["segment"]["engine"] == "faiss"
    if info:
        assert calibration["recall"] >= target
        assert [described["factory"] for described in (description, description["segment"])] == ["IVF16,SQ8"] * 2


@pytest.mark.parametrize(
    ("engine", "rows", "target", "chosen"),
    [
        ("auto", 4095, None, "exact"),
        ("auto", 4096, None, "certified"),
        ("auto", 50_000, None, "certified"),
        ("auto", 60_000, None, "faiss"),
        ("auto", 60_000, 1.0, "certified"),
        ("certified", 10, None, "certified"),
        ("hnsw", 10, None, "hnsw"),
        ("scann", 999, None, "exact"),
        ("scann", 1000, None, "scann"),
        ("milvus", 1, None, "milvus"),
        ("faiss:IVF64,Flat", 64 * 39 - 1, None, "exact"),
        ("faiss:IVF64,Flat", 64 * 39, None, "faiss"),
    ],
)
def test_the_engine_goes_by_what_was_asked_and_by_size(
    engine: str, rows: int, target: float | None, chosen: str
) -> None:
    info = CollectionInfo("c", "m", "f", 16, engine=engine, recall_target=target)
    assert Engines(IndexSettings()).choose(info, rows).engine == chosen


@pytest.mark.parametrize(
    ("rows", "lists"),
    [(2_496, 64), (24_336, 512), (100_000, 1024), (500_000, 2048), (10**6, 4096), (10**7, 4096), (10**9, 32768)],
)
def test_auto_has_as_many_lists_as_the_size_asks_for_and_rows_to_train_them(rows: int, lists: int) -> None:
    factory = auto_factory(rows, 16)
    assert factory.partition(",")[0] == f"IVF{lists}"
    assert least_rows(factory, 16) <= rows


def test_a_filter_is_evaluated_once_for_each_row(store: Store) -> None:
    collection = make(store, IndexSettings())
    vectors = unit_rows(10, 16)
    where = canonical({"n": {"$gt": 4}})
    collection.upsert([item(f"i{n}", row, {"n": n}) for n, row in enumerate(vectors)], vectors)
    assert search_cost(collection.view, 1, 1, where, False) > search_cost(collection.view, 1, 1, None, False)
    collection.view.search(vectors, 3, where, False)
    assert search_cost(collection.view, 1, 1, where, False) == search_cost(collection.view, 1, 1, None, False)
    collection.merge()
    assert collection.view.rows.masks.missing(where, 10) == 0


def test_a_known_filter_costs_what_it_leaves(store: Store) -> None:
    collection = make(store, IndexSettings())
    vectors, where = unit_rows(3000, 16), {few: canonical({"n": {"$lt": few}}) for few in (150, 151)}
    collection.upsert([item(f"i{n}", row, {"n": n}) for n, row in enumerate(vectors)], vectors)
    for one in where.values():
        collection.view.search(vectors[:1], 1, one, False)
    costs = {few: search_cost(collection.view, 4, 1, one, False) - 4 * 10_000 for few, one in where.items()}
    assert costs == {150: 4 * 150 * 16, 151: 4 * 3000 * 16}  # of more than a twentieth an engine may scan all


def test_what_a_filter_costs_is_estimated_without_evaluating_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A field of a thousand different texts is asked a thousand times; the estimate is made on the event loop."""
    collection = make(store, IndexSettings())
    vectors, later = unit_rows(1000, 16), canonical({"at": {"$gte": "0500"}})
    collection.upsert([item(f"i{n}", row, {"at": f"{n:04}", "n": n}) for n, row in enumerate(vectors)], vectors)
    collection.view.search(vectors[:1], 1, canonical({"at": {"$gte": "0400"}, "n": {"$gte": 4}}), False)
    with monkeypatch.context() as patched:
        patched.setattr(FilterMasks, "mask", None)
        texts = search_cost(collection.view, 1, 1, later, False)
        numbers = search_cost(collection.view, 1, 1, canonical({"n": {"$gte": 5}}), False)
    assert texts > 10 * numbers
    collection.view.search(vectors[:1], 1, later, False)
    assert search_cost(collection.view, 1, 1, later, False) < numbers


def test_the_registry_merges_in_the_background(store: Store) -> None:
    registry = Registry(store, IndexSettings(merge_min_rows=10))
    merged = threading.Event()
    registry.on_merge = lambda _: merged.set()
    store.add_collection(CollectionInfo("c", "m", "f", 16))
    registry.start()
    while not registry.ready:
        time.sleep(0.01)
    collection = registry.get("c")
    vectors = unit_rows(10, 16)
    collection.upsert([item(f"i{n}", row) for n, row in enumerate(vectors)], vectors)
    registry.written(collection)
    assert merged.wait(10)
    segment: Segment = collection.view.rows.main
    assert len(segment.vectors) == 10
