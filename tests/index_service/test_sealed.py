"""Rows of the delta that are indexed by what the main segment learned."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from index_service.collection import collection as collection_module
from index_service.collection.backoff import Retries
from index_service.collection.collection import Collection
from index_service.collection.registry import Registry
from index_service.metadata.filters import canonical
from index_service.record.store import CollectionInfo, Store
from index_service.segments import sealing
from index_service.segments.engine_choice import Engines
from index_service.segments.view import View, empty_view
from index_service.settings import IndexSettings
from tests.index_service.helpers import item, made, unit_rows
from tests.waiting import until

DIM, MAIN = 16, 3000
MANY = 4500  # more than the probed lists hold, and not so many that all rows are scanned
VECTORS = unit_rows(22_000, DIM)
QUERIES = unit_rows(50, DIM, seed=1)


@pytest.fixture
def settings(tmp_path: Path) -> IndexSettings:
    return IndexSettings(data_dir=tmp_path, build_process_min_rows=1 << 30)


@pytest.fixture
def collection(store: Store, settings: IndexSettings) -> Collection:
    return filled(store, settings, 0.95)


def filled(store: Store, settings: IndexSettings, recall_target: float) -> Collection:
    """3,000 rows in the main segment, 19,000 in the delta; `n` is a row's number modulo 10."""
    info = CollectionInfo("c", "m", "f", DIM, engine="faiss:IVF16,SQ8", recall_target=recall_target)
    collection = made(store, info, settings)
    write(collection, 0, MAIN)
    collection.merge()
    write(collection, MAIN, len(VECTORS))
    seal(collection)
    return collection


def write(collection: Collection, start: int, end: int) -> None:
    for first in range(start, end, 5000):
        rows = range(first, min(first + 5000, end))
        items = [item(f"i{row}", VECTORS[row], {"n": row % 10}) for row in rows]
        collection.upsert(items, VECTORS[rows.start : rows.stop])


def seal(collection: Collection) -> None:
    while collection.seal():
        pass


def found(collection: Collection, where: bytes | None = None, exact: bool = False) -> list[set[str]]:
    view = collection.view
    return [{view.rows.ids[row] for row in own if row >= 0} for own in view.search(QUERIES, 10, where, exact)[1]]


def shared(collection: Collection, where: bytes | None = None) -> float:
    """Recall@10 against an exact search."""
    pairs = zip(found(collection, where), found(collection, where, True), strict=True)
    return float(np.mean([len(own & truth) / 10 for own, truth in pairs]))


def test_rows_written_while_others_are_sealed_do_not_undo_it(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = collection.view
    assert before.sealed is not None
    step = sealing.sealed_further

    def interrupted(view: View) -> View | None:
        after = step(view)
        write(collection, 0, 300)
        return after

    write(collection, 0, 1000)
    with monkeypatch.context() as patched:
        patched.setattr(collection_module, "sealed_further", interrupted)
        assert collection.seal()
    after = collection.view
    assert after.sealed is not None
    assert len(after.delta) == len(before.delta) + 1300
    assert len(after.sealed.vectors) > len(before.sealed.vectors)
    assert np.array_equal(after.sealed.vectors, after.delta[: len(after.sealed.vectors)])
    assert shared(collection) >= 0.93


def test_sealed_rows_are_searched_as_well_as_the_main_segment(collection: Collection) -> None:
    view = collection.view
    assert view.sealed is not None
    assert view.unsealed < 2048
    assert np.shares_memory(view.sealed.vectors, view.delta)
    assert np.array_equal(view.sealed.vectors, VECTORS[MAIN : len(VECTORS) - view.unsealed])
    assert shared(collection) >= 0.93
    assert shared(collection, canonical({"n": {"$lt": 6}})) >= 0.93
    assert shared(collection, canonical({"n": 3})) >= 0.93


def test_a_registry_seals_after_writes(store: Store, settings: IndexSettings) -> None:
    registry = Registry(store, settings)
    registry.start()
    until(lambda: registry.ready)
    collection, _ = registry.create(CollectionInfo("r", "m", "f", DIM, engine="faiss:IVF16,SQ8"))
    write(collection, 0, MAIN)
    collection.merge()
    write(collection, MAIN, MAIN + 9000)
    registry.written(collection)
    until(lambda: collection.view.sealed is not None)
    until(lambda: collection.view.unsealed < 2048)
    registry.close()


def test_an_exact_search_scans_what_is_sealed(collection: Collection) -> None:
    order = np.argsort(-(QUERIES @ VECTORS.T), axis=1)[:, :10]
    assert found(collection, exact=True) == [{f"i{row}" for row in own} for own in order]


def test_what_is_deleted_or_replaced_is_not_found_among_sealed_rows(collection: Collection) -> None:
    gone = sorted(set().union(*found(collection)))
    collection.delete(gone[::2])
    collection.upsert(
        [item(id_, -VECTORS[int(id_[1:])]) for id_ in gone[1::2]], -VECTORS[[int(i[1:]) for i in gone[1::2]]]
    )
    assert not set(gone[::2]) & set().union(*found(collection))
    assert shared(collection) >= 0.9


def test_more_is_found_than_the_probes_hold(collection: Collection) -> None:
    scores, rows = collection.view.search(QUERIES[:2], 9000, None, False)
    assert rows.shape == (2, 9000)
    assert (np.diff(scores) <= 0).all()
    assert all(len(np.unique(own)) == 9000 for own in rows)


@pytest.mark.parametrize("kept", [0, 5])
def test_the_wanted_number_is_found_though_the_main_segment_has_fewer(
    store: Store, settings: IndexSettings, kept: int
) -> None:
    collection = filled(store, settings, 0.2)
    size = len(collection.view.rows.main.vectors)
    collection.delete([f"i{n}" for n in range(kept, size)])
    assert collection.view.sealed
    rows = collection.view.search(QUERIES, MANY, None, False)[1]
    assert (np.count_nonzero(rows >= 0, axis=1) == MANY).all()


def test_a_merge_takes_them_in_and_a_restart_seals_again(
    collection: Collection, store: Store, settings: IndexSettings
) -> None:
    again = Collection(collection.info, store, Engines(settings))
    again.load()
    seal(again)
    assert again.view.unsealed == collection.view.unsealed
    assert found(again) == found(collection)
    collection.merge()
    assert not collection.view.sealed
    assert len(collection.view.rows.main.vectors) == len(VECTORS)


def test_a_graph_has_no_sealed_rows(store: Store, settings: IndexSettings) -> None:
    collection = made(store, CollectionInfo("g", "m", "f", DIM, engine="hnsw"), settings)
    write(collection, 0, 100)
    collection.merge()
    write(collection, 100, 9000)
    seal(collection)
    assert collection.view.rows.main.engine == "hnsw"
    assert not collection.view.sealed


class Flooded:
    """A collection with `rounds` of rows to seal, which writes down what happens to it."""

    info = CollectionInfo("r", "m", "f", DIM)
    view = empty_view(DIM)
    retries = Retries()

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.events: list[str] = []

    def refresh(self) -> None:
        """Nothing to do."""

    def seal(self) -> bool:
        self.events.append("sealed")
        return len(self.events) < self.rounds

    def seal_due(self) -> bool:
        return not self.events

    def merge_due(self) -> bool:
        return False

    def merge(self, _: object) -> None:
        self.events.append("merged")


@pytest.mark.parametrize("rounds", [1, 20])
def test_a_merge_begins_when_what_can_be_sealed_is(store: Store, settings: IndexSettings, rounds: int) -> None:
    """One whose engine seals nothing says so at the first try, and isn't waited for."""
    registry, flooded = Registry(store, settings), Flooded(rounds)
    registry.written(cast(Collection, flooded))
    registry.start()
    registry._maintenance.merge(cast(Collection, flooded))
    registry.close()
    assert flooded.events == [*["sealed"] * rounds, "merged"]


def test_a_flood_is_sealed_in_few_steps(store: Store, settings: IndexSettings) -> None:
    """Each step copies what was sealed before."""
    collection = filled(store, settings, 0.95)
    steps = 0
    collection.merge()
    write(collection, 0, 12_000)
    while collection.seal():
        steps += 1
    assert collection.view.unsealed < 256
    assert steps < 25


def test_what_is_left_when_the_best_rows_are_deleted_is_found(collection: Collection) -> None:
    """The lists that a query looks into are empty then, in the main segment and in what is sealed."""
    best = np.argsort(-(VECTORS @ QUERIES[:5].T).max(axis=1))[:6000]
    collection.delete([f"i{row}" for row in best])
    view = collection.view
    pairs = [view.search(QUERIES[:5], 10, None, exact)[1] for exact in (False, True)]
    assert np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(*pairs, strict=True)]) >= 0.9
