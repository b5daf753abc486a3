"""`python -m benchmarks.observe.collector PORT`: an OTLP collector that keeps what the figures need of each span."""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class SpanLog:
    """`spans` since they were last taken."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []

    def add(self, body: bytes) -> None:
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.spans += [_told(span) for scope in group.scope_spans for span in scope.spans]

    def take(self) -> list[dict[str, Any]]:
        taken, self.spans = self.spans, []
        return taken


def _told(span: Any) -> dict[str, Any]:
    return {
        "trace": span.trace_id.hex(),
        "id": span.span_id.hex(),
        "parent": span.parent_span_id.hex(),
        "name": span.name,
        "ms": (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6,
        "links": [link.span_id.hex() for link in span.links],
    }


def serve(port: int) -> None:
    """POST anything adds spans; GET takes them."""
    log = SpanLog()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            log.add(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(b"")

        def do_GET(self) -> None:
            self._answer(json.dumps(log.take()).encode())

        def _answer(self, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
