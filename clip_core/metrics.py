"""A worker's metrics, the way TorchServe takes them: lines on its stdout for what metrics.yaml declares.

Each line is parsed by TorchServe's frontend and costs both processes something, so counters and gauges are summed here
and reported once in `interval_s`; only histograms, which TorchServe fills one value a line, are written as they come.
What metrics.yaml does not declare is dropped: an archive also serves under a TorchServe that has never heard of us.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Protocol

from clip_core.embedding_cache import CacheStats
from clip_core.tally import Passes

Labels = tuple[str, ...]


class Metric(Protocol):
    """The part of ts.metrics.caching_metric.CachingMetric that is used."""

    def add_or_update(self, value: float, dimension_values: list[str]) -> None: ...


def declared(context: Any) -> dict[str, Metric]:
    """What metrics.yaml declares, by name, from TorchServe's context."""
    groups: Mapping[Any, Mapping[str, Metric]] = getattr(getattr(context, "metrics", None), "cache", None) or {}
    return {name: metric for group in groups.values() for name, metric in group.items()}


class Metrics:
    """Values by name and labels, until the next report. `labels` come before each value's own."""

    def __init__(self, metrics: Mapping[str, Metric], labels: Labels, interval_s: float = 1.0) -> None:
        self._metrics, self._labels, self._interval_s = metrics, labels, interval_s
        self._counters: dict[tuple[str, Labels], float] = {}
        self._gauges: dict[tuple[str, Labels], float] = {}
        self._lock, self._stopped = threading.Lock(), threading.Event()

    def start(self) -> None:
        """Report in the background from now on, so that the last batch before a silence is seen too."""
        threading.Thread(target=self._report_on, name="metrics", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        self.report()

    def add(self, name: str, value: float, *labels: str) -> None:
        if value:
            with self._lock:
                self._counters[name, labels] = self._counters.get((name, labels), 0) + value

    def set(self, name: str, value: float, *labels: str) -> None:
        with self._lock:
            self._gauges[name, labels] = value

    def observe(self, name: str, value: float, *labels: str) -> None:
        """One value of a histogram, in seconds: TorchServe's buckets are 5 ms to 10 s."""
        self._write(name, labels, value)

    def report(self) -> None:
        """Write what has been gathered since the last time."""
        with self._lock:
            values = {**self._counters, **self._gauges}
            self._counters, self._gauges = {}, {}
        for (name, labels), value in values.items():
            self._write(name, labels, value)

    def _write(self, name: str, labels: Labels, value: float) -> None:
        if metric := self._metrics.get(name):
            metric.add_or_update(value, [*self._labels, *labels])

    def _report_on(self) -> None:
        while not self._stopped.wait(self._interval_s):
            self.report()


def count_passes(metrics: Metrics, passes: Mapping[str, Passes]) -> None:
    for kind, counts in passes.items():
        metrics.add("clipserve_passes", counts.passes, kind)
        metrics.add("clipserve_pass_items", counts.items, kind)
        metrics.add("clipserve_pass_capacity", counts.capacity, kind)
        metrics.add("clipserve_tokens", counts.tokens, kind)
        metrics.add("clipserve_padding_tokens", counts.padding, kind)


def count_cache(metrics: Metrics, before: CacheStats, after: CacheStats, worker: str) -> None:
    """The counts of one batch, and what the worker holds now."""
    metrics.add("clipserve_cache_hits", after.hits - before.hits)
    metrics.add("clipserve_cache_misses", after.misses - before.misses)
    metrics.add("clipserve_cache_shared_hits", after.shared_hits - before.shared_hits)
    metrics.add("clipserve_cache_shared_errors", after.shared_errors - before.shared_errors)
    metrics.add("clipserve_cache_evictions", after.evictions - before.evictions)
    metrics.set("clipserve_cache_bytes", after.bytes, worker)
    metrics.set("clipserve_cache_entries", after.entries, worker)
