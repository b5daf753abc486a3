"""Whether this process is to export traces: OpenTelemetry's own variables say so."""

from __future__ import annotations

import os
from collections.abc import Mapping

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def wants_traces(environ: Mapping[str, str] = os.environ) -> bool:
    """Only where an endpoint is given, and nothing switches traces off."""
    given = any(environ.get(name, "").strip() for name in _ENDPOINTS)
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return given and not disabled and environ.get("OTEL_TRACES_EXPORTER", "otlp").strip() in ("", "otlp")


def given(name: str, environ: Mapping[str, str] = os.environ) -> bool:
    return bool(environ.get(name, "").strip())
