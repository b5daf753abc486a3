"""A request to TorchServe in the traces of its callers: a span in each of them, and all their ids in its body."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from clip_core.tracing.spans import Place, Span, context_of, here, reason
from clip_core.tracing.trace_context import TraceContext
from gateway.encode.chunks import EncodeChunk

_MOMENT_NS = 100_000


class TracedCall:
    """Around the request for `chunks`. The body carries what headers cannot: several callers' contexts."""

    def __init__(self, chunks: Sequence[EncodeChunk]) -> None:
        self._chunks, self._spans = chunks, list[Span]()

    def __enter__(self) -> TracedCall:
        recorded = [(each, each.place) for each in self._chunks if each.place is not None]
        for chunk, place in recorded:
            if isinstance(place, Span):
                self._spans.append(_begun(chunk, place, len(self._chunks)))
        return self

    def fields(self) -> dict[str, Any]:
        """For the body: the recorded callers', else one that says that nothing is recorded; nothing without traces."""
        contexts: list[TraceContext] = [span.context for span in self._spans] or _first(self._chunks)
        if not contexts:
            return {}
        return {"traceparent": [each.traceparent() for each in contexts], "sent": time.time()}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        now = time.time_ns()
        for span in self._spans:
            if error is not None:
                span.fail(reason(error))
            span.end(now)
        for chunk in self._chunks:
            if isinstance(chunk.place, Span):
                chunk.place.waited_ns = now


def end_reading() -> None:
    """All that a request took before the first it waits for is its stage `read`: head, key, body, what they say."""
    place = here()
    if isinstance(place, Span) and place.kind == "server" and not place.waited_ns:
        place.waited_ns = time.time_ns()
        place.child("read", started_ns=place.started_ns).end(place.waited_ns)


def _begun(chunk: EncodeChunk, place: Span, sharing: int) -> Span:
    """A wait for others' requests before this one is a span, too."""
    now = time.time_ns()
    if now - chunk.admitted_ns > _MOMENT_NS:
        place.child("coalescing", started_ns=chunk.admitted_ns).end(now)
    attributes = {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.request.model": chunk.endpoint,
        "clipserve.items": len(chunk),
        "clipserve.sharing": sharing,
    }
    return place.child(f"embeddings {chunk.endpoint}", kind="client", started_ns=now, attributes=attributes)


def _first(chunks: Sequence[EncodeChunk]) -> list[TraceContext]:
    places: list[Place] = [chunk.place for chunk in chunks if chunk.place is not None]
    context = context_of(places[0]) if places else None
    return [] if context is None else [context]
