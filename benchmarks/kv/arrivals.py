"""Requests that come by chance, Poisson's way, whether or not earlier ones were answered."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from random import Random

from benchmarks.kv.loads import Request
from clip_core.caption_caches.choice import CacheChoice
from clip_core.captions.captioner import Captioner
from clip_core.captions.scheduler import Scheduler


def latencies(
    captioner: Captioner, choice: CacheChoice, requests: Sequence[Request], per_s: float, rows: int
) -> dict[str, float]:
    """Milliseconds from arrival to the caption, and captions/s."""
    random, due, arrivals = Random(9), 0.0, []
    for _ in requests:
        due += random.expovariate(per_s)
        arrivals.append(due)
    scheduler, ms = Scheduler(captioner, rows, len(requests), choice), dict[str, float]()
    started, coming = time.perf_counter(), 0
    while len(ms) < len(requests):
        now = time.perf_counter() - started
        while coming < len(requests) and arrivals[coming] <= now:
            scheduler.add(str(coming), *requests[coming])
            coming += 1
        if scheduler.idle:
            time.sleep(max(0.0, arrivals[coming] - now))
            continue
        for event in scheduler.run(1):
            if event.error is not None:
                raise event.error
            if event.captions is not None:
                ms[event.id] = (time.perf_counter() - started - arrivals[int(event.id)]) * 1e3
    took = time.perf_counter() - started
    all_ms = sorted(ms.values())
    return {
        "captions_per_s": len(ms) / took,
        "p50_ms": statistics.median(all_ms),
        "p99_ms": all_ms[min(len(all_ms) - 1, int(0.99 * len(all_ms)))],
        "preempted": float(scheduler.counts.preempted),
    }
