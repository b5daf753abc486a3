"""The candidate search of a FAISS index: which parameters it takes, where it runs, and how it is saved."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import orjson

from clip_core.wire import FloatArray
from index_service.engines.approximate.candidate_search import UnprobedRows, effort_ladder
from index_service.engines.approximate.unprobed_lists import AllRowsProbed, UnprobedLists, unprobed_lists_of
from index_service.engines.base import BoolArray, IntArray, Metric
from index_service.engines.faiss.coarse import CoarseCodes, coarse_codes
from index_service.engines.faiss.gpu_copy import GpuCopy

_faiss: Any = faiss  # its stubs lack half of what is used here


@dataclass(frozen=True)
class FaissSearch:
    """`index` holds N rows. The effort is efSearch for a graph, nprobe for inverted lists; other indexes have none.

    `gpu` is a copy on a GPU and `coarse` a faster choice of lists, each for the searches it takes. `unprobed` is None
    for a graph.
    """

    index: Any
    effort_name: str
    efforts: Sequence[int]
    takes_mask: bool
    gpu: GpuCopy | None = None
    coarse: CoarseCodes | None = None
    unprobed: UnprobedRows | None = None

    def search(self, queries: FloatArray, count: int, effort: int, mask: BoolArray | None) -> IntArray:
        """See `CandidateSearch.search`."""
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

    def empty_copy(self) -> FaissSearch | None:
        """See `ExtensibleSearch.empty_copy`: inverted lists are filled anew; a graph would have to be built."""
        if self.effort_name != "nprobe":
            return None
        index = _faiss.clone_index(self.index)
        index.reset()
        return self._over(index)

    def extended(self, vectors: FloatArray) -> FaissSearch:
        """See `ExtensibleSearch.extended`."""
        index = _faiss.clone_index(self.index)
        index.add(np.ascontiguousarray(vectors))
        return self._over(index)

    def _over(self, index: Any) -> FaissSearch:
        """The same search over another index with these lists."""
        unprobed = self.unprobed.over(index) if isinstance(self.unprobed, UnprobedLists) else self.unprobed
        return replace(self, index=index, gpu=None, unprobed=unprobed)

    def write(self, path: Path, notes: dict[str, Any]) -> None:
        """The index in FAISS's format, then the notes and their length, which FAISS does not read."""
        _faiss.write_index(self.index, str(path))
        encoded = orjson.dumps(notes, option=orjson.OPT_SERIALIZE_NUMPY)
        with path.open("ab") as file:
            file.write(encoded + len(encoded).to_bytes(8, "little"))

    def _parameters(self, effort: int, count: int, sel: Any) -> Any:
        chosen: dict[str, Any] = {} if sel is None else {"sel": sel}
        if self.effort_name == "efSearch":
            return _faiss.SearchParametersHNSW(efSearch=max(effort, count), **chosen)
        if self.effort_name == "nprobe":
            inner = _faiss.SearchParametersIVF(nprobe=min(effort, self.efforts[-1]), **chosen)
            transformed = isinstance(self.index, _faiss.IndexPreTransform)
            return _faiss.SearchParametersPreTransform(index_params=inner) if transformed else inner
        return _faiss.SearchParameters(**chosen) if chosen else None


def read_notes(path: Path) -> dict[str, Any]:
    """The notes that `FaissSearch.write` put at the end of the file. Raises OSError, ValueError."""
    with path.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        length = int.from_bytes(file.read(8), "little")
        file.seek(-8 - length, os.SEEK_END)
        notes: dict[str, Any] = orjson.loads(file.read(length))
    return notes


def search_of(index: Any, metric: Metric, vectors: FloatArray, scale: float) -> FaissSearch:
    """The search of an `index` that holds `vectors` (N, D) times `scale`.

    A graph over inner products takes no mask: its links lead to long rows, so it finds few of the short rows that a
    filter may leave.
    """
    ivf = _faiss.try_extract_index_ivf(index)
    if ivf is not None:
        efforts, unprobed = effort_ladder(1, int(ivf.nlist)), unprobed_lists_of(index, vectors, scale)
        search = FaissSearch(index, "nprobe", efforts, True, None, coarse_codes(index), unprobed)
    elif hasattr(index, "hnsw"):
        search = FaissSearch(index, "efSearch", effort_ladder(16, 4096), True)
    else:
        search = FaissSearch(index, "none", [1], True, unprobed=AllRowsProbed())
    masked = metric == "cosine" or search.effort_name != "efSearch"
    return replace(search, takes_mask=masked and _takes_selector(search))


def _takes_selector(search: FaissSearch) -> bool:
    """FAISS says that an index takes no selector only by refusing one."""
    dim, count = search.index.d, search.index.ntotal
    try:
        search.search(np.zeros((1, dim), np.float32), 1, 1, np.ones(count, np.bool_))
    except RuntimeError:
        return False
    return True
