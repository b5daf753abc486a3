"""ScaNN: partitions, then anisotropic hashing (Guo et al., arXiv:1908.10396). An optional extra, imported when built.

ScaNN's own reordering is left out: it would hold the vectors a second time, in memory and on disk, and candidates are
scored again here anyway.
"""

from __future__ import annotations

import importlib
import math
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from clip_core.cores import available_cores
from clip_core.wire import FloatArray
from index_service.engines.approximate.calibration import calibrated
from index_service.engines.approximate.candidate_search import SearchParameters, effort_ladder
from index_service.engines.approximate.segment import ApproximateSegment, restored_segment
from index_service.engines.base import NO_ROW, BoolArray, BuildCancelled, IntArray, Metric
from index_service.engines.bounds import max_norm_of
from index_service.engines.exact.segment import ExactBackend, ExactSegment
from index_service.engines.scaling import scale_of, scaled

LEAST_ROWS = 1000  # fewer can't fill the codebooks; a scan is as fast
_LEAVES_PER_ROOT = 2
_TRAIN_ROWS = 100_000
_THRESHOLD = 0.2  # anisotropic quantization for norms near 1, as the authors advise
_RERANK_FACTOR = 30
_MODULE = "scann.scann_ops.py.scann_ops_pybind"
_NOTES = "notes.json"
_PICKLE = ".pkl"  # names of rows, which ScaNN would unpickle; a searcher made here has none


@dataclass(frozen=True)
class ScannSearch:
    """`searcher` holds N rows. The effort is the number of leaves searched."""

    searcher: Any
    rows: int
    efforts: Sequence[int]
    takes_mask: bool = False
    effort_name: str = "leaves"
    unprobed: None = None

    def search(self, queries: FloatArray, count: int, effort: int, mask: BoolArray | None) -> IntArray:
        """See `CandidateSearch.search`. ScaNN takes no mask. A missing row has the number 2³² - 1 or a score of NaN."""
        del mask
        most = min(count, self.rows)
        rows, scores = self.searcher.search_batched(
            np.ascontiguousarray(queries), most, most, min(effort, self.efforts[-1])
        )
        found: IntArray = np.where(np.isfinite(scores) & (rows < self.rows), rows.astype(np.int64), NO_ROW)
        return found

    def write(self, path: Path, notes: dict[str, Any]) -> None:
        """ScaNN's own files and the notes as one archive, uncompressed."""
        with _aside(path) as folder, zipfile.ZipFile(path, "w") as archive:
            self.searcher.serialize(str(folder), True)
            (folder / _NOTES).write_bytes(orjson.dumps(notes, option=orjson.OPT_SERIALIZE_NUMPY))
            for file in sorted(folder.iterdir()):
                archive.write(file, file.name)


@dataclass(frozen=True)
class ScannBackend:
    """With a `recall_target` leaves and rerank factor are calibrated on `queries` (Q, D), or on rows."""

    threads: int = 0
    recall_target: float | None = None
    queries: FloatArray | None = field(default=None, compare=False)
    metric: Metric = "cosine"

    engine = "scann"
    apart = True

    def build(
        self, vectors: FloatArray, cancelled: Callable[[], bool] = lambda: False
    ) -> ApproximateSegment | ExactSegment:
        """See `Backend.build`. ScaNN builds in one call: `cancelled` is asked before and after it."""
        if len(vectors) < LEAST_ROWS:
            return ExactBackend(self.metric).build(vectors)
        if cancelled():
            raise BuildCancelled
        leaves = _LEAVES_PER_ROOT * math.isqrt(len(vectors))
        max_norm = max_norm_of(vectors, self.metric)
        scale = scale_of(vectors, max_norm)
        searcher = self._builder(scaled(vectors, scale), leaves).build()
        if cancelled():
            raise BuildCancelled
        search = ScannSearch(searcher, len(vectors), effort_ladder(1, leaves))
        parameters = SearchParameters(max(1, leaves // 10), _RERANK_FACTOR)
        segment = ApproximateSegment(
            self.engine, vectors, search, parameters, {"leaves": leaves}, max_norm=max_norm, scale=scale
        )
        return calibrated(segment, self.queries, self.recall_target)

    def load(self, path: Path, vectors: FloatArray) -> ApproximateSegment:
        """The segment of `vectors` that was saved at `path`. Raises ValueError when it is no such archive."""
        with _aside(path) as folder:
            try:
                with zipfile.ZipFile(path) as archive:
                    archive.extractall(folder, [name for name in archive.namelist() if not name.endswith(_PICKLE)])
            except zipfile.BadZipFile as error:
                raise ValueError(str(error)) from error
            notes = orjson.loads((folder / _NOTES).read_bytes())
            searcher = importlib.import_module(_MODULE).load_searcher(str(folder))
        search = ScannSearch(searcher, len(vectors), effort_ladder(1, notes["described"]["leaves"]))
        return restored_segment(self.engine, vectors, search, notes, self.metric)

    def _builder(self, vectors: FloatArray, leaves: int) -> Any:
        scann = importlib.import_module(_MODULE)
        builder = scann.builder(np.ascontiguousarray(vectors), _RERANK_FACTOR, "dot_product")
        builder = builder.set_n_training_threads(self.threads or available_cores())
        builder = builder.tree(leaves, max(1, leaves // 10), training_sample_size=min(_TRAIN_ROWS, len(vectors)))
        return builder.score_ah(2, anisotropic_quantization_threshold=_THRESHOLD)


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """A folder beside `path` for a while: the system's temporary one may be too small."""
    folder = path.with_name(f"{path.name}.unpacked")
    shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
