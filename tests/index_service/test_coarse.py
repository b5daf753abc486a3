"""Inverted lists are chosen by codes of their centroids, as FAISS chooses them by the centroids themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clip_core.wire import FloatArray
from index_service.engines.approximate.segment import ApproximateSegment
from index_service.engines.base import Metric
from index_service.engines.faiss.backend import FaissBackend
from index_service.engines.faiss.index_search import FaissSearch
from tests.index_service.helpers import rows_of, unit_rows

LISTS, DIM, K = 512, 16, 10
ROWS, QUERIES = 39 * LISTS, unit_rows(100, DIM, seed=1)


@pytest.fixture(scope="module", params=["cosine", "dot"])
def segment(request: pytest.FixtureRequest) -> ApproximateSegment:
    metric: Metric = request.param
    built = FaissBackend(f"IVF{LISTS},PQ{DIM // 2}x4fsr", effort=8, metric=metric).build(rows_of(metric, ROWS, DIM))
    assert isinstance(built, ApproximateSegment)
    return built


def candidate_search(segment: ApproximateSegment) -> FaissSearch:
    assert isinstance(segment.candidate_search, FaissSearch)
    return segment.candidate_search


def shared(segment: ApproximateSegment, lists: int, mask: np.ndarray | None = None) -> float:
    """The share of FAISS's own candidates that are found by the codes too."""
    own = candidate_search(segment)
    ours, theirs = (each.search(QUERIES, 50, lists, mask) for each in (own, replace(own, coarse=None)))
    wanted = [b[b >= 0] for b in theirs]
    return float(np.mean([np.isin(b, a).mean() for a, b in zip(ours, wanted, strict=True)]))


@pytest.mark.parametrize("lists", [1, 4, 32])
def test_the_same_rows_are_found(segment: ApproximateSegment, lists: int) -> None:
    own = candidate_search(segment).coarse
    assert own is not None
    assert own.takes(lists)
    assert shared(segment, lists) > 0.97


def test_of_a_filter_too(segment: ApproximateSegment) -> None:
    mask = np.arange(ROWS) % 2 == 0
    rows = candidate_search(segment).search(QUERIES, 50, 8, mask)
    assert mask[rows[rows >= 0]].all()
    assert shared(segment, 8, mask) > 0.97


def test_a_batch_and_lone_queries_agree(segment: ApproximateSegment) -> None:
    together = segment.search(QUERIES, K, None)[1]
    alone = np.concatenate([segment.search(query[None], K, None)[1] for query in QUERIES])
    assert (together == alone).mean() > 0.99


def test_rows_added_later_are_found(segment: ApproximateSegment) -> None:
    new = rows_of("cosine" if segment.max_norm is None else "dot", 200, DIM, seed=2)
    empty = segment.empty_copy()
    assert empty is not None
    later = empty.extended(new)
    assert candidate_search(later).coarse is not None
    found = later.search(_levelled(new), 1, None)[1][:, 0]
    assert (found == np.arange(200)).mean() > 0.9 if segment.max_norm is None else (found >= 0).all()


def _levelled(rows: FloatArray) -> FloatArray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("factory", ["IVF64,SQ8", "PCA8,IVF512,SQ8", "IVF512_HNSW8,SQ8"])
def test_other_indexes_are_left_to_faiss(factory: str) -> None:
    built = FaissBackend(factory).build(unit_rows(ROWS, DIM))
    assert isinstance(built, ApproximateSegment)
    assert candidate_search(built).coarse is None


def test_many_lists_are_left_to_faiss(segment: ApproximateSegment) -> None:
    own = candidate_search(segment).coarse
    assert own is not None
    assert not own.takes(LISTS)
    assert shared(segment, LISTS) == 1.0


@pytest.mark.parametrize("factory", [f"IVF{LISTS},Flat", f"IVF{LISTS},RaBitQ"])
def test_every_kind_of_list_can_be_searched_so(factory: str) -> None:
    built = FaissBackend(factory).build(unit_rows(ROWS, DIM))
    assert isinstance(built, ApproximateSegment)
    assert shared(built, 8) > 0.97
