"""The recall that live searches get: a sampled share of them is repeated exactly, in the background."""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import numpy as np

from clip_core.errors import ClipServeError
from clip_core.wire import FloatArray
from index_service.engines.base import Found

_log = logging.getLogger("index_service.collection.recall")
_DEPTHS = (1, 10, 100)  # recall is counted at the largest that a search reaches
_WAITING = 32  # samples held; more are dropped, as they are when the service is busy
_IDLE = 9  # times as long as a measurement took, before the next: at most a tenth of one core


class RecallCounts:
    """Counts of one collection, by engine and depth; shared between threads."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int], tuple[float, int]] = {}
        self._lock = threading.Lock()

    def add(self, engine: str, depth: int, recall: float) -> None:
        """Count one search."""
        with self._lock:
            total, samples = self._counts.get((engine, depth), (0.0, 0))
            self._counts[engine, depth] = (total + recall, samples + 1)

    def describe(self) -> list[dict[str, Any]]:
        """`engine`, `k`, mean `recall` and `samples` of each."""
        with self._lock:
            counts = sorted(self._counts.items())
        return [
            {"engine": engine, "k": k, "recall": round(total / samples, 4), "samples": samples}
            for (engine, k), (total, samples) in counts
        ]


class Searched(Protocol):
    """What a search can be repeated in: a view, or a collection of another store."""

    @property
    def engine(self) -> str:
        """Who answered."""
        ...

    def search(self, queries: FloatArray, k: int, where: bytes | None, exact: bool) -> Found:
        """See `View.search`."""
        ...


class Sample(NamedTuple):
    """A search that was answered: `scores` (K,) descending, of the best rows it found in `view`."""

    tally: RecallCounts
    view: Searched
    query: FloatArray
    where: bytes | None
    scores: FloatArray

    def measure(self) -> None:
        """Repeat it exactly and count how much of the truth it found; equal scores are as good as each other."""
        depth = max((depth for depth in _DEPTHS if depth <= len(self.scores)), default=0)
        if depth:
            truth = self.view.search(self.query[None], depth, self.where, True)[0][0]
            if len(truth):  # else it was too much to repeat
                found = np.count_nonzero(self.scores[:depth] >= truth[-1])
                self.tally.add(self.view.engine, depth, float(found) / depth)


class RecallSampler:
    """Measures a `share` of the samples it is offered. `start()` comes first, `close()` last."""

    def __init__(self, share: float, seed: int | None = None) -> None:
        self._share, self._random = share, random.Random(seed)
        self._waiting: queue.Queue[Sample | None] = queue.Queue(_WAITING)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="index-recall", daemon=True)

    def start(self) -> None:
        """Measure in the background from now on."""
        if self._share > 0:
            self._thread.start()

    def close(self) -> None:
        """Stop; what waits is dropped."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def offer(self, samples: Sequence[Sample]) -> None:
        """Take some of the samples, or none when many wait; never waits itself."""
        for sample in samples:
            if self._share > 0 and self._random.random() < self._share:
                with suppress(queue.Full):  # another thread may have put the last one that there was room for
                    self._waiting.put_nowait(sample)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                sample = self._waiting.get(timeout=0.2)
            except queue.Empty:
                continue
            if sample is not None:
                self._stopped.wait(_IDLE * self._timed(sample))

    def _timed(self, sample: Sample) -> float:
        started = time.perf_counter()
        try:
            sample.measure()
        except ClipServeError as error:  # such as a store that is away
            _log.info("recall not measured", extra={"error": str(error)})
        except Exception:  # a measurement that fails must not end all others
            _log.exception("recall not measured")
        return time.perf_counter() - started
