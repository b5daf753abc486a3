"""Every engine runs these; the exact one, itself checked against float64 brute force, is the oracle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clip_core.wire import FloatArray, unit
from index_service.engines.approximate.milvus import MilvusBackend, MilvusSearch
from index_service.engines.approximate.scann import ScannBackend
from index_service.engines.approximate.segment import ApproximateSegment
from index_service.engines.base import METRICS, Backend, BoolArray, BuildCancelled, Metric, Segment
from index_service.engines.exact import scan as scan_module
from index_service.engines.exact.certified import CertifiedBackend
from index_service.engines.exact.scan import search_exact
from index_service.engines.exact.segment import ExactBackend
from index_service.engines.faiss.backend import FaissBackend, least_rows, refusal
from index_service.segments.builder_processes import Loads
from tests.index_service.helpers import rows_of, unit_rows

EXACT = ("exact", "certified")
FACTORIES = [
    "HNSW16",
    "HNSW16,SQ8",
    "IVF16,Flat",
    "IVF16,PQ8x4fs,RFlat",
    "OPQ8_16,IVF16,PQ8x4fs,Refine(SQfp16)",
    "IVF16,SQ8",
    "SQ8",
    "PQ8x4fs",
    "RaBitQ",
    "IVF16,RaBitQ4",
]
ROWS = unit_rows(6000, 16)
QUERIES = unit_rows(20, 16, seed=1)
ROWS_OF = {metric: rows_of(metric, 6000, 16) for metric in METRICS}
QUERIES_OF = {metric: rows_of(metric, 20, 16, seed=1) for metric in METRICS}
MASKS = {
    "none": None,
    "most": np.random.default_rng(2).random(len(ROWS)) < 0.9,
    "half": np.random.default_rng(3).random(len(ROWS)) < 0.5,
    "cluster": ROWS[:, 0] > 0.1,
    "not the best": (ROWS @ QUERIES[:5].T).max(axis=1) < 0.35,
    "short": np.linalg.norm(ROWS_OF["dot"], axis=1) < 3,
    "few": np.arange(len(ROWS)) % 1000 == 0,
    "empty": np.zeros(len(ROWS), np.bool_),
}


def faiss_backend(factory: str, target: float | None = 0.98, metric: Metric = "cosine") -> FaissBackend:
    queries = rows_of(metric, 64, 16, seed=9)
    return FaissBackend(factory, ef_construction=80, threads=1, recall_target=target, queries=queries, metric=metric)


def backend_of(name: str, metric: Metric, folder: Path) -> Backend:
    if name == "milvus":
        return MilvusBackend(str(folder / "lite.db"), "tests", folder, recall_target=0.98, metric=metric)
    others: dict[str, Backend] = {
        "exact": ExactBackend(metric),
        "certified": CertifiedBackend(metric),
        "scann": ScannBackend(1, 0.98, metric=metric),
    }
    return others[name] if name in others else faiss_backend(name, metric=metric)


@pytest.fixture(scope="module", params=METRICS)
def metric(request: pytest.FixtureRequest) -> Metric:
    chosen: Metric = request.param
    return chosen


@pytest.fixture(scope="module", params=["exact", "certified", *FACTORIES, "scann", "milvus"])
def backend(request: pytest.FixtureRequest, metric: Metric, tmp_path_factory: pytest.TempPathFactory) -> Backend:
    return backend_of(request.param, metric, tmp_path_factory.mktemp("engine"))


@pytest.fixture(scope="module")
def segment(backend: Backend) -> Segment:
    return backend.build(ROWS_OF[backend.metric])


def brute(rows: FloatArray, query: FloatArray, k: int, mask: BoolArray | None) -> list[tuple[int, float]]:
    scores = (rows.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
    allowed = [row for row in range(len(rows)) if mask is None or mask[row]]
    return [(row, float(scores[row])) for row in sorted(allowed, key=lambda row: (-scores[row], row))[:k]]


def found(segment: Segment, query: FloatArray, k: int, mask: BoolArray | None) -> list[tuple[int, float]]:
    scores, rows = segment.search(query[None], k, mask)
    return [(int(row), float(score)) for row, score in zip(rows[0], scores[0], strict=True) if row >= 0]


def least_recall(segment: Segment) -> float:
    """Of k up to 100, calibrated for 10. A graph of inner products has rows that no link leads to."""
    graph = isinstance(segment, ApproximateSegment) and segment.candidate_search.effort_name in ("efSearch", "ef")
    approximate = 0.85 if graph and segment.max_norm is not None else 0.9
    return 1.0 if segment.engine in EXACT else approximate


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("k", [1, 10, 100])
def test_finds_what_the_oracle_finds(segment: Segment, metric: Metric, name: str, k: int) -> None:
    mask, queries = MASKS[name], QUERIES_OF[metric]
    scores, rows = segment.search(queries, k, mask)
    truth_scores, truth = search_exact(ROWS_OF[metric], queries, k, mask, segment.max_norm)
    assert rows.shape == truth.shape
    assert (np.diff(scores, axis=1) <= 0).all()
    if mask is not None:
        assert mask[rows].all()
    recall = np.mean([len(np.intersect1d(a, b)) / max(len(b), 1) for a, b in zip(rows, truth, strict=True)] or [1])
    assert name == "empty" or recall >= least_recall(segment)
    same = rows == truth
    assert (scores[same] == truth_scores[same]).all()


AT_ONCE = pytest.mark.parametrize("few_rows", [0, 1 << 12], ids=["block by block", "at once"])


@AT_ONCE
@pytest.mark.parametrize("name", MASKS)
def test_the_oracle_is_float64_brute_force(
    metric: Metric, name: str, few_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_module, "_BLOCK_ROWS", (500, 700))
    monkeypatch.setattr(scan_module, "_FEW_ROWS", few_rows)
    rows = ROWS_OF[metric]
    segment = ExactBackend(metric).build(rows)
    for query in QUERIES_OF[metric][:5]:
        assert found(segment, query, 50, MASKS[name]) == brute(rows, query, 50, MASKS[name])


def test_gives_all_rows_when_k_is_larger(backend: Backend) -> None:
    rows, query = ROWS_OF[backend.metric][:30], QUERIES_OF[backend.metric][0]
    assert found(backend.build(rows), query, 100, None) == brute(rows, query, 100, None)


@AT_ONCE
@pytest.mark.parametrize("norm", [1e-18, 1, 1e18])
def test_near_ties_that_float32_confuses_are_told_apart(
    norm: float, few_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_module, "_BLOCK_ROWS", (300, 300))
    monkeypatch.setattr(scan_module, "_FEW_ROWS", few_rows)
    rows = np.float32(norm) * unit(unit_rows(1, 64) + 3e-7 * unit_rows(3000, 64, seed=4))
    segment = ExactBackend("cosine" if norm == 1 else "dot").build(rows)
    for query in np.float32(norm) * unit_rows(5, 64, seed=5):
        assert found(segment, query, 20, None) == brute(rows, query, 20, None)


@pytest.mark.parametrize("k", [1, 7, 40])
def test_ties_go_by_row(backend: Backend, k: int) -> None:
    rows = np.repeat(unit_rows(10, 16), 60, axis=0)[np.random.default_rng(0).permutation(600)]
    assert found(backend.build(rows), rows[3], k, None) == brute(rows, rows[3], k, None)


def test_a_batch_is_scored_like_its_parts(segment: Segment, metric: Metric) -> None:
    """ScaNN's own pruning in a batch may let a candidate through that a lone query's does not, or the other way."""
    queries = QUERIES_OF[metric]
    scores, rows = segment.search(queries, 10, None)
    batch = [list(zip(rows[i].tolist(), scores[i].tolist(), strict=True)) for i in range(len(queries))]
    alone = [found(segment, query, 10, None) for query in queries]
    if getattr(segment, "engine", "") != "scann":
        assert alone == batch
    for one, many in zip(alone, batch, strict=True):
        same_rows = {row for row, _ in one} & {row for row, _ in many}
        assert len({*one} & {*many}) == len(same_rows) >= 7


def test_keeps_the_vectors_as_they_were(segment: Segment, metric: Metric) -> None:
    assert np.array_equal(segment.vectors, ROWS_OF[metric])


def test_knows_its_longest_row(segment: Segment, metric: Metric) -> None:
    if metric == "cosine":
        assert segment.max_norm is None
    else:
        assert segment.max_norm == pytest.approx(np.linalg.norm(ROWS_OF[metric], axis=1).max(), rel=1e-6)


def test_an_empty_segment_finds_nothing(backend: Backend) -> None:
    segment = backend.build(ROWS[:1])
    assert found(segment, QUERIES[0], 5, np.zeros(len(segment.vectors), np.bool_)) == []


@pytest.mark.parametrize("name", ["certified", "HNSW16", "IVF16,SQ8", "scann", "milvus"])
def test_a_build_can_be_cancelled(name: str, tmp_path: Path) -> None:
    milvus = MilvusBackend(str(tmp_path / "m.db"), "t", tmp_path)
    others: dict[str, Backend] = {"certified": CertifiedBackend(), "scann": ScannBackend(1), "milvus": milvus}
    with pytest.raises(BuildCancelled):
        (others.get(name) or faiss_backend(name)).build(ROWS, lambda: True)


@pytest.mark.parametrize("name", [*FACTORIES, "scann"])
def test_a_saved_index_finds_what_it_found(name: str, metric: Metric, tmp_path: Path) -> None:
    backend, queries, rows = backend_of(name, metric, tmp_path), QUERIES_OF[metric], ROWS_OF[metric][:2500]
    segment = backend.build(rows)
    assert isinstance(backend, Loads)
    assert isinstance(segment, ApproximateSegment)
    assert segment.save is not None
    segment.save(tmp_path / "engine")
    again = backend.load(tmp_path / "engine", rows)
    assert isinstance(again, ApproximateSegment)
    assert (again.parameters, again.description) == (segment.parameters, segment.description)
    assert again.max_norm == segment.max_norm
    assert [path.name for path in tmp_path.iterdir()] == ["engine"]
    for first, second in zip(segment.search(queries, 10, None), again.search(queries, 10, None), strict=True):
        assert np.array_equal(first, second)


@pytest.mark.parametrize("factory", ["HNSW4", "IVF64,PQ8x4fs"])
def test_a_recall_target_chooses_the_cheapest_setting_that_reaches_it(factory: str) -> None:
    truth = search_exact(ROWS, QUERIES, 10, None)[1]
    settings = []
    for target in (0.5, 0.99):
        segment = replace(faiss_backend(factory, target), queries=np.tile(QUERIES, (2, 1))).build(ROWS)
        assert isinstance(segment, ApproximateSegment)
        shares = segment.recall(QUERIES, truth, segment.parameters)
        assert shares.mean() - shares.std() / len(shares) ** 0.5 >= target - 1e-6
        assert segment.description["calibration"]["recall"] >= target - 1e-9
        assert segment.description["calibration"]["measured_on"] == "queries"
        settings.append(segment.parameters)
    assert settings[0] < settings[1]


def test_without_queries_rows_stand_in() -> None:
    segment = FaissBackend("HNSW8", threads=1, recall_target=0.9).build(ROWS)
    assert isinstance(segment, ApproximateSegment)
    assert segment.description["calibration"]["measured_on"] == "rows"


def test_scores_are_true_whatever_the_codes_say(backend: Backend) -> None:
    rows, query = rows_of(backend.metric, 2500, 16, seed=7), QUERIES_OF[backend.metric][0]
    for row, score in found(backend.build(rows), query, 10, None):
        assert score == np.float32(rows[row].astype(np.float64) @ query.astype(np.float64))


def test_duplicates_hide_no_allowed_rows_from_a_graph() -> None:
    rows = np.concatenate((np.repeat(ROWS[:1], 4000, axis=0), ROWS[1:1000]))
    mask = np.ones(len(rows), np.bool_)
    mask[:3000:2] = False
    hits = found(FaissBackend("HNSW8", ef_construction=40, threads=1, effort=128).build(rows), rows[0], 300, mask)
    assert len(hits) == 300
    assert all(mask[row] for row, _ in hits)


@pytest.mark.parametrize("name", ["HNSW16", "IVF16,SQ8", "IVF16,PQ8x4fs", "IVF16,RaBitQ4", "RaBitQ", "scann"])
@pytest.mark.parametrize(("rows_by", "queries_by"), [(1e-18, 1e16), (1e-6, 1), (1e16, 1e-18), (1, 1e-15)])
def test_no_engine_counts_on_norms_near_one(name: str, rows_by: float, queries_by: float, tmp_path: Path) -> None:
    rows, queries = ROWS_OF["dot"] * np.float32(rows_by), QUERIES_OF["dot"] * np.float32(queries_by)
    segment = backend_of(name, "dot", tmp_path).build(rows)
    truth = search_exact(rows, queries, 10, None, segment.max_norm)[1]
    found_rows = segment.search(queries, 10, None)[1]
    assert np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(found_rows, truth, strict=True)]) >= 0.9
    assert np.array_equal(segment.vectors, rows)


@pytest.mark.parametrize(
    "factory", ["hello", "IVF16,PQ7", "LSH", "IVF99999999,Flat", "PCA8,IVF2M,SQ8", "IMI2x11,Flat", ""]
)
def test_an_impossible_factory_is_refused(factory: str) -> None:
    assert refusal(factory, 16)


def test_a_codebook_waits_for_rows_to_train_on() -> None:
    assert [least_rows(factory, 16) for factory in ("HNSW32", "IVF64,PQ8x4fs", "PQ8")] == [0, 39 * 64, 39 * 256]
    assert FaissBackend("IVF64,Flat").build(ROWS[:100]).engine == "exact"


def test_milvus_that_fails_is_answered_for_by_a_scan(tmp_path: Path) -> None:
    segment = MilvusBackend(str(tmp_path / "m.db"), "t", tmp_path).build(ROWS)
    assert isinstance(segment, ApproximateSegment)
    assert isinstance(segment.candidate_search, MilvusSearch)
    segment.candidate_search._client.drop_collection(segment.description["collection"])
    assert found(segment, QUERIES[0], 10, None) == brute(ROWS, QUERIES[0], 10, None)
