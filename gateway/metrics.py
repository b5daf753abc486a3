"""The gateway's Prometheus metrics."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

from clip_core.exposition import MemoryGauge
from clip_core.slowest import Slowest
from gateway.request_totals import RequestTotals

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
VERSION = "0.1.0"


class EndpointLoad(NamedTuple):
    """Of one endpoint at one moment; None is what TorchServe's management API did not tell."""

    endpoint: str
    running: int
    waiting: int
    limit: int
    queued: int | None = None
    queue_room: int | None = None
    workers: dict[str, int] | None = None


class GatewayMetrics:
    """The gateway's Prometheus metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.slowest = Slowest()
        self.totals = RequestTotals(BUCKETS)
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
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.shed = Counter(
            "clipserve_gateway_shed_total",
            "Calls turned away because too much was under way, by TorchServe endpoint.",
            ["endpoint"],
            registry=self.registry,
        )
        self.waits = Histogram(
            "clipserve_gateway_wait_seconds",
            "Waits of requests to a TorchServe endpoint: for admission, or in its queue with transport.",
            ["endpoint", "stage"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.captions = Counter(
            "clipserve_gateway_captions_total", "Captions written.", ["endpoint"], registry=self.registry
        )
        self.caption_tokens = Counter(
            "clipserve_gateway_caption_tokens_total",
            "Tokens of captions written.",
            ["endpoint"],
            registry=self.registry,
        )
        self.caption_first = Histogram(
            "clipserve_gateway_caption_first_seconds",
            "Time until a streamed caption's first piece, waits included.",
            ["endpoint"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._items = self._load_gauge("items", "Items of requests at an endpoint, running or waiting.", "state")
        self._limit = self._load_gauge("items_limit", "Most items that may run at an endpoint now.")
        self._queued = self._load_gauge("queue_requests", "Requests in TorchServe's queue of an endpoint.")
        self._room = self._load_gauge("queue_room", "Requests that TorchServe's queue of an endpoint still takes.")
        self._workers = self._load_gauge("workers", "TorchServe's workers of an endpoint, by status.", "status")
        self.jobs = Counter("clipserve_gateway_jobs_total", "Jobs that ended.", ["state"], registry=self.registry)
        self.job_items = Counter(
            "clipserve_gateway_job_items_total",
            "Entries of jobs' sources: added, unchanged, skipped or failed.",
            ["outcome"],
            registry=self.registry,
        )
        info = Info("clipserve_gateway_build", "The program that runs.", registry=self.registry)
        info.info({"version": VERSION, "python": platform.python_version()})
        ProcessCollector(namespace="clipserve_gateway", registry=self.registry)
        self.registry.register(MemoryGauge("gateway"))
        self._expiries = Gauge(
            "clipserve_gateway_expires_timestamp_seconds",
            "When the gateway's certificate ends, and the next of its API keys.",
            ["what"],
            registry=self.registry,
        )
        self.counted_alone = Counter(
            "clipserve_gateway_rate_limit_fallbacks_total",
            "Checks of a key's limits that this replica made by itself because Redis did not answer.",
            registry=self.registry,
        )
        self.pictures = Counter(
            "clipserve_gateway_pictures_total",
            "Pictures by what became of their thumbnails at ingest: kept, known, full or failed; or failed when shown.",
            ["outcome"],
            registry=self.registry,
        )
        self.answers = Counter(
            "clipserve_gateway_answers_total",
            "Questions answered: by a language model or offline, and found, not_found or an error's code.",
            ["by", "outcome"],
            registry=self.registry,
        )
        self.answer_tokens = Counter(
            "clipserve_gateway_answer_tokens_total",
            "Tokens that the language model's provider counted: input or output.",
            ["direction"],
            registry=self.registry,
        )
        self.answer_usd = Counter(
            "clipserve_gateway_answer_usd_total", "USD for answers, by the price table.", registry=self.registry
        )
        self.reranks = Counter(
            "clipserve_gateway_reranks_total",
            "Searches that were to be reranked: reranked, unchanged, or left_out.",
            ["by", "outcome"],
            registry=self.registry,
        )
        self.rerank_seconds = Histogram(
            "clipserve_gateway_rerank_seconds",
            "Time that reranking added to a search.",
            ["by"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.picture_bytes = Gauge(
            "clipserve_gateway_picture_bytes", "Bytes of kept pictures and thumbnails.", registry=self.registry
        )
        self.in_flight = Gauge(
            "clipserve_gateway_requests_in_flight", "Requests being answered.", registry=self.registry
        )

    def _load_gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"clipserve_gateway_endpoint_{name}", text, ["endpoint", *labels], registry=self.registry)

    def forget(self, endpoint: str) -> None:
        """It is served no more."""
        for metric in (self.shed, self.captions, self.caption_tokens, self.caption_first):
            with contextlib.suppress(KeyError):
                metric.remove(endpoint)
        for stage in ("admission", "queue"):
            with contextlib.suppress(KeyError):
                self.waits.remove(endpoint, stage)

    def observe(self, method: str, route: str, status: int, seconds: float, trace_id: str | None = None) -> None:
        """`trace_id`: of a recorded trace; it becomes the exemplar of its bucket."""
        self.totals.add(route, status, seconds)
        self.requests.labels(method, route, str(status)).inc()
        self.seconds.labels(route).observe(seconds, None if trace_id is None else {"trace_id": trace_id})

    def show_expiries(self, moments: Mapping[str, float]) -> None:
        """These, in seconds since 1970, and no others."""
        self._expiries.clear()
        for what, moment in moments.items():
            self._expiries.labels(what).set(moment)

    def show_loads(self, loads: Sequence[EndpointLoad]) -> None:
        """These endpoints, and no others; what isn't known isn't shown."""
        for gauge in (self._items, self._limit, self._queued, self._room, self._workers):
            gauge.clear()
        for load in loads:
            self._items.labels(load.endpoint, "running").set(load.running)
            self._items.labels(load.endpoint, "waiting").set(load.waiting)
            self._limit.labels(load.endpoint).set(load.limit)
            if load.queued is not None and load.queue_room is not None:
                self._queued.labels(load.endpoint).set(load.queued)
                self._room.labels(load.endpoint).set(load.queue_room)
            for status, count in (load.workers or {}).items():
                self._workers.labels(load.endpoint, status).set(count)
