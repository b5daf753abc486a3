"""Queries a second that several senders get at once, from the service over HTTP and from the raw library."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import orjson

from benchmarks.index.live import K, LiveIndex, searches
from clip_core.wire import FloatArray

SENDERS = 4
_ROUNDS = 5
_SETTLE_S = 0.2


def rates(raw: Any, live: LiveIndex, batches: Sequence[FloatArray]) -> tuple[float, float]:
    """Of the service, and of the raw library by one or by SENDERS threads, whichever is faster: medians, in turn."""
    service = [_http(live) for _ in range(SENDERS)]
    library = [partial(_raw, raw)] * SENDERS
    served: list[float] = []
    direct: list[float] = []
    for _ in range(_ROUNDS):
        served.append(_rate(service, batches))
        time.sleep(_SETTLE_S)
        if raw is not None:
            direct.append(max(_rate(library, batches), _rate(library[:1], batches)))
            time.sleep(_SETTLE_S)
    return statistics.median(served), statistics.median(direct) if direct else 0.0


def _http(live: LiveIndex) -> Callable[[FloatArray], object]:
    client = live.client()

    def call(batch: FloatArray) -> object:
        return orjson.loads(client.call("POST", "/search", orjson.dumps(searches(batch)))[1])

    return call


def _raw(raw: Any, batch: FloatArray) -> object:
    return raw.search(batch, K)


def _rate(senders: Sequence[Callable[[FloatArray], object]], batches: Sequence[FloatArray]) -> float:
    """Each sender has its share of the batches, twice."""

    def send(place: int) -> None:
        for batch in [*batches[place :: len(senders)]] * 2:
            senders[place](batch)

    started = time.perf_counter()
    with ThreadPoolExecutor(len(senders)) as threads:
        list(threads.map(send, range(len(senders))))
    return 2 * sum(map(len, batches)) / (time.perf_counter() - started)
