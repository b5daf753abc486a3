"""Every engine runs these; the exact one, itself checked against float64 brute force, is the oracle."""

from __future__ import annotations

import numpy as np
import pytest

from clip_core.wire import FloatArray, unit
from index_service.backends import exact as exact_module
from index_service.backends.base import Backend, BoolArray, BuildCancelled, Segment
from index_service.backends.certified import CertifiedBackend
from index_service.backends.exact import ExactBackend, search_exact
from index_service.backends.faiss import HnswBackend, HnswSegment
from tests.index_service.helpers import unit_rows

BACKENDS = [ExactBackend(), CertifiedBackend(), HnswBackend(m=16, ef_construction=80, threads=1)]
ROWS = unit_rows(6000, 16)
QUERIES = unit_rows(20, 16, seed=1)
MASKS = {
    "none": None,
    "most": np.random.default_rng(2).random(len(ROWS)) < 0.9,
    "half": np.random.default_rng(3).random(len(ROWS)) < 0.5,
    "cluster": ROWS[:, 0] > 0.1,
    "few": np.arange(len(ROWS)) % 1000 == 0,
    "empty": np.zeros(len(ROWS), np.bool_),
}


@pytest.fixture(scope="module", params=BACKENDS, ids=lambda backend: backend.engine)
def backend(request: pytest.FixtureRequest) -> Backend:
    return request.param


@pytest.fixture(scope="module")
def segment(backend: Backend) -> Segment:
    return backend.build(ROWS)


def brute(rows: FloatArray, query: FloatArray, k: int, mask: BoolArray | None) -> list[tuple[int, float]]:
    scores = (rows.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
    allowed = [row for row in range(len(rows)) if mask is None or mask[row]]
    return [(row, float(scores[row])) for row in sorted(allowed, key=lambda row: (-scores[row], row))[:k]]


def found(segment: Segment, query: FloatArray, k: int, mask: BoolArray | None) -> list[tuple[int, float]]:
    scores, rows = segment.search(query[None], k, mask)
    return [(int(row), float(score)) for row, score in zip(rows[0], scores[0], strict=True) if row >= 0]


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("k", [1, 10, 100])
def test_finds_what_the_oracle_finds(segment: Segment, name: str, k: int) -> None:
    mask = MASKS[name]
    scores, rows = segment.search(QUERIES, k, mask)
    truth_scores, truth = search_exact(ROWS, QUERIES, k, mask)
    assert rows.shape == truth.shape
    assert (np.diff(scores, axis=1) <= 0).all()
    if mask is not None:
        assert mask[rows].all()
    recall = np.mean([len(np.intersect1d(a, b)) / max(len(b), 1) for a, b in zip(rows, truth, strict=True)] or [1])
    assert name == "empty" or recall >= (0.95 if segment.engine == "hnsw" else 1.0)
    same = rows == truth
    assert (scores[same] == truth_scores[same]).all()


@pytest.mark.parametrize("name", MASKS)
def test_the_oracle_is_float64_brute_force(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact_module, "_BLOCK_ROWS", (500, 700))
    segment = ExactBackend().build(ROWS)
    for query in QUERIES[:5]:
        assert found(segment, query, 50, MASKS[name]) == brute(ROWS, query, 50, MASKS[name])


def test_gives_all_rows_when_k_is_larger(backend: Backend) -> None:
    segment = backend.build(ROWS[:30])
    assert found(segment, QUERIES[0], 100, None) == brute(ROWS[:30], QUERIES[0], 100, None)


def test_near_ties_that_float32_confuses_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact_module, "_BLOCK_ROWS", (300, 300))
    rows = unit(unit_rows(1, 64) + 3e-7 * unit_rows(3000, 64, seed=4))
    segment = ExactBackend().build(rows)
    for query in unit_rows(5, 64, seed=5):
        assert found(segment, query, 20, None) == brute(rows, query, 20, None)


@pytest.mark.parametrize("k", [1, 7, 40])
def test_ties_go_by_row(backend: Backend, k: int) -> None:
    rows = np.repeat(unit_rows(10, 16), 60, axis=0)[np.random.default_rng(0).permutation(600)]
    assert found(backend.build(rows), rows[3], k, None) == brute(rows, rows[3], k, None)


def test_a_batch_is_scored_like_its_parts(segment: Segment) -> None:
    scores, rows = segment.search(QUERIES, 10, None)
    for i, query in enumerate(QUERIES):
        assert found(segment, query, 10, None) == list(zip(rows[i].tolist(), scores[i].tolist(), strict=True))


def test_keeps_the_vectors_as_they_were(segment: Segment) -> None:
    assert np.array_equal(segment.vectors, ROWS)


def test_an_empty_segment_finds_nothing(backend: Backend) -> None:
    segment = ExactBackend().build(ROWS[:0]) if backend.engine == "exact" else backend.build(ROWS[:1])
    assert found(segment, QUERIES[0], 5, np.zeros(len(segment.vectors), np.bool_)) == []


def test_a_build_can_be_cancelled() -> None:
    with pytest.raises(BuildCancelled):
        HnswBackend(threads=1).build(ROWS, lambda: True)


def test_a_recall_target_chooses_how_many_candidates_are_kept() -> None:
    chosen = []
    for target in (0.5, 0.99):
        segment = HnswBackend(m=4, ef_construction=20, threads=1, recall_target=target, queries=QUERIES).build(ROWS)
        assert isinstance(segment, HnswSegment)
        chosen.append(segment.ef)
    assert chosen[0] < chosen[1]


def test_duplicates_hide_no_allowed_rows_from_a_graph() -> None:
    rows = np.concatenate((np.repeat(ROWS[:1], 4000, axis=0), ROWS[1:1000]))
    mask = np.ones(len(rows), np.bool_)
    mask[:3000:2] = False
    segment = HnswBackend(m=8, ef_construction=40, threads=1).build(rows)
    hits = found(segment, rows[0], 300, mask)
    assert len(hits) == 300
    assert all(mask[row] for row, _ in hits)
