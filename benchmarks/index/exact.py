"""Exact search in process: certified for one query, a matrix product for a batch, against FAISS's flat indexes."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import faiss
import numpy as np

from benchmarks.index.live import K
from clip_core.wire import FloatArray
from index_service.engines.exact.certified import CertifiedBackend
from index_service.engines.exact.scan import search_exact

_faiss: Any = faiss


def cores() -> int:
    """Those that this process may run on."""
    return len(os.sched_getaffinity(0))


def milliseconds(call: Callable[[], Any]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1e3


def certified_against_flat(images: FloatArray, queries: FloatArray, rounds: int) -> dict[str, float]:
    """One query on one thread each, in turn, so that noise falls on all alike; medians in ms."""
    _faiss.omp_set_num_threads(1)
    segment = CertifiedBackend().build(images)
    flat, panorama = _faiss.IndexFlatIP(images.shape[1]), _faiss.IndexFlatIPPanorama(images.shape[1], 8)
    flat.add(images)
    panorama.add(images)
    ways = {"flat": flat.search, "panorama": panorama.search, "certified": partial(segment.certify, mask=None)}
    times: dict[str, list[float]] = {name: [] for name in ways}
    same, verified = 0, []
    for query in queries[:rounds, None]:
        for name, way in ways.items():
            times[name].append(milliseconds(partial(way, query, K)))
        (_, rows), certificates = segment.certify(query, K, None)
        same += set(rows[0]) == set(flat.search(query, K)[1][0])
        verified.append(certificates[0].rows_verified)
    medians = {f"{name}_ms": statistics.median(values) for name, values in times.items()}
    ratio = min(medians["flat_ms"], medians["panorama_ms"]) / medians["certified_ms"]
    return {**medians, "ratio": ratio, "recall": same / rounds, "rows_verified": statistics.median(verified)}


def batch_against_flat(images: FloatArray, queries: FloatArray, rounds: int) -> dict[str, float]:
    """A batch of 64 on all threads, in turn; medians in ms."""
    _faiss.omp_set_num_threads(cores())
    flat = _faiss.IndexFlatIP(images.shape[1])
    flat.add(images)
    asked = np.ascontiguousarray(queries[:64])
    raw, exact = partial(flat.search, asked, K), partial(search_exact, images, asked, K, None)
    exact()
    pairs = [(milliseconds(raw), milliseconds(exact)) for _ in range(rounds)]
    theirs, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {"flat_ms": theirs, "exact_ms": ours, "ratio": theirs / ours}
