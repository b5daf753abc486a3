"""What the page's live panel shows, gathered from the gateway's own metrics, TorchServe's, and the processes' memory.

Counters only grow; whoever wants a rate takes the difference of two answers. What a neighbour does not tell is None.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psutil
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from clip_core.errors import Unavailable
from gateway.metrics import GatewayMetrics
from gateway.models.registry import Models
from gateway.request_totals import is_api
from gateway.upstream.torchserve import TorchServeClient

Json = dict[str, Any]
_BATCHES = {
    "batches": "clipserve_batches",
    "requests": "clipserve_batch_requests",
    "items": "clipserve_pass_items",
    "capacity": "clipserve_pass_capacity",
}
_CACHE = {"hits": "clipserve_cache_hits", "misses": "clipserve_cache_misses", "bytes": "clipserve_cache_bytes"}
_CAPTIONS = {
    "rows": "clipserve_caption_rows",
    "waiting": "clipserve_caption_waiting",
    "cache_bytes": "clipserve_caption_cache_bytes",
}
_WORKER = "model_service_worker"  # TorchServe's script, by which a worker's pid is told from a stranger's


class Stats:
    """One reading at a time; nothing is kept between readings."""

    def __init__(self, metrics: GatewayMetrics, models: Models) -> None:
        self._metrics, self._models = metrics, models.all()

    async def read(self) -> Json:
        """Times in seconds, memory in bytes; histogram counts are cumulative, the last one beyond all bounds."""
        workers = await self.workers()
        own, gateway = list(self._metrics.registry.collect()), psutil.Process()
        return {
            "uptime_s": round(time.time() - gateway.create_time(), 1),
            "requests": _requests(own),
            "latency": _latency(own),
            "batches": workers["batches"],
            "cache": workers["cache"],
            "captions": workers["captions"],
            "memory": {"gateway_bytes": gateway.memory_info().rss, "workers_bytes": workers["bytes"]},
        }

    async def workers(self) -> Json:
        """Their `batches`, `cache`, `captions` and resident `bytes`."""
        families, pids = await asyncio.gather(self._worker_metrics(), self._worker_pids())
        groups = {"batches": _BATCHES, "cache": _CACHE, "captions": _CAPTIONS}
        return {**{name: _group(families, metrics) for name, metrics in groups.items()}, "bytes": _memory(pids)}

    async def _worker_metrics(self) -> list[Metric]:
        """Of every TorchServe, each once."""
        clients = dict.fromkeys(each.torchserve.client for each in self._models)
        return [family for families in await asyncio.gather(*map(_metrics_of, clients)) for family in families]

    async def _worker_pids(self) -> list[int]:
        asked = [(each.torchserve.client, name) for each in self._models for name in each.row.all_endpoints()]
        lists = await asyncio.gather(*(client.worker_pids(name) for client, name in dict.fromkeys(asked)))
        return [pid for pids in lists for pid in pids]


async def _metrics_of(client: TorchServeClient) -> list[Metric]:
    try:
        return parsed(await client.metrics(), (*_BATCHES.values(), *_CACHE.values(), *_CAPTIONS.values()))
    except (Unavailable, ValueError):
        return []


def parsed(text: str, names: tuple[str, ...]) -> list[Metric]:
    """The metrics of a Prometheus text whose names begin so, without their types: all others would take milliseconds.

    Raises ValueError.
    """
    wanted = "".join(f"{line}\n" for line in text.splitlines() if line.startswith(names))
    return list(text_string_to_metric_families(wanted))


def samples(families: Iterable[Metric], name: str) -> list[tuple[dict[str, str], float]]:
    """By name, a counter's without the `_total` that the parser gives to each."""
    found = (sample for family in families for sample in family.samples)
    return [(sample.labels, sample.value) for sample in found if sample.name.removesuffix("_total") == name]


def _requests(own: Sequence[Metric]) -> Json:
    """Of the API: the page's own assets and the probes are left out."""
    counted = [sample for sample in samples(own, "clipserve_gateway_requests") if is_api(sample[0]["route"])]
    running = sum(value for _, value in samples(own, "clipserve_gateway_requests_in_flight"))
    return {
        "total": int(sum(value for _, value in counted)),
        "errors": int(sum(value for labels, value in counted if labels["status"] >= "500")),
        "in_flight": max(0, int(running) - 1),  # without the one that asks
    }


def _latency(own: Sequence[Metric]) -> Json:
    counts: dict[float, float] = {}
    for labels, value in samples(own, "clipserve_gateway_request_seconds_bucket"):
        if is_api(labels["route"]):
            bound = float(labels["le"])
            counts[bound] = counts.get(bound, 0) + value
    bounds = sorted(counts)
    return {"bounds_s": bounds[:-1], "counts": [int(counts[bound]) for bound in bounds]}


def _group(families: Sequence[Metric], names: Mapping[str, str]) -> Json | None:
    """Sums over all workers of the metrics that `names` names; None when no worker reports any of them."""
    found = {name: samples(families, metric) for name, metric in names.items()}
    if not any(found.values()):
        return None
    return {name: int(sum(value for _, value in values)) for name, values in found.items()}


def _memory(pids: Sequence[int]) -> int | None:
    """Resident bytes of the workers when they run on this machine, None when they cannot be seen from here."""
    seen = [size for pid in pids if (size := _resident(pid)) is not None]
    return sum(seen) if seen else None


def _resident(pid: int) -> int | None:
    try:
        process = psutil.Process(pid)
        if not any(_WORKER in word for word in process.cmdline()):
            return None
        return int(process.memory_info().rss)
    except psutil.Error:
        return None
