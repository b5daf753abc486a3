"""FAISS by any factory string for inner products: HNSW, IVF with PQ fast scan or RaBitQ, scalar quantizers, …

The syntax is FAISS's own (wiki, "The index factory"). A refining stage in it is left out: candidates are always
rescored from the collection's own vectors. The module shares its name with the library; `import faiss` is absolute.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import orjson

from clip_core.wire import FloatArray
from index_service.engines.approximate.approximate import ApproximateSegment, restored
from index_service.engines.approximate.calibration import calibrated
from index_service.engines.approximate.candidate_search import Setting, Unseen, ladder
from index_service.engines.approximate.unprobed_lists import NothingUnseen, UnseenLists, unseen_lists
from index_service.engines.base import BoolArray, BuildCancelled, IntArray, Metric
from index_service.engines.bounds import longest_of
from index_service.engines.exact.exact import ExactBackend, ExactSegment
from index_service.engines.faiss.clustering import place_lists
from index_service.engines.faiss.coarse import CoarseCodes, coarse_codes
from index_service.engines.faiss.factories import MOST_TRAINED, plan_of
from index_service.engines.faiss.faiss_gpu import GpuCopy, copied_to_gpu
from index_service.engines.huge_pages import collapse_index
from index_service.engines.scaling import scale_of, scaled

_faiss: Any = faiss  # its stubs lack half of what is used here
_ADD_ROWS = 2048  # between two looks at `cancelled`
_TRAIN_ROWS = (100_000, MOST_TRAINED)  # the more, the more lists there are
_REORDER = 10
_trying = threading.Lock()  # one index at a time is built to be tried


@dataclass(frozen=True)
class FaissSeeker:
    """`index` holds N rows; its knob is efSearch for a graph, nprobe for inverted lists, else none.

    `gpu` has the same rows, `coarse` the same centroids, for the searches that they take; `unseen` is of its lists.
    """

    index: Any
    knob: str
    efforts: Sequence[int]
    filters: bool
    gpu: GpuCopy | None = None
    coarse: CoarseCodes | None = None
    unseen: Unseen | None = None

    def seek(self, queries: FloatArray, count: int, effort: int, mask: BoolArray | None) -> IntArray:
        """See `Seeker.seek`."""
        sel = None if mask is None else _faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
        parameters = self._parameters(effort, count, sel)
        most = min(count, int(self.index.ntotal))
        if self.gpu is not None and self.gpu.takes(most, effort, masked=mask is not None):
            return self.gpu.search(queries, most, parameters)
        queries = np.ascontiguousarray(queries)
        if self.coarse is not None and self.coarse.takes(effort):
            return self.coarse.search(self.index, queries, most, effort, parameters)
        rows: IntArray = self.index.search(queries, most, params=parameters)[1]
        return rows

    def emptied(self) -> FaissSeeker | None:
        """See `Learned.emptied`: inverted lists are filled anew; a graph would have to be built."""
        if self.knob != "nprobe":
            return None
        index = _faiss.clone_index(self.index)
        index.reset()
        return self._over(index)

    def extended(self, vectors: FloatArray) -> FaissSeeker:
        """See `Learned.extended`."""
        index = _faiss.clone_index(self.index)
        index.add(np.ascontiguousarray(vectors))
        return self._over(index)

    def _over(self, index: Any) -> FaissSeeker:
        """Another index of the same lists."""
        unseen = self.unseen.over(index) if isinstance(self.unseen, UnseenLists) else self.unseen
        return replace(self, index=index, gpu=None, unseen=unseen)

    def write(self, path: Path, notes: dict[str, Any]) -> None:
        """The index by FAISS's own format, then the notes and their length: FAISS reads no further than its own."""
        _faiss.write_index(self.index, str(path))
        encoded = orjson.dumps(notes, option=orjson.OPT_SERIALIZE_NUMPY)
        with path.open("ab") as file:
            file.write(encoded + len(encoded).to_bytes(8, "little"))

    def _parameters(self, effort: int, count: int, sel: Any) -> Any:
        chosen: dict[str, Any] = {} if sel is None else {"sel": sel}
        if self.knob == "efSearch":
            return _faiss.SearchParametersHNSW(efSearch=max(effort, count), **chosen)
        if self.knob == "nprobe":
            inner = _faiss.SearchParametersIVF(nprobe=min(effort, self.efforts[-1]), **chosen)
            transformed = isinstance(self.index, _faiss.IndexPreTransform)
            return _faiss.SearchParametersPreTransform(index_params=inner) if transformed else inner
        return _faiss.SearchParameters(**chosen) if chosen else None


@dataclass(frozen=True)
class FaissBackend:
    """`recall_target`, when set, chooses the knobs by measuring on `queries` (Q, D) or on rows."""

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
        _faiss.omp_set_num_threads(self.threads or os.cpu_count() or 1)
        index = new_index(self.factory, vectors.shape[1])
        if hasattr(index, "hnsw"):
            index.hnsw.efConstruction = self.ef_construction
        longest = longest_of(vectors, self.metric)
        shared = hasattr(index, "hnsw")  # a graph's rows are the segment's
        scale = 1.0 if shared else scale_of(vectors, longest)
        if not index.is_trained:
            rows = scaled(_training_rows(vectors, int(np.clip(least, *_TRAIN_ROWS))), scale)
            place_lists(index, rows)
            index.train(rows)
        for start in range(0, len(vectors), _ADD_ROWS):
            if cancelled():
                raise BuildCancelled
            index.add(np.ascontiguousarray(scaled(vectors[start : start + _ADD_ROWS], scale)))
        seeker = _seeker(index, self.metric, vectors, scale)
        effort = self.effort or seeker.efforts[len(seeker.efforts) // 2]
        stored = _stored(index)
        setting = Setting(effort, 1 if stored is not None else _REORDER)
        kept = vectors if stored is None else stored
        described = {"factory": self.factory}
        segment = ApproximateSegment(self.engine, kept, seeker, setting, described, longest=longest, scale=scale)
        return calibrated(segment, self.queries, self.recall_target)

    def load(self, path: Path, vectors: FloatArray) -> ApproximateSegment:
        """The segment of `vectors` that was saved at `path`; the file is known to be whole."""
        index, notes = _faiss.read_index(str(path)), _notes(path)
        collapse_index(index)
        stored = _stored(index)
        rows = vectors if stored is None else stored
        seeker = _seeker(index, self.metric, rows, notes.get("scale", 1.0))
        seeker = replace(seeker, gpu=copied_to_gpu(index))
        return restored(self.engine, rows, seeker, notes, self.metric)


def _notes(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        length = int.from_bytes(file.read(8), "little")
        file.seek(-8 - length, os.SEEK_END)
        notes: dict[str, Any] = orjson.loads(file.read(length))
    return notes


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


def _seeker(index: Any, metric: Metric, vectors: FloatArray, scale: float) -> FaissSeeker:
    """Of an `index` that holds `vectors` (N, D) times `scale`.

    A graph over inner products is not asked with a filter: its links lead to long rows, so that it finds few of the
    short ones that a filter may leave.
    """
    ivf = _faiss.try_extract_index_ivf(index)
    if ivf is not None:
        unseen = unseen_lists(index, vectors, scale)
        seeker = FaissSeeker(index, "nprobe", ladder(1, int(ivf.nlist)), True, None, coarse_codes(index), unseen)
    elif hasattr(index, "hnsw"):
        seeker = FaissSeeker(index, "efSearch", ladder(16, 4096), True)
    else:
        seeker = FaissSeeker(index, "none", [1], True, unseen=NothingUnseen())
    asked = metric == "cosine" or seeker.knob != "efSearch"
    return replace(seeker, filters=asked and _filters(seeker))


def _filters(seeker: FaissSeeker) -> bool:
    """Whether the index takes a selector: FAISS says so only by refusing."""
    try:
        seeker.seek(np.zeros((1, seeker.index.d), np.float32), 1, 1, np.ones(seeker.index.ntotal, np.bool_))
    except RuntimeError:
        return False
    return True


def _stored(index: Any) -> FloatArray | None:
    """(N, D), a view into a graph's own float32 vectors where it has them, so that they are held once."""
    if not isinstance(index, _faiss.IndexHNSWFlat) or not index.ntotal:
        return None
    storage = _faiss.downcast_index(index.storage)
    flat = _faiss.rev_swig_ptr(storage.get_xb(), storage.ntotal * storage.d)
    rows: FloatArray = flat.reshape(storage.ntotal, storage.d)
    return rows
