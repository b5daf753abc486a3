"""The gateway's Prometheus metrics."""

from __future__ import annotations

import contextlib

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class GatewayMetrics:
    """The gateway's Prometheus metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "clipserve_gateway_requests_total",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "clipserve_gateway_request_seconds",
            "Time to answer a request.",
            ["route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.shed = Counter(
            "clipserve_gateway_shed_total",
            "Calls turned away because too much was under way, by TorchServe endpoint.",
            ["endpoint"],
            registry=self.registry,
        )
        self.counted_alone = Counter(
            "clipserve_gateway_limits_counted_alone_total",
            "Checks of a key's limits that this replica made by itself because Redis did not answer.",
            registry=self.registry,
        )
        self.pictures = Counter(
            "clipserve_gateway_pictures_total",
            "Pictures by what became of their thumbnails at ingest: kept, known, full or failed; or failed when shown.",
            ["outcome"],
            registry=self.registry,
        )
        self.picture_bytes = Gauge(
            "clipserve_gateway_picture_bytes", "Bytes of kept pictures and thumbnails.", registry=self.registry
        )
        self.in_flight = Gauge(
            "clipserve_gateway_requests_in_flight", "Requests being answered.", registry=self.registry
        )

    def forget(self, endpoint: str) -> None:
        """It is served no more."""
        with contextlib.suppress(KeyError):
            self.shed.remove(endpoint)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        self.requests.labels(method, route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)
