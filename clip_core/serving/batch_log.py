"""What a worker logs of its batches: a line for each that failed or was slow, one in a while for all others.

A line on a worker's stdout is written, read and parsed by TorchServe's frontend, which costs a small batch more than
its vectors from the cache do. So batches that went well are summed; at DEBUG, or with an interval of 0, each has one.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from clip_core.encode.embedding_cache import CacheStats
from clip_core.errors import ClipServeError
from clip_core.inputs.request import Request
from clip_core.serving.answers import Answer

Parsed = Request | ClipServeError


class Handled(Protocol):
    """What a worker has done: a batch, or the captions that a call has finished."""

    @property
    def seconds(self) -> float: ...
    @property
    def failed(self) -> bool: ...
    def fields(self) -> dict[str, Any]: ...
    def counts(self) -> Mapping[str, int]: ...


@dataclass(frozen=True)
class HandledBatch:
    """One call of the handler; `before` and `after` are its cache's counts."""

    requests: Sequence[Parsed]
    answers: Sequence[Answer]
    seconds: float
    before: CacheStats
    after: CacheStats

    @property
    def failed(self) -> bool:
        return any(answer.codes for answer in self.answers)

    def fields(self) -> dict[str, Any]:
        return {
            "request_ids": request_ids(self.requests),
            "statuses": [answer.status for answer in self.answers],
            "items": items(self.requests),
            "ms": round(self.seconds * 1e3, 2),
            "cache_hits": self.after.hits - self.before.hits,
            "cache_misses": self.after.misses - self.before.misses,
            "cache_shared_hits": self.after.shared_hits - self.before.shared_hits,
            "cache_evictions": self.after.evictions - self.before.evictions,
            "cache_bytes": self.after.bytes,
            **trace_ids(self.requests),
        }

    def counts(self) -> dict[str, int]:
        hits = self.after.hits - self.before.hits
        return {"batches": 1, "requests": len(self.requests), "items": items(self.requests), "cache_hits": hits}


def request_ids(requests: Sequence[Parsed]) -> list[str | None]:
    return [request.request_id if isinstance(request, Request) else None for request in requests]


def trace_ids(requests: Sequence[Parsed]) -> dict[str, list[str]]:
    """Nothing where no request has a trace."""
    callers = [request.callers for request in requests if isinstance(request, Request)]
    ids = [context.trace for each in callers for context in each.contexts]
    return {"trace_ids": ids} if ids else {}


def items(requests: Sequence[Parsed]) -> int:
    return sum(len(request.items) for request in requests if isinstance(request, Request))


@dataclass
class _Sum:
    times: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    longest: float = 0.0

    def add(self, done: Handled) -> None:
        self.times += 1
        self.counts.update(done.counts())
        self.seconds += done.seconds
        self.longest = max(self.longest, done.seconds)

    def fields(self) -> dict[str, Any]:
        mean = self.seconds / self.times
        return {**self.counts, "mean_ms": round(mean * 1e3, 2), "longest_ms": round(self.longest * 1e3, 2)}


class BatchLog:
    """`slow_s`: a batch that takes longer gets a line of its own. `report` is called once in `interval_s`."""

    def __init__(self, log: logging.Logger, interval_s: float, slow_s: float) -> None:
        self._log, self._slow_s = log, slow_s
        self._each = interval_s <= 0 or log.isEnabledFor(logging.DEBUG)
        self._lock, self._sum = threading.Lock(), _Sum()

    def add(self, done: Handled) -> None:
        if self._each or done.failed or done.seconds > self._slow_s:
            self._log.info("batch", extra=done.fields())
            return
        with self._lock:
            self._sum.add(done)

    def report(self) -> None:
        """One line for what was summed since the last; none when there was nothing."""
        with self._lock:
            done, self._sum = self._sum, _Sum()
        if done.times:
            self._log.info("batches", extra=done.fields())
