"""A worker's metrics, the way TorchServe takes them: lines on its stdout for what metrics.yaml declares.

Each line is parsed by TorchServe's frontend and costs both processes something, so all values are gathered here and
reported once in `interval_s`. TorchServe's own histograms take one value a line; ours are counters instead, named and
labelled as Prometheus names a histogram's: `…_bucket` with `le`, `…_sum` and `…_count`.
What metrics.yaml does not declare is dropped: an archive also serves under a TorchServe that has never heard of us.
"""

from __future__ import annotations

import itertools
import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from clip_core.encode.embedding_cache import CacheStats
from clip_core.periodic import Periodic
from clip_core.towers.pass_counts import PassCount

Labels = tuple[str, ...]
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)  # seconds
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)  # of batches, in requests


class Metric(Protocol):
    """The part of ts.metrics.caching_metric.CachingMetric that is used."""

    def add_or_update(self, value: float, dimension_values: list[str]) -> None: ...


def declared(context: Any) -> dict[str, Metric]:
    """What metrics.yaml declares, by name, from TorchServe's context."""
    groups: Mapping[Any, Mapping[str, Metric]] = getattr(getattr(context, "metrics", None), "cache", None) or {}
    return {name: metric for group in groups.values() for name, metric in group.items()}


class Histogram:
    """Values that were observed since the last report."""

    def __init__(self, bounds: Sequence[float] = BUCKETS) -> None:
        self._bounds = bounds
        self._counts, self._sum = [0] * (len(bounds) + 1), 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def counters(self) -> Iterator[tuple[str, Labels, float]]:
        """(suffix, labels, growth) of the counters that have grown."""
        growth = list(itertools.accumulate(self._counts))
        names = (*map(str, self._bounds), "+Inf")
        yield from (("_bucket", (le,), count) for le, count in zip(names, growth, strict=True) if count)
        yield "_sum", (), round(self._sum, 6)
        yield "_count", (), growth[-1]


class WorkerMetrics:
    """Values by name and labels, until the next report. `labels` come before each value's own."""

    def __init__(self, metrics: Mapping[str, Metric], labels: Labels, interval_s: float = 1.0) -> None:
        self._metrics, self._labels = metrics, labels
        self._counters: dict[tuple[str, Labels], float] = {}
        self._gauges: dict[tuple[str, Labels], float] = {}
        self._histograms: dict[str, Histogram] = {}
        self._lock, self._reports = threading.Lock(), Periodic("metrics", self.report, interval_s)

    def start(self) -> None:
        """Report in the background from now on, so that the last batch before a silence is seen too."""
        self._reports.start()

    def stop(self) -> None:
        self._reports.stop()

    def add(self, name: str, value: float, *labels: str) -> None:
        if value:
            with self._lock:
                self._counters[name, labels] = self._counters.get((name, labels), 0) + value

    def set(self, name: str, value: float, *labels: str) -> None:
        with self._lock:
            self._gauges[name, labels] = value

    def observe(self, name: str, value: float, bounds: Sequence[float] = BUCKETS) -> None:
        """One value of a histogram, which has the same `bounds` each time."""
        with self._lock:
            self._histograms.setdefault(name, Histogram(bounds)).add(value)

    def report(self) -> None:
        """Write what has been gathered since the last time."""
        with self._lock:
            values, histograms = {**self._counters, **self._gauges}, self._histograms
            self._counters, self._gauges, self._histograms = {}, {}, {}
        for (name, labels), value in values.items():
            self._write(name, labels, value)
        for name, histogram in histograms.items():
            for suffix, labels, value in histogram.counters():
                self._write(name + suffix, labels, value)

    def _write(self, name: str, labels: Labels, value: float) -> None:
        if metric := self._metrics.get(name):
            metric.add_or_update(value, [*self._labels, *labels])


def count_stages(metrics: WorkerMetrics, seconds: Mapping[str, float]) -> None:
    """Seconds of one batch by what was done."""
    for stage, value in seconds.items():
        metrics.add("clipserve_stage_seconds", round(value, 6), stage.replace(" ", "_"))


def count_passes(metrics: WorkerMetrics, passes: Mapping[str, PassCount]) -> None:
    for kind, counts in passes.items():
        metrics.add("clipserve_passes", counts.passes, kind)
        metrics.add("clipserve_pass_items", counts.items, kind)
        metrics.add("clipserve_pass_capacity", counts.capacity, kind)
        metrics.add("clipserve_tokens", counts.tokens, kind)
        metrics.add("clipserve_padding_tokens", counts.padding, kind)


def count_cache(metrics: WorkerMetrics, before: CacheStats, after: CacheStats, worker: str) -> None:
    """The counts of one batch, and what the worker holds now."""
    metrics.add("clipserve_cache_hits", after.hits - before.hits)
    metrics.add("clipserve_cache_misses", after.misses - before.misses)
    metrics.add("clipserve_cache_shared_hits", after.shared_hits - before.shared_hits)
    metrics.add("clipserve_cache_shared_errors", after.shared_errors - before.shared_errors)
    metrics.add("clipserve_cache_evictions", after.evictions - before.evictions)
    metrics.set("clipserve_cache_bytes", after.bytes, worker)
    metrics.set("clipserve_cache_entries", after.entries, worker)
