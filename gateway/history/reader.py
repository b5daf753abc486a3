"""One reading of all figures of the history: the gateway's own, TorchServe's and the index service's."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence

import psutil
from prometheus_client import Metric

from clip_core.errors import Unavailable
from gateway.endpoint_loads import endpoint_loads
from gateway.history.figures import Figures
from gateway.metrics import BUCKETS, EndpointLoad, GatewayMetrics
from gateway.models.captioners import Captioners
from gateway.stats import Json, Stats, parsed, samples
from gateway.trace import Trace, reset_current_trace, set_current_trace
from gateway.upstream.index_service import IndexServiceClient

_PATIENCE_S = 2.0
_ENTRIES = "clipserve_gateway_job_items"
_CAPTIONS, _CAPTION_TOKENS = "clipserve_gateway_captions", "clipserve_gateway_caption_tokens"
_RECALL, _INDEX_MEMORY = "clipserve_index_recall", "clipserve_index_process_resident_memory_bytes"


class Reader:
    """`jobs` tells how many are under way. A part that does not answer is unknown in that reading."""

    def __init__(
        self, metrics: GatewayMetrics, captioners: Captioners, index: IndexServiceClient, jobs: Callable[[], int]
    ) -> None:
        self._metrics, self._captioners, self._index, self._jobs = metrics, captioners, index, jobs

    async def read(self) -> Figures:
        """All figures but the time."""
        token = set_current_trace(Trace(quiet=True))
        try:
            stats = Stats(self._metrics, self._captioners.models)
            asked = stats.workers(), endpoint_loads(self._captioners), self._index_metrics()
            workers, loads, index = await asyncio.gather(*asked)
        finally:
            reset_current_trace(token)
        return {
            **_own(self._metrics),
            **_of_workers(workers),
            **_of_loads(loads),
            **_of_index(index),
            "jobs": self._jobs(),
        }

    async def _index_metrics(self) -> list[Metric]:
        try:
            return parsed(await self._index.metrics(timeout_s=_PATIENCE_S), (_RECALL, _INDEX_MEMORY))
        except (Unavailable, ValueError):
            return []


def _own(metrics: GatewayMetrics) -> Figures:
    totals, waits = metrics.totals, list(metrics.waits.collect())
    entries = [(labels["outcome"], n) for labels, n in samples(metrics.job_items.collect(), _ENTRIES)]
    return {
        "requests": totals.requests,
        "failed": totals.failed,
        "refused": totals.refused,
        "rejected": totals.rejected,
        "latency": totals.latency(),
        "in_flight": _sum(n for _, n in samples(metrics.in_flight.collect(), "clipserve_gateway_requests_in_flight")),
        "job_entries": _sum(n for _, n in entries),
        "job_failures": _sum(n for outcome, n in entries if outcome == "failed"),
        "captions": _sum(n for _, n in samples(metrics.captions.collect(), _CAPTIONS)),
        "caption_tokens": _sum(n for _, n in samples(metrics.caption_tokens.collect(), _CAPTION_TOKENS)),
        "admission": _waits(waits, "admission"),
        "queue": _waits(waits, "queue"),
        "gateway_bytes": psutil.Process().memory_info().rss,
    }


def _waits(own: Sequence[Metric], stage: str) -> Sequence[float]:
    found = samples(own, "clipserve_gateway_wait_seconds_bucket")
    return cumulative((float(labels["le"]), value) for labels, value in found if labels["stage"] == stage)


def cumulative(counted: Iterable[tuple[float, float]]) -> list[float]:
    """The sum by upper bound of several histograms over BUCKETS, from (bound, count) of each."""
    counts = dict.fromkeys((*BUCKETS, math.inf), 0.0)
    for bound, count in counted:
        counts[bound] += count
    return list(counts.values())


def _of_workers(workers: Json) -> Figures:
    batches, cache, captions = (workers[name] or {} for name in ("batches", "cache", "captions"))
    return {
        "batches": batches.get("batches"),
        "batch_requests": batches.get("requests"),
        "pass_items": batches.get("items"),
        "pass_capacity": batches.get("capacity"),
        "cache_hits": cache.get("hits"),
        "cache_misses": cache.get("misses"),
        "caption_rows": captions.get("rows"),
        "caption_waiting": captions.get("waiting"),
        "caption_cache_bytes": captions.get("cache_bytes"),
        "workers_bytes": workers["bytes"],
    }


def _of_loads(loads: Sequence[EndpointLoad]) -> Figures:
    queued = [load.queued for load in loads if load.queued is not None]
    return {"waiting": sum(load.waiting for load in loads), "queued": sum(queued) if queued else None}


def _of_index(metrics: Sequence[Metric]) -> Figures:
    """Of the collection whose recall is lowest."""
    recalls = [value for _, value in samples(metrics, _RECALL)]
    memory = [value for _, value in samples(metrics, _INDEX_MEMORY)]
    return {"recall": min(recalls, default=None), "index_bytes": max(memory, default=None)}


def _sum(values: Iterable[float]) -> float:
    return sum(values, 0.0)
