"""The spans of one TorchServe batch: one for the batch, and one for each recorded request in it.

A request's span is in its caller's trace, begins with the batch and says how long the request had waited, so that a
plain waterfall shows where its time went. The batch is a child of the first of them, with a link to every one; the
others link to the batch. What goes on in the batch, down to the index service, are the batch's children.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from clip_core.inputs.request import Request
from clip_core.serving.answers import Answer
from clip_core.serving.batch_log import Parsed
from clip_core.tracing.spans import Place, Span, begin, context_of, enter, leave, recording
from clip_core.tracing.trace_context import NO_CALLERS, TraceContext

log = logging.getLogger("clipserve.tracing")
T = TypeVar("T")
_MOST_LINKS = 128  # what OpenTelemetry allows a span by default


@dataclass
class BatchTrace:
    """`requests`: the span of each recorded caller with the place of its request in the batch."""

    batch: Span
    requests: list[tuple[int, Span]] = field(default_factory=list)

    def run(self, work: Callable[[], T]) -> T:
        """`work` as what goes on in this batch."""
        token = enter(self.batch)
        try:
            return work()
        finally:
            leave(token)

    def end(self, answers: Sequence[Answer]) -> None:
        now = time.time_ns()
        self.batch.end(now)
        for place, span in self.requests:
            span.attributes["http.response.status_code"] = answers[place].status
            if answers[place].status >= 400:
                span.fail(next(iter(answers[place].codes), "error"))
            span.end(now)


def begin_batch(endpoint: str, requests: Sequence[Parsed], started_ns: int) -> BatchTrace | None:
    """None where no request of the batch is recorded; `started_ns`: when it came, in nanoseconds since 1970."""
    if not recording():
        return None
    try:
        return _begin(endpoint, requests, started_ns)
    except Exception:  # what is recorded never spoils an answer
        log.exception("a batch can't be traced")
        return None


def _begin(endpoint: str, requests: Sequence[Parsed], started_ns: int) -> BatchTrace | None:
    places = [(i, found) for i, each in enumerate(requests) for found in _begun(endpoint, each, started_ns)]
    spans = [(i, place) for i, place in places if isinstance(place, Span)]
    if not spans:
        return None
    contexts = [context for _, place in places if (context := context_of(place)) is not None]
    return _batch(endpoint, requests, spans, contexts, started_ns)


def _batch(
    endpoint: str,
    requests: Sequence[Parsed],
    spans: list[tuple[int, Span]],
    contexts: list[TraceContext],
    started_ns: int,
) -> BatchTrace:
    items = sum(len(each.items) for each in requests if isinstance(each, Request))
    attributes = {"gen_ai.request.model": endpoint, "clipserve.requests": len(requests), "clipserve.items": items}
    links = contexts[:_MOST_LINKS]
    batch = spans[0][1].child("batch", kind="consumer", links=links, started_ns=started_ns, attributes=attributes)
    for _, span in spans[1:]:
        span.links = (batch.context,)
    return BatchTrace(batch, spans)


def _begun(endpoint: str, request: Parsed, started_ns: int) -> list[Place]:
    """One for each caller of the request, which several may share; a request of no caller may begin a trace."""
    callers = request.callers if isinstance(request, Request) else NO_CALLERS
    waited_ms = round(max(0.0, started_ns / 1e6 - callers.sent_s * 1e3), 3) if callers.sent_s else None
    items = len(request.items) if isinstance(request, Request) else None
    found: list[Place] = []
    for context in callers.contexts or (None,):
        attributes = {
            "gen_ai.operation.name": "embeddings",
            "gen_ai.request.model": endpoint,
            "clipserve.queue_ms": waited_ms,
            "clipserve.items": items,
        }
        made = begin(endpoint, context, kind="server", started_ns=started_ns, attributes=attributes)
        found.append(made)
    return found
