"""In which format a service shows its metrics."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder, generate_latest

Write = Callable[[CollectorRegistry], bytes]


def exposition(accept: str) -> tuple[Write, str]:
    """OpenMetrics, which has exemplars, for who accepts it; else the Prometheus text format. And its media type."""
    try:
        return choose_encoder(accept)
    except ValueError:  # a version that is no number
        return generate_latest, CONTENT_TYPE_PLAIN_0_0_4
