"""A calm caller: one search at a time, twenty a second, each with a text that was not there before."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import count
from typing import Any

from scripts.public_api import PublicApi
from scripts.stack.live_stack import LiveStack
from scripts.tune.load import LOST_MS, Load, calm

PER_S = 20.0
FLOOR_MS, TIMES_REST = 250.0, 3.0
_numbers = count()


def searches(texts: Sequence[str], number: int) -> list[dict[str, Any]]:
    """New ones at each call, so that no vector is cached."""
    first = [next(_numbers) for _ in range(number)]
    return [{"collection": "demo", "text": f"{texts[n % len(texts)]}, number {n}", "k": 10} for n in first]


def neighbour(stack: LiveStack, texts: Sequence[str], seconds: float) -> Load:
    """The searches of so many seconds."""
    return calm(f"{stack.gateway}/v1/search", searches(texts, int(seconds * PER_S) + 1), PER_S, seconds)


def felt_p99(load: Load) -> float:
    """A search that failed counts as one that was waited for in vain."""
    felt = load.latencies + [LOST_MS] * load.errors
    return Load(felt, 0, load.seconds, []).p99 if len(felt) > 1 else max(felt, default=LOST_MS)


def bar_ms(rest_p99: float) -> float:
    """What a neighbour may feel."""
    return max(FLOOR_MS, TIMES_REST * rest_p99)


def well_again(stack: LiveStack, texts: Sequence[str], within_ms: float, seconds: float) -> float:
    """Seconds until five searches in a row take no longer than `within_ms`; `seconds` when they never do."""
    api, started, good = PublicApi(stack.gateway, timeout_s=5), time.monotonic(), 0
    while good < 5 and time.monotonic() - started < seconds and stack.process.poll() is None:
        good = good + 1 if _search_ms(api, texts) <= within_ms else 0
        time.sleep(0.02)
    return time.monotonic() - started if good == 5 else seconds


def _search_ms(api: PublicApi, texts: Sequence[str]) -> float:
    started = time.perf_counter()
    try:
        api.call("POST", "/v1/search", searches(texts, 1)[0])
    except Exception:  # of whatever kind: not served
        return LOST_MS
    return (time.perf_counter() - started) * 1e3
