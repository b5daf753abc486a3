"""What one reading of the gateway's history holds, and in which columns of its row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gateway.metrics import BUCKETS

Figures: TypeAlias = Mapping[str, float | Sequence[float] | None]
"""By name: a number, a histogram's cumulative counts, or None for what nobody told."""
Rows: TypeAlias = NDArray[np.float64]
TIME = "time"
COUNTERS = (
    *("requests", "failed", "refused", "rejected"),
    *("batches", "batch_requests", "pass_items", "pass_capacity", "cache_hits", "cache_misses"),
    *("job_entries", "job_failures"),
    *("captions", "caption_tokens"),
)
GAUGES = (
    *("in_flight", "waiting", "queued", "jobs"),
    *("recall", "gateway_bytes", "workers_bytes", "index_bytes"),
    *("caption_rows", "caption_waiting", "caption_cache_bytes"),
)
HISTOGRAMS = ("latency", "admission", "queue")  # over BUCKETS, and what lies beyond them


def _places() -> dict[str, slice]:
    sizes = dict.fromkeys((TIME, *COUNTERS, *GAUGES), 1) | {name: len(BUCKETS) + 1 for name in HISTOGRAMS}
    ends = np.cumsum(list(sizes.values())).tolist()
    return {name: slice(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)}


PLACES = _places()
WIDTH = max(place.stop for place in PLACES.values())


def row_of(figures: Figures) -> Rows:
    """(WIDTH,) of float64, which keeps counts exact up to 2⁵³. NaN stands for None."""
    row = np.full(WIDTH, np.nan)
    for name, figure in figures.items():
        if figure is not None:
            row[PLACES[name]] = figure
    return row
