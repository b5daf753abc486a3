"""Which traces are whole."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.observe.traced_load import _headers
from benchmarks.observe.whole_traces import covered_p50, whole_share


def span(trace: str, identity: str, parent: str, name: str, ms: float = 1.0, *links: str) -> dict[str, Any]:
    return {"trace": trace, "id": identity, "parent": parent, "name": name, "ms": ms, "links": list(links)}


SHARED = [
    span("1", "a", "", "POST /v1/search", 10.0),
    span("1", "b", "a", "admission", 2.0),
    span("1", "c", "a", "embeddings clip_text", 7.0),
    span("1", "d", "c", "clip_text"),
    span("1", "e", "d", "batch", 1.0, "d", "z"),
    span("1", "f", "e", "POST /search"),
    span("1", "g", "f", "POST search"),
    span("2", "w", "", "POST /v1/search", 10.0),
    span("2", "x", "w", "embeddings clip_text", 5.0),
    span("2", "z", "x", "clip_text", 1.0, "e"),
]


def test_a_request_that_shared_a_batch_is_whole_by_its_link() -> None:
    assert whole_share(SHARED) == 1


@pytest.mark.parametrize(("lost", "share"), [("g", 0.0), ("f", 0.0), ("e", 0.0), ("z", 0.5), ("d", 1.0)])
def test_what_is_lost_breaks_what_needs_it(lost: str, share: float) -> None:
    assert whole_share([each for each in SHARED if each["id"] != lost]) == share


def test_what_a_requests_stages_cover() -> None:
    assert covered_p50(SHARED) == pytest.approx((0.9 + 0.5) / 2)


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.01, 1), (0.1, 10), (1.0, 100)])
def test_a_share_is_spread_evenly(share: float, count: int) -> None:
    headers = [each for each, _ in zip(_headers(share, 0), range(100), strict=False)]
    assert sum(each["traceparent"].endswith("-01") for each in headers) == count
    assert "traceparent" not in next(_headers(None, 0))
