"""Of the spans that a collector got: which traces are whole, and how much of a request its stages cover."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

Span = dict[str, Any]
REQUEST = "POST /v1/search"


def whole_share(spans: Sequence[Span]) -> float:
    """Of the gateway's requests: those whose trace leads to a batch, and from that to the index service's own span."""
    by_id = {span["id"]: span for span in spans}
    below: dict[str, list[Span]] = defaultdict(list)
    traces: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        below[span["parent"]].append(span)
        traces[span["trace"]].append(span)
    requests = [span for span in spans if span["name"] == REQUEST]
    whole = [span for span in requests if _is_whole(traces[span["trace"]], by_id, below)]
    return len(whole) / len(requests) if requests else 0.0


def _is_whole(trace: Sequence[Span], by_id: dict[str, Span], below: dict[str, list[Span]]) -> bool:
    batches = [span for span in trace if span["name"] == "batch"]
    batches += [by_id[link] for span in trace for link in span["links"] if link in by_id]
    return any(_searched(batch, below) for batch in batches if batch["name"] == "batch")


def _searched(batch: Span, below: dict[str, list[Span]]) -> bool:
    calls = [span for span in below[batch["id"]] if span["name"] == "POST /search"]
    return any(inner["name"] == "POST search" for call in calls for inner in below[call["id"]])


def covered_p50(spans: Sequence[Span]) -> float:
    """The median over requests of the sum of their stages ÷ the gateway's time for them."""
    parts: dict[str, float] = defaultdict(float)
    for span in spans:
        parts[span["parent"]] += span["ms"]
    shares = [min(1.0, parts[span["id"]] / span["ms"]) for span in spans if span["name"] == REQUEST and span["ms"]]
    return statistics.median(shares) if shares else 0.0
