"""Whether this process is to export traces: OpenTelemetry's own variables say so."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_ADDRESS = re.compile(r"https?://[^/]", re.IGNORECASE)
_HEADER = re.compile(r"""[^\s=(),/:;<>?@\[\]{}\\"]+\s*=[ -~]*""")
_FILES = ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")


def wants_traces(environ: Mapping[str, str] = os.environ) -> bool:
    """Only where an endpoint is given, and nothing switches traces off."""
    return _asked_for(environ) and "otlp" in _exporters(environ)


def doubts(environ: Mapping[str, str] = os.environ) -> Iterator[str]:
    """What is asked for where traces are wanted, and isn't done or can't work; no value that may be a secret."""
    if _asked_for(environ):
        yield from _not_done(environ)
        yield from _not_working(environ)


def _not_done(environ: Mapping[str, str]) -> Iterator[str]:
    for name in _exporters(environ) - {"otlp", "none"}:
        yield f"OTEL_TRACES_EXPORTER: {name} is none of ours, only otlp"
    for name in _names("PROTOCOL"):
        if given(name, environ) and environ[name].strip() != "http/protobuf":
            yield f"{name}: traces go by http/protobuf, not by {environ[name].strip()}"


def _not_working(environ: Mapping[str, str]) -> Iterator[str]:
    for name in _ENDPOINTS:
        if given(name, environ) and not _ADDRESS.match(environ[name].strip()):
            yield f"{name} is no address such as http://collector:4318"
    for name in (name for file in _FILES for name in _names(file)):
        if given(name, environ) and not os.path.isfile(environ[name]):
            yield f"{name}: there is no such file"
    for name in _names("HEADERS"):
        if not all(_HEADER.fullmatch(part.strip()) for part in environ.get(name, "").split(",") if part.strip()):
            yield f"{name} is no list such as name=value,other=value, percent-encoded"


def _asked_for(environ: Mapping[str, str]) -> bool:
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return any(given(name, environ) for name in _ENDPOINTS) and not disabled


def _exporters(environ: Mapping[str, str]) -> set[str]:
    return {name.strip() for name in (environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp").split(",")}


def _names(ending: str) -> tuple[str, str]:
    return f"OTEL_EXPORTER_OTLP_TRACES_{ending}", f"OTEL_EXPORTER_OTLP_{ending}"


def given(name: str, environ: Mapping[str, str] = os.environ) -> bool:
    return bool(environ.get(name, "").strip())
