"""Each engine in process over its knob: recall@10 on text queries beside queries a second, one thread of queries."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import faiss
import numpy as np

from benchmarks.index.exact import cores
from benchmarks.index.live import K, recall
from clip_core.wire import FloatArray
from index_service.engines.approximate.candidate_search import SearchParameters
from index_service.engines.approximate.scann import ScannBackend
from index_service.engines.approximate.segment import ApproximateSegment
from index_service.engines.base import Backend, IntArray
from index_service.engines.faiss.backend import FaissBackend
from index_service.engines.faiss.index_search import FaissSearch
from index_service.segments.engine_choice import auto_factory, auto_lists

_faiss: Any = faiss
TARGET = 0.95


@dataclass(frozen=True)
class Point:
    """One setting of one engine."""

    engine: str
    effort: int
    reorder: int
    recall: float
    qps: float


def backends(rows: int, dim: int, queries: FloatArray) -> dict[str, Backend]:
    """What is tried, calibrated on `queries` (Q, D)."""
    lists, threads = f"IVF{auto_lists(rows)}", cores()

    def made(factory: str) -> FaissBackend:
        return FaissBackend(factory, threads=threads, recall_target=TARGET, queries=queries)

    return {
        "auto": made(auto_factory(rows, dim)),
        "half as many lists": made(f"IVF{auto_lists(rows) // 2},PQ{dim // 2}x4fsr"),
        "twice as many lists": made(f"IVF{auto_lists(rows) * 2},PQ{dim // 2}x4fsr"),
        "IVF,PQ fast scan, 4 dims a code": made(f"{lists},PQ{dim // 4}x4fsr"),
        "IVF,SQ8": made(f"{lists},SQ8"),
        "IVF,Flat": made(f"{lists},Flat"),
        "IVF,RaBitQ": made(f"{lists},RaBitQ"),
        "ScaNN": ScannBackend(threads, TARGET, queries),
    }


def sweep(
    name: str, backend: Backend, images: FloatArray, queries: FloatArray, truth: IntArray, log: Callable[[str], None]
) -> tuple[list[Point], Point | None, ApproximateSegment | None]:
    """Points along the knob, the point that calibration chose, and the segment; nothing where it stayed exact."""
    started = time.perf_counter()
    segment = backend.build(images)
    log(f"{name}: built in {time.perf_counter() - started:.0f} s")
    if not isinstance(segment, ApproximateSegment):
        return [], None, None
    chosen = point(name, segment, segment.parameters, queries, truth)
    least, rerank = segment.parameters.effort / 8, segment.parameters.rerank_factor
    tried = [SearchParameters(effort, rerank) for effort in segment.candidate_search.efforts if effort >= least]
    return [point(name, segment, parameters, queries, truth) for parameters in tried[::2][:10]], chosen, segment


def point(name: str, segment: ApproximateSegment, at: SearchParameters, queries: FloatArray, truth: IntArray) -> Point:
    """One query at a time, scores in full precision included, as every engine of the service does it."""
    tuned, started = replace(segment, parameters=at), time.perf_counter()
    rows = [tuned.search(query[None], K, None)[1][0].tolist() for query in queries]
    seconds = time.perf_counter() - started
    return Point(name, at.effort, at.rerank_factor, recall(rows, truth), len(queries) / seconds)


def alone(segment: ApproximateSegment, knobs: dict[str, int]) -> Any:
    """FAISS alone: the same index of inverted lists with its own float32 refining stage, at the same setting."""
    assert isinstance(segment.candidate_search, FaissSearch)
    index = segment.candidate_search.index
    _faiss.extract_index_ivf(index).nprobe = knobs["nprobe"]
    refined = _faiss.IndexRefineFlat(index, _faiss.swig_ptr(np.ascontiguousarray(segment.vectors)))
    refined.k_factor = knobs["reorder"]
    return refined
