"""Switches the traces of a process on, where OpenTelemetry's variables ask for them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from clip_core.tracing.settings import doubts, wants_traces
from clip_core.tracing.spans import use_sink

_log = logging.getLogger("clipserve.tracing")


def configure_tracing(service: str) -> None:
    """Once, at the start; without an endpoint nothing of the SDK is even imported. What is wrong is logged."""
    for doubt in doubts():
        _log.warning("%s", doubt)
    if not wants_traces():
        return
    try:
        from clip_core.tracing.otlp_export import SpanExport

        use_sink(SpanExport.from_env(service))
    except Exception as error:  # a process serves without traces, too
        _log.warning("no traces: %s", error)


@contextlib.contextmanager
def traced_process(service: str) -> Iterator[None]:
    """With its traces on; what is left of them is exported at the end."""
    configure_tracing(service)
    try:
        yield
    finally:
        sink = use_sink(None)
        if sink is not None:
            sink.close()
