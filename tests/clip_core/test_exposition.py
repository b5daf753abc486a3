"""The format of metrics, by what the scraper accepts."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Histogram

from clip_core.exposition import exposition

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


@pytest.mark.parametrize(
    "accept",
    ["", "*/*", "text/html", "application/openmetrics-text; version=x", "text/plain; version=..;;", "a" * 9000],
)
def test_plain_text_for_who_accepts_nothing_better(accept: str) -> None:
    write, media_type = exposition(accept)
    assert media_type.startswith("text/plain; version=0.0.4")
    assert write(CollectorRegistry()) == b""


def test_exemplars_for_prometheus() -> None:
    registry = CollectorRegistry()
    Histogram("seconds", "Time.", registry=registry).observe(0.1, {"trace_id": "ab" * 16})
    write, media_type = exposition(PROMETHEUS)
    assert media_type.startswith("application/openmetrics-text; version=1.0.0")
    assert b'# {trace_id="' + b"ab" * 16 in write(registry)
