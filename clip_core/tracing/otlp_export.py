"""Ended spans → an OTLP collector, by OpenTelemetry's SDK: http/protobuf, batched on a thread of its own.

Resource, sampler, headers, queue sizes and so on are the SDK's, from its standard `OTEL_*` variables. The spans are
ours (`spans.py`), since the SDK's own cost several times as much to make. They become its `ReadableSpan`, which is all
that a processor is given. A full queue drops spans, and no request ever waits for the collector.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from clip_core.tracing.settings import given
from clip_core.tracing.spans import Span
from clip_core.tracing.trace_context import TraceContext

_SCOPE = InstrumentationScope("clipserve")
_KINDS = {
    "internal": trace.SpanKind.INTERNAL,
    "server": trace.SpanKind.SERVER,
    "client": trace.SpanKind.CLIENT,
    "consumer": trace.SpanKind.CONSUMER,
}
_FLAGS = trace.TraceFlags(trace.TraceFlags.SAMPLED), trace.TraceFlags(trace.TraceFlags.DEFAULT)
_OK, _STATE = trace.Status(trace.StatusCode.UNSET), trace.TraceState()
_TIMEOUT_S, _DELAY_MS = 3.0, 1000.0  # unless OTEL_… says otherwise: a worker that is stopped loses the last second
_STOP_S = 1.0
_log = logging.getLogger("clipserve.tracing")


class SpanExport:
    """The sink of a process whose traces are exported."""

    def __init__(self, sampler: Sampler, resource: Resource, processor: SpanProcessor) -> None:
        self._sampler, self._resource, self._processor = sampler, resource, processor
        self._parent_decides = isinstance(sampler, ParentBased)  # as the standard variables make one

    @classmethod
    def from_env(cls, service: str) -> SpanExport:
        """`service`: its name unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES has one."""
        logging.getLogger("opentelemetry.util.re").setLevel(logging.ERROR)  # it quotes headers, which hold keys
        named = Resource.create()
        if str(named.attributes.get("service.name", "")).startswith("unknown_service"):
            named = named.merge(Resource({"service.name": service}))
        sampler = TracerProvider(shutdown_on_exit=False).sampler
        timed = given("OTEL_EXPORTER_OTLP_TIMEOUT") or given("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")
        exporter = OTLPSpanExporter(timeout=None if timed else _TIMEOUT_S)
        logging.getLogger("opentelemetry").setLevel(logging.ERROR)  # each try of an export that fails is a warning
        delay = None if given("OTEL_BSP_SCHEDULE_DELAY") else _DELAY_MS
        return cls(sampler, named, BatchSpanProcessor(exporter, schedule_delay_millis=delay))

    def samples(self, parent: TraceContext | None, trace_id: int, name: str) -> bool:
        around = None
        if parent is not None:
            if self._parent_decides:
                return parent.sampled
            around = trace.set_span_in_context(trace.NonRecordingSpan(_sdk_context(parent, remote=True)))
        return self._sampler.should_sample(around, trace_id, name).decision is Decision.RECORD_AND_SAMPLE

    def end(self, span: Span) -> None:
        """Into the queue; never raises."""
        try:
            self._processor.on_end(self._readable(span))
        except Exception:
            _log.exception("a span can't be recorded")

    def _readable(self, span: Span) -> ReadableSpan:
        return ReadableSpan(
            span.name,
            _sdk_context(span.context),
            None if span.parent is None else _sdk_context(span.parent, remote=span.kind == "server"),
            self._resource,
            _known(span.attributes),
            links=[trace.Link(_sdk_context(link, remote=True)) for link in span.links],
            kind=_KINDS[span.kind],
            status=_OK if span.error is None else trace.Status(trace.StatusCode.ERROR, span.error),
            start_time=span.started_ns,
            end_time=span.ended_ns,
            instrumentation_scope=_SCOPE,
        )

    def close(self, patience_s: float = _STOP_S) -> None:
        """Export what is left, for a moment: a collector that does not answer keeps no process from ending."""
        closing = threading.Thread(target=self._processor.shutdown, name="traces-close", daemon=True)
        closing.start()
        closing.join(patience_s)


def _sdk_context(context: TraceContext, *, remote: bool = False) -> trace.SpanContext:
    flags = _FLAGS[0] if context.sampled else _FLAGS[1]
    return trace.SpanContext(context.trace_id, context.span_id, remote, flags, _STATE)


def _known(attributes: dict[str, Any]) -> dict[str, Any]:
    """Without those that are None."""
    return {name: value for name, value in attributes.items() if value is not None}
