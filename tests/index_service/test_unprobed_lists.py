"""What is expected to lie in lists that weren't looked into, and that masks about the query's own topic are noticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import orjson
import pytest

from clip_core.wire import FloatArray, unit
from index_service.engines.approximate.candidate_search import SearchParameters, UnprobedRows
from index_service.engines.approximate.filtered_candidates import overfetch
from index_service.engines.approximate.retry_policy import LEAST_THRESHOLDS, mean_ranks
from index_service.engines.approximate.segment import ApproximateSegment
from index_service.engines.approximate.unprobed_lists import AllRowsProbed, UnprobedLists, unprobed_lists_of
from index_service.engines.base import BoolArray, IntArray
from index_service.engines.exact.scan import search_exact
from index_service.engines.faiss.backend import FaissBackend, new_index
from index_service.engines.faiss.index_search import FaissSearch
from tests.index_service.helpers import reloaded

DIM, TOPICS, EACH, K = 24, 200, 100, 10
rng = np.random.default_rng(0)
CENTRES = unit(rng.standard_normal((TOPICS, DIM)).astype(np.float32))
TOPIC = np.repeat(np.arange(TOPICS), EACH)
ROWS = unit(CENTRES[TOPIC] + 0.2 * rng.standard_normal((len(TOPIC), DIM)).astype(np.float32))
QUERIES = unit(CENTRES[:80] + 0.15 * rng.standard_normal((80, DIM)).astype(np.float32))
KNOWN, ASKED = QUERIES[:40], QUERIES[40:60]
NEAREST = np.argsort(-(ASKED @ CENTRES.T), axis=1)


def built(factory: str, target: float | None = 0.95, rows: FloatArray = ROWS) -> ApproximateSegment:
    segment = FaissBackend(factory, threads=1, recall_target=target, queries=KNOWN, ef_construction=60).build(rows)
    assert isinstance(segment, ApproximateSegment)
    return segment


@pytest.fixture(scope="module", params=["IVF128,SQ8", "IVF128,PQ12x4fsr", "PCA16,IVF64,SQ8", "HNSW16", "PQ12x4fs"])
def segment(request: pytest.FixtureRequest) -> ApproximateSegment:
    return built(request.param)


def without(query: int, topics: int) -> BoolArray:
    """All rows but those of the topics that are nearest to a query."""
    return ~np.isin(TOPIC, NEAREST[query, :topics])


def recall(found: IntArray, truth: IntArray) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, truth, strict=True)]))


def by_the_engine_alone(segment: ApproximateSegment, query: FloatArray, mask: BoolArray) -> IntArray:
    """As its own filters would have it, with as much more effort as rows are masked."""
    effort, count = int(segment.parameters.effort / mask.mean()), K * segment.parameters.rerank_factor
    rows = segment.candidate_search.search(query[None], count, effort, mask)
    return rows[:, np.argsort(-(ROWS[rows[0]] @ query))[:K]]


@pytest.mark.parametrize("topics", [1, 10, 60])
def test_what_is_left_when_the_nearest_topics_are_masked_is_found(segment: ApproximateSegment, topics: int) -> None:
    shares, alone = [], []
    for i, query in enumerate(ASKED):
        mask = without(i, topics)
        truth = search_exact(ROWS, query[None], K, mask)[1]
        shares.append(recall(segment.search(query[None], K, mask)[1], truth))
        if segment.candidate_search.takes_mask:
            alone.append(recall(by_the_engine_alone(segment, query, mask), truth))
    assert np.mean(shares) >= 0.94  # 0.95 is aimed at, on other queries
    if topics == 60 and alone:
        assert np.mean(alone) < 0.7  # else these masks show nothing


def test_each_query_of_a_batch_is_judged_by_itself(segment: ApproximateSegment) -> None:
    mask = without(0, 20)
    rows = segment.search(ASKED, K, mask)[1]
    assert recall(rows, search_exact(ROWS, ASKED, K, mask)[1]) >= 0.95
    assert mask[rows].all()


def test_a_mask_that_has_nothing_to_do_with_the_query_costs_no_second_search(monkeypatch: pytest.MonkeyPatch) -> None:
    segment, asked = built("IVF128,SQ8"), []
    search = FaissSearch.search

    def noted(self: FaissSearch, queries: FloatArray, count: int, effort: int, mask: BoolArray | None) -> IntArray:
        asked.append(mask is not None)
        return search(self, queries, count, effort, mask)

    monkeypatch.setattr(FaissSearch, "search", noted)
    for query in ASKED:
        segment.search(query[None], K, np.random.default_rng(1).random(len(ROWS)) < 0.7)
    assert asked.count(False) == len(ASKED)
    assert asked.count(True) <= 2


def unseen_of(segment: ApproximateSegment) -> UnprobedLists:
    assert isinstance(segment.candidate_search, FaissSearch)
    assert isinstance(segment.candidate_search.unprobed, UnprobedLists)
    return segment.candidate_search.unprobed


@pytest.fixture(scope="module")
def lists() -> ApproximateSegment:
    return built("IVF128,SQ8")


def test_where_anything_is_better_all_rows_not_seen_are_expected(lists: ApproximateSegment) -> None:
    everything, mask = np.full(len(ASKED), -np.inf, np.float32), np.arange(len(ROWS)) % 3 == 0
    for effort in (1, 5, 127):
        seen = [np.unique(each[each >= 0]) for each in lists.candidate_search.search(ASKED, len(ROWS), effort, None)]
        expected = unseen_of(lists).expected_above(ASKED, everything, effort, None)
        assert expected.tolist() == [len(ROWS) - len(rows) for rows in seen]
        allowed = unseen_of(lists).expected_above(ASKED, everything, effort, mask)
        assert allowed.tolist() == [np.count_nonzero(mask) - np.count_nonzero(mask[rows]) for rows in seen]


def test_more_effort_or_a_higher_floor_leaves_less(lists: ApproximateSegment) -> None:
    min_scores = np.full(len(ASKED), 0.5, np.float32)
    expected_above = unseen_of(lists).expected_above
    by_effort = np.stack([expected_above(ASKED, min_scores, effort, None) for effort in (1, 4, 16, 64, 128)])
    assert (np.diff(by_effort, axis=0) <= 1e-3).all()
    assert (by_effort[-1] == 0).all()
    by_floor = np.stack([expected_above(ASKED, min_scores + step, 4, None) for step in (-1, -0.3, 0, 0.3, 9)])
    assert (np.diff(by_floor, axis=0) <= 1e-3).all()
    assert (by_floor[-1] == 0).all()


def test_it_is_never_less_than_what_is_there_where_rows_lie_as_is_supposed() -> None:
    """Differences of the same normal distribution everywhere: the figure is a bound, and within ten times the truth."""
    own = np.random.default_rng(5)
    centroids = own.standard_normal((64, DIM)).astype(np.float32)
    rows = (centroids[np.arange(64_000) % 64] + 0.3 * own.standard_normal((64_000, DIM))).astype(np.float32)
    index = new_index("IVF64,Flat", DIM)
    index.quantizer.add(centroids)
    index.is_trained = True
    index.add(rows)
    unprobed = unprobed_lists_of(index, rows, 1.0)
    assert unprobed is not None
    queries = own.standard_normal((30, DIM)).astype(np.float32)
    min_scores = np.sort(queries @ rows.T, axis=1)[:, -10_000].astype(np.float32)
    assigned = np.argmax(rows @ centroids.T, axis=1)
    for effort in (1, 8):
        near = np.argsort(-(queries @ centroids.T), axis=1)[:, :effort]
        better = queries @ rows.T > min_scores[:, None]
        truth = np.array([np.count_nonzero(b & ~np.isin(assigned, n)) for b, n in zip(better, near, strict=True)])
        expected = unprobed.expected_above(queries, min_scores, effort, None)
        assert np.median(expected / truth) > 1
        assert np.median(expected / truth) < 10


def test_lists_of_lists_can_not_tell() -> None:
    index = faiss.index_factory(DIM, "IMI2x4,SQ8")
    index.train(ROWS[:4000])
    index.add(ROWS)
    assert unprobed_lists_of(index, ROWS, 1.0) is None


def test_an_index_that_looks_at_everything_has_nothing_unseen() -> None:
    nothing: UnprobedRows = AllRowsProbed()
    assert nothing.expected_above(ASKED, np.zeros(len(ASKED), np.float32), 1, None).tolist() == [0] * len(ASKED)


def test_what_is_usual_is_kept_with_the_index(tmp_path: Path) -> None:
    saved = built("IVF64,PQ12x4fsr")
    assert saved.save is not None
    saved.save(tmp_path / "engine")
    loaded = FaissBackend("IVF64,PQ12x4fsr").load(tmp_path / "engine", ROWS)
    assert saved.thresholds != LEAST_THRESHOLDS
    assert loaded.thresholds == saved.thresholds
    assert loaded.large_k_effort == saved.large_k_effort
    for query, own in ((ASKED[0], without(0, 10)), (ASKED[1], without(1, 10))):
        pair = [each.search(query[None], K, own) for each in (saved, loaded)]
        assert np.array_equal(pair[0][1], pair[1][1])


def test_an_index_of_before_takes_the_least_for_usual(tmp_path: Path) -> None:
    path = tmp_path / "engine"
    reloaded("IVF64,SQ8", ROWS, path)
    data = path.read_bytes()
    length = int.from_bytes(data[-8:], "little")
    notes = orjson.loads(data[-8 - length : -8])
    encoded = orjson.dumps({name: value for name, value in notes.items() if name not in ("usual", "many")})
    path.write_bytes(data[: -8 - length] + encoded + len(encoded).to_bytes(8, "little"))
    old = FaissBackend("IVF64,SQ8").load(path, ROWS)
    assert (old.thresholds, old.large_k_effort) == (LEAST_THRESHOLDS, 0)
    truth = search_exact(ROWS, ASKED[:1], K, without(0, 10))[1]
    assert recall(old.search(ASKED[:1], K, without(0, 10))[1], truth) >= 0.9


def test_many_hits_get_the_effort_that_they_take() -> None:
    segment = built("IVF128,SQ8")
    assert segment.large_k_effort > segment.parameters.effort  # a topic has a hundred rows, a list some 150
    truth = search_exact(ROWS, ASKED, 100, None)[1]
    few = replace(segment, large_k_effort=0)
    assert recall(segment.search(ASKED, 100, None)[1], truth) > max(0.9, recall(few.search(ASKED, 100, None)[1], truth))


class Silent:
    """An engine out of reach."""

    effort_name, takes_mask, efforts, unprobed, asked = "ef", False, (16, 32, 64), None, 0

    def search(self, queries: FloatArray, count: int, effort: int, mask: BoolArray | None) -> IntArray:
        del effort, mask
        self.asked += 1
        return np.full((len(queries), count), -1, np.int64)


def test_an_engine_out_of_reach_is_asked_once() -> None:
    candidate_search = Silent()
    segment = ApproximateSegment("silent", ROWS, candidate_search, SearchParameters(16), {})
    assert np.array_equal(segment.search(ASKED, K, None)[1], search_exact(ROWS, ASKED, K, None)[1])
    assert candidate_search.asked == 1


def test_a_mean_place_is_small_where_the_best_come_first() -> None:
    rows = np.array([[5, 3, 9, 7, -1, -1], [5, 3, 9, 7, 1, 2]])
    found = np.array([[3, 5], [2, 1]])
    assert mean_ranks(rows, found).tolist() == [0.125, 0.75]


class Ordered:
    """The best rows, whatever is masked."""

    effort_name, takes_mask, efforts, unprobed = "ef", False, (1,), None

    def search(self, queries: FloatArray, count: int, effort: int, mask: BoolArray | None) -> IntArray:
        del effort, mask
        return np.argsort(-(queries @ ROWS.T), axis=1)[:, :count]


def test_candidates_are_sure_where_chance_left_as_many() -> None:
    masks = {"random": np.random.default_rng(3).random(len(ROWS)) < 0.5, "topic": without(0, 3)}
    for name, mask in masks.items():
        rows, sure = overfetch(Ordered(), ASKED[:1], (20, 20), 1, mask, float(mask.mean()))
        assert sure.tolist() == [name == "random"]
        assert mask[rows[rows >= 0]].all()
