"""The slowest calls of the last hour, in bounded memory."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable
from typing import Any, TypeAlias

Told: TypeAlias = dict[str, Any]
_Entry: TypeAlias = tuple[float, int, Told]


_SPANS, _SPAN_S = 6, 600.0


class Slowest:
    """`most` of each ten minutes of the last hour; not shared between threads."""

    def __init__(self, most: int = 50, *, clock: Callable[[], float] = time.time) -> None:
        self._most, self._clock = most, clock
        self._by_span: dict[int, list[_Entry]] = {}
        self._numbers = itertools.count()

    def add(self, ms: float, tell: Callable[[], Told]) -> None:
        """`tell` is asked only for a call that is among the slowest."""
        now = self._clock()
        span = int(now // _SPAN_S)
        kept = self._by_span.get(span)
        if kept is None:
            kept = self._by_span[span] = []
            for old in [each for each in self._by_span if each <= span - _SPANS]:
                del self._by_span[old]
        if len(kept) < self._most:
            heapq.heappush(kept, (ms, next(self._numbers), _entry(now, ms, tell)))
        elif ms > kept[0][0]:
            heapq.heapreplace(kept, (ms, next(self._numbers), _entry(now, ms, tell)))

    def all(self) -> list[Told]:
        """The slowest first: `time` (UTC), `ms`, and what was told."""
        first = int(self._clock() // _SPAN_S) - _SPANS + 1
        entries = [entry for span, kept in self._by_span.items() if span >= first for entry in kept]
        return [told for _, _, told in heapq.nlargest(self._most, entries, key=lambda entry: entry[:2])]


def _entry(now: float, ms: float, tell: Callable[[], Told]) -> Told:
    return {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)), "ms": round(ms, 2), **tell()}
