"""FAISS by any factory string for inner products: HNSW, IVF with PQ fast scan or RaBitQ, scalar quantizers, …

The syntax is FAISS's (wiki, "The index factory"). Its refining stage is left out, because candidates are always
scored again from the collection's own vectors.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from clip_core.cores import available_cores
from clip_core.wire import FloatArray
from index_service.engines.approximate.calibration import calibrated
from index_service.engines.approximate.candidate_search import SearchParameters
from index_service.engines.approximate.segment import ApproximateSegment, restored_segment
from index_service.engines.base import BuildCancelled, Metric
from index_service.engines.bounds import max_norm_of
from index_service.engines.exact.segment import ExactBackend, ExactSegment
from index_service.engines.faiss.clustering import place_lists
from index_service.engines.faiss.factories import MOST_TRAINED, plan_of
from index_service.engines.faiss.gpu_copy import copied_to_gpu
from index_service.engines.faiss.index_search import read_notes, search_of
from index_service.engines.huge_pages import collapse_index
from index_service.engines.scaling import scale_of, scaled

_faiss: Any = faiss  # its stubs lack half of what is used here
_ADD_ROWS = 2048  # between two looks at `cancelled`
_TRAIN_ROWS = (100_000, MOST_TRAINED)  # the more, the more lists there are
_RERANK_FACTOR = 10
_trying = threading.Lock()  # one index at a time is built to be tried


@dataclass(frozen=True)
class FaissBackend:
    """With a `recall_target` the search parameters are calibrated on `queries` (Q, D), or on rows."""

    factory: str
    engine: str = "faiss"
    effort: int | None = None
    ef_construction: int = 200
    threads: int = 0
    recall_target: float | None = None
    queries: FloatArray | None = field(default=None, compare=False)
    metric: Metric = "cosine"

    apart = True

    def build(
        self, vectors: FloatArray, cancelled: Callable[[], bool] = lambda: False
    ) -> ApproximateSegment | ExactSegment:
        """See `Backend.build`; too few rows to train on stay exact."""
        least = least_rows(self.factory, vectors.shape[1])
        if len(vectors) < max(1, least):
            return ExactBackend(self.metric).build(vectors)
        _faiss.omp_set_num_threads(self.threads or available_cores())
        index = new_index(self.factory, vectors.shape[1])
        if hasattr(index, "hnsw"):
            index.hnsw.efConstruction = self.ef_construction
        max_norm = max_norm_of(vectors, self.metric)
        shared = hasattr(index, "hnsw")  # a graph's rows are the segment's
        scale = 1.0 if shared else scale_of(vectors, max_norm)
        if not index.is_trained:
            rows = scaled(_training_rows(vectors, int(np.clip(least, *_TRAIN_ROWS))), scale)
            place_lists(index, rows)
            index.train(rows)
        for start in range(0, len(vectors), _ADD_ROWS):
            if cancelled():
                raise BuildCancelled
            index.add(np.ascontiguousarray(scaled(vectors[start : start + _ADD_ROWS], scale)))
        search = search_of(index, self.metric, vectors, scale)
        effort = self.effort or search.efforts[len(search.efforts) // 2]
        stored = _stored(index)
        parameters = SearchParameters(effort, 1 if stored is not None else _RERANK_FACTOR)
        kept = vectors if stored is None else stored
        description = {"factory": self.factory}
        segment = ApproximateSegment(self.engine, kept, search, parameters, description, max_norm=max_norm, scale=scale)
        return calibrated(segment, self.queries, self.recall_target)

    def load(self, path: Path, vectors: FloatArray) -> ApproximateSegment:
        """The segment of `vectors` that was saved at `path`; the file is known to be whole."""
        index, notes = _faiss.read_index(str(path)), read_notes(path)
        collapse_index(index)
        stored = _stored(index)
        rows = vectors if stored is None else stored
        search = search_of(index, self.metric, rows, notes.get("scale", 1.0))
        search = replace(search, gpu=copied_to_gpu(index))
        return restored_segment(self.engine, rows, search, notes, self.metric)


def new_index(factory: str, dim: int) -> Any:
    """An empty index, without the refining stage that `factory` may end in. Raises ValueError, RuntimeError."""
    return _faiss.index_factory(dim, plan_of(factory, dim).factory, _faiss.METRIC_INNER_PRODUCT)


def least_rows(factory: str, dim: int) -> int:
    """How many rows training needs; a collection of fewer stays exact. Raises ValueError for an impossible factory."""
    return plan_of(factory, dim).rows


@lru_cache(1024)
def refusal(factory: str, dim: int) -> str | None:
    """Why there is no such index; it is built, empty, to know what FAISS itself says. Not for the event loop."""
    try:
        with _trying:
            new_index(factory, dim)
    except (ValueError, RuntimeError) as error:
        return str(error).strip().rsplit(": ", 1)[-1]
    return None


def _training_rows(vectors: FloatArray, most: int) -> FloatArray:
    rows = np.random.default_rng(0).choice(len(vectors), min(most, len(vectors)), replace=False)
    return np.ascontiguousarray(vectors[np.sort(rows)])


def _stored(index: Any) -> FloatArray | None:
    """(N, D), a view into a graph's own float32 vectors where it has them, so that they are held once."""
    if not isinstance(index, _faiss.IndexHNSWFlat) or not index.ntotal:
        return None
    storage = _faiss.downcast_index(index.storage)
    flat = _faiss.rev_swig_ptr(storage.get_xb(), storage.ntotal * storage.d)
    rows: FloatArray = flat.reshape(storage.ntotal, storage.d)
    return rows
