"""What `/metrics` shows. Each app has a registry of its own, so that tests and apps never share counts."""

from __future__ import annotations

import platform
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from clip_core.exposition import MemoryGauge, exposition
from clip_core.slowest import Slowest
from clip_core.tracing.spans import Place, Span
from index_service.collection.registry import Registry
from index_service.metrics.disk_metrics import DiskGauges

LEAST_SAMPLES = 20  # of a recall: one search that misses is no trend
_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class IndexMetrics:
    """Counters of the service, and gauges read from the collections when asked."""

    def __init__(self, collections: Registry) -> None:
        self.registry = CollectorRegistry()
        self.slowest = Slowest()
        self.requests = Counter(
            "clipserve_index_requests", "Requests by route and status.", ["route", "status"], registry=self.registry
        )
        self.searches = Counter("clipserve_index_searches", "Searches, each of a batch.", registry=self.registry)
        self.upserts = Counter("clipserve_index_upserted_items", "Items written.", registry=self.registry)
        self.patches = Counter(
            "clipserve_index_patched_items", "Items whose metadata was changed.", registry=self.registry
        )
        self.deletes = Counter("clipserve_index_deleted_items", "Items deleted.", registry=self.registry)
        self.search_seconds = Histogram(
            "clipserve_index_search_seconds",
            "Time in the engines of one call to /search.",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.merge_seconds = Histogram(
            "clipserve_index_merge_seconds", "Time to build a main segment.", registry=self.registry
        )
        info = Info("clipserve_index_build", "The program that runs.", registry=self.registry)
        info.info({"version": "0.1.0", "python": platform.python_version()})
        ProcessCollector(namespace="clipserve_index", registry=self.registry)
        self.registry.register(MemoryGauge("index"))
        self.registry.register(CollectionGauges(collections))
        self.registry.register(DiskGauges(collections.store.path.parent))
        collections.on_merge = self.merge_seconds.observe

    def observe_search(self, seconds: float, place: Place) -> None:
        """With its recorded trace as an exemplar."""
        exemplar = {"trace_id": place.context.trace} if isinstance(place, Span) else None
        self.search_seconds.observe(seconds, exemplar)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The Prometheus text format, or OpenMetrics with exemplars for who accepts that; and its media type."""
        write, media_type = exposition(accept)
        return write(self.registry), media_type


class CollectionGauges(Collector):
    def __init__(self, collections: Registry) -> None:
        self._collections = collections

    def collect(self) -> Iterator[GaugeMetricFamily]:
        live = GaugeMetricFamily("clipserve_index_items", "Items of a collection.", labels=["collection"])
        delta = GaugeMetricFamily("clipserve_index_delta_rows", "Rows not merged yet.", labels=["collection"])
        dead = GaugeMetricFamily(
            "clipserve_index_tombstones", "Rows that were deleted or replaced, until a merge.", labels=["collection"]
        )
        failed = GaugeMetricFamily(
            "clipserve_index_merge_failures", "Merges that failed since the last that didn't.", labels=["collection"]
        )
        recall = GaugeMetricFamily(
            "clipserve_index_recall",
            "Mean recall of the live searches that were repeated exactly.",
            labels=["collection", "engine", "k"],
        )
        up = GaugeMetricFamily("clipserve_index_milvus_up", "1 while all collections in Milvus are known.")
        if self._collections.shares:
            up.add_metric([], self._collections.missing() is None)
        for collection in self._collections.all() if self._collections.ready else []:
            shown, name = collection.gauges(), collection.info.name
            if shown.items is not None:
                live.add_metric([name], shown.items)
                delta.add_metric([name], shown.delta)
                dead.add_metric([name], shown.dead)
                failed.add_metric([name], shown.merge_failures)
            for row in shown.recall:
                if row["samples"] >= LEAST_SAMPLES:
                    recall.add_metric([name, row["engine"], str(row["k"])], row["recall"])
        yield live
        yield delta
        yield dead
        yield failed
        yield recall
        yield up
