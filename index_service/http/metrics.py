"""What `/metrics` shows. Each app has a registry of its own, so that tests and apps never share counts."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from index_service.collection.registry import Registry

_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class IndexMetrics:
    """Counters of the service, and gauges read from the collections when asked."""

    def __init__(self, collections: Registry) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "clipserve_index_requests", "Requests by route and status.", ["route", "status"], registry=self._registry
        )
        self.searches = Counter("clipserve_index_searches", "Searches, each of a batch.", registry=self._registry)
        self.upserts = Counter("clipserve_index_upserted_items", "Items written.", registry=self._registry)
        self.patches = Counter(
            "clipserve_index_patched_items", "Items whose metadata was changed.", registry=self._registry
        )
        self.deletes = Counter("clipserve_index_deleted_items", "Items deleted.", registry=self._registry)
        self.search_seconds = Histogram(
            "clipserve_index_search_seconds",
            "Time in the engines of one call to /search.",
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.merge_seconds = Histogram(
            "clipserve_index_merge_seconds", "Time to build a main segment.", registry=self._registry
        )
        self._registry.register(_Gauges(collections))
        collections.on_merge = self.merge_seconds.observe

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self._registry)


class _Gauges(Collector):
    def __init__(self, collections: Registry) -> None:
        self._collections = collections

    def collect(self) -> Iterator[GaugeMetricFamily]:
        live = GaugeMetricFamily("clipserve_index_items", "Items of a collection.", labels=["collection"])
        delta = GaugeMetricFamily("clipserve_index_delta_rows", "Rows not merged yet.", labels=["collection"])
        failed = GaugeMetricFamily(
            "clipserve_index_merge_failures", "Merges that failed since the last that didn't.", labels=["collection"]
        )
        recall = GaugeMetricFamily(
            "clipserve_index_recall",
            "Mean recall of the live searches that were repeated exactly.",
            labels=["collection", "engine", "k"],
        )
        for collection in self._collections.all() if self._collections.ready else []:
            view = collection.view
            live.add_metric([collection.info.name], view.live)
            delta.add_metric([collection.info.name], len(view.delta))
            failed.add_metric([collection.info.name], collection.retries.failures)
            for row in collection.recall.describe():
                recall.add_metric([collection.info.name, row["engine"], str(row["k"])], row["recall"])
        yield live
        yield delta
        yield failed
        yield recall
