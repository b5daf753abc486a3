"""A copy of a FAISS index on a GPU: what it finds is what the index finds, and whatever it can't do the index does.

It takes faiss-gpu instead of faiss-cpu, a GPU, and an index that has a form for it: inverted lists of whole vectors, of
SQ codes or of 8-bit PQ codes. Fast scan codes and graphs have none.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from functools import cache
from typing import Any

import faiss
import numpy as np

from clip_core.wire import FloatArray
from index_service.engines.base import IntArray

_faiss: Any = faiss  # its stubs lack what is used here
_MOST = 2048  # candidates, and lists probed, of a search on a GPU
_TRIAL_S = 120
_TRIAL = """
import faiss, numpy
rows = numpy.eye(8, dtype=numpy.float32)
index = faiss.index_factory(8, "IVF1,Flat", faiss.METRIC_INNER_PRODUCT)
index.train(rows)
index.add(rows)
copy = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
assert (copy.search(rows, 1)[1][:, 0] == range(8)).all()
"""
_log = logging.getLogger("index_service.faiss_gpu")


class GpuCopy:
    """Searches go one after the other: FAISS's GPU indexes are not for several threads."""

    def __init__(self, index: Any, resources: Any) -> None:
        self._index, self._resources, self._lock = index, resources, threading.Lock()

    def takes(self, count: int, effort: int, *, masked: bool) -> bool:
        """Whether a search for `count` candidates in `effort` lists can go to the GPU; FAISS ignores masks there."""
        return not masked and count <= _MOST and effort <= _MOST

    def search(self, queries: FloatArray, count: int, parameters: Any) -> IntArray:
        """(B, count) candidate rows, -1 for none."""
        with self._lock:
            rows: IntArray = self._index.search(np.ascontiguousarray(queries), count, params=parameters)[1]
        return rows


def copied_to_gpu(index: Any) -> GpuCopy | None:
    """None where there is no GPU, no form of the index for it, or no room."""
    if not getattr(_faiss, "get_num_gpus", lambda: 0)() or not gpu_works():
        return None
    resources = _faiss.StandardGpuResources()
    try:
        copy = _faiss.index_cpu_to_gpu(resources, 0, index)
    except RuntimeError as error:
        _log.warning("index stays on the CPU", extra={"reason": str(error).strip()[-200:]})
        return None
    return GpuCopy(copy, resources) if _on_gpu(copy) else None


@cache
def gpu_works() -> bool:
    """Whether a search on the GPU succeeds, tried once, by a process of its own: FAISS aborts the process that calls
    kernels which were not built for that GPU.
    """
    try:
        command = [sys.executable, "-c", _TRIAL]  # which looks for modules in its current folder first
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TRIAL_S, cwd="/")
        reason = "" if done.returncode == 0 else f"exit status {done.returncode}: {done.stderr.strip()[-200:]}"
    except subprocess.TimeoutExpired:
        reason = f"no answer in {_TRIAL_S} s"
    if reason:
        _log.warning("indexes stay on the CPU: FAISS does not work on this GPU", extra={"reason": reason})
    return not reason


def _on_gpu(index: Any) -> bool:
    """FAISS leaves what has no form for a GPU on the CPU without a word."""
    inner = _faiss.downcast_index(index.index) if isinstance(index, _faiss.IndexPreTransform) else index
    return isinstance(inner, _faiss.GpuIndex)
