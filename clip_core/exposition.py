"""In which format a service shows its metrics, and what both services show of themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder, generate_latest
from prometheus_client.registry import Collector

from clip_core.memory_use import memory_by_owner

Write = Callable[[CollectorRegistry], bytes]


def exposition(accept: str) -> tuple[Write, str]:
    """OpenMetrics, which has exemplars, for who accepts it; else the Prometheus text format. And its media type."""
    try:
        return choose_encoder(accept)
    except (ValueError, TypeError):  # a version that is no number
        return generate_latest, CONTENT_TYPE_PLAIN_0_0_4


class MemoryGauge(Collector):
    """`clipserve_SERVICE_memory_bytes`."""

    def __init__(self, service: str) -> None:
        self._name = f"clipserve_{service}_memory_bytes"

    def collect(self) -> Iterator[GaugeMetricFamily]:
        gauge = GaugeMetricFamily(self._name, "Bytes in memory by owner.", labels=["owner"])
        for owner, size in memory_by_owner().items():
            gauge.add_metric([owner], size)
        yield gauge
