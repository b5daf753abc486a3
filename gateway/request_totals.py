"""Totals of the API's requests, kept as they are answered: to sum them up from `/metrics` takes milliseconds."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from itertools import accumulate

# Prometheus's rules compare with the same two (scripts/monitoring/alert_rules.py).
API = "/v1/.*|/v2/.*|/embeddings"
NO_API = "/v1/stats.*|/v1/health|/v2/health/.*|.*/ready"
_api, _no_api = re.compile(API), re.compile(NO_API)


@cache
def is_api(route: str) -> bool:
    """The page's own assets and the probes are none of it; and asking for the figures must not change them."""
    return bool(_api.fullmatch(route)) and not _no_api.fullmatch(route)


class RequestTotals:
    """`failed` were answered with a 5xx, `refused` with 429, `rejected` with another 4xx."""

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self._bounds = bounds_s
        self._latency = [0] * (len(bounds_s) + 1)
        self.requests = self.failed = self.refused = self.rejected = 0

    def add(self, route: str, status: int, seconds: float) -> None:
        if not is_api(route):
            return
        self.requests += 1
        self._latency[bisect_left(self._bounds, seconds)] += 1
        self.failed += status >= 500
        self.refused += status == 429
        self.rejected += 400 <= status < 500 and status != 429

    def latency(self) -> list[int]:
        """Cumulative counts by bound, and of what lies beyond them."""
        return list(accumulate(self._latency))
