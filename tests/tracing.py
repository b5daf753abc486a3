"""What the tests of traces share: spans kept in a list, and an OTLP collector of a few lines."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from clip_core.tracing.spans import Span, use_sink
from clip_core.tracing.trace_context import TraceContext


class KeptSpans:
    """A sink: what it is asked to sample is up to `share`, 1.0 or 0.0, for those without a caller."""

    def __init__(self, share: float = 1.0) -> None:
        self.spans: list[Span] = []
        self.share = share

    def samples(self, parent: TraceContext | None, *_: object) -> bool:
        return parent.sampled if parent is not None else bool(self.share)

    def end(self, span: Span) -> None:
        self.spans.append(span)

    def close(self) -> None:
        """Nothing is under way."""

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> Span:
        (found,) = self.named(name)
        return found

    def under(self, parent: Span) -> list[Span]:
        return [span for span in self.spans if span.parent == parent.context]


@contextmanager
def kept_spans(share: float = 1.0) -> Iterator[KeptSpans]:
    kept = KeptSpans(share)
    before = use_sink(kept)
    try:
        yield kept
    finally:
        use_sink(before)


class Collector:
    """Takes OTLP over http/protobuf; `status` is what it answers. `wait` blocks until so many spans are in."""

    def __init__(self) -> None:
        self.status = 200
        self.answers = threading.Event()  # cleared: it takes what comes, and does not answer
        self.answers.set()
        self.spans: list[Any] = []
        self.services: dict[bytes, str] = {}
        self._changed = threading.Condition()

    def add(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._changed:
            for group in request.resource_spans:
                names = {each.key: each.value.string_value for each in group.resource.attributes}
                for span in (span for scope in group.scope_spans for span in scope.spans):
                    self.spans.append(span)
                    self.services[span.span_id] = names.get("service.name", "")
            self._changed.notify_all()

    def wait(self, count: int, timeout_s: float = 30.0) -> list[Any]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.spans) >= count, timeout_s), f"{len(self.spans)} spans"
            return list(self.spans)


@contextmanager
def collecting() -> Iterator[tuple[Collector, str]]:
    """A collector and its address."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if collector.status == 200:
                collector.add(body)
            collector.answers.wait()
            self.send_response(collector.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector, f"http://127.0.0.1:{server.server_port}"
    finally:
        collector.answers.set()
        server.shutdown()
        server.server_close()
