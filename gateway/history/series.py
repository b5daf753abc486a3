"""Rows of the history → what charts show: rates, percentiles and shares of each step."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gateway.history.figures import PLACES, TIME, Rows
from gateway.metrics import BUCKETS

Column = NDArray[np.float64]
RANGES = {"5m": (300.0, 5.0), "15m": (900.0, 10.0), "1h": (3600.0, 30.0)}  # seconds of the range, and of a step
_BOUNDS_MS = np.array([0.0, *BUCKETS, BUCKETS[-1]]) * 1e3  # what lies beyond all bounds counts as the last of them
_DIGITS = 4


class _Steps(NamedTuple):
    """(N, WIDTH) each: what was read last in a step, how much that grew, and the most and least of the step."""

    last: Rows
    grown: Rows
    most: Rows
    least: Rows


def series(rows: Rows, range_: str, now: float) -> dict[str, Any]:
    """`time` in seconds since 1970 and `columns`, each one value a step of `step_s`; None is what is not known."""
    span_s, step_s = RANGES[range_]
    steps = _steps(rows[rows[:, PLACES[TIME]][:, 0] >= now - span_s - step_s], step_s)
    columns = {name: _plain(column) for name, column in _columns(steps).items()}
    return {"step_s": step_s, "time": np.round(_scalar(steps.last, TIME), 1).tolist(), "columns": columns}


def _steps(rows: Rows, step_s: float) -> _Steps:
    """The first step is only what the second one is counted from. A counter that fell began anew: not known."""
    numbers = rows[:, PLACES[TIME]][:, 0] // step_s
    firsts = np.flatnonzero(np.diff(numbers, prepend=-1.0))
    if len(firsts) < 2:
        return _Steps(*(rows[:0] for _ in _Steps._fields))
    last = rows[np.append(firsts[1:], len(rows)) - 1]
    grown = np.diff(last, axis=0)
    grown[grown < 0] = np.nan
    most, least = (each.reduceat(rows, firsts, axis=0)[1:] for each in (np.fmax, np.fmin))
    return _Steps(last[1:], grown, most, least)


def _columns(steps: _Steps) -> dict[str, Column]:
    grown = {name: steps.grown[:, place] for name, place in PLACES.items()}
    count = {name: values[:, 0] for name, values in grown.items()}
    most = {name: _scalar(steps.most, name) for name in PLACES}
    seconds = count[TIME]
    return {
        "requests_per_s": _ratio(count["requests"], seconds),
        "server_errors_per_s": _ratio(count["failed"], seconds),
        "throttled_per_s": _ratio(count["refused"], seconds),
        "client_errors_per_s": _ratio(count["rejected"], seconds),
        "p50_ms": quantile_ms(grown["latency"], 0.5),
        "p95_ms": quantile_ms(grown["latency"], 0.95),
        "p99_ms": quantile_ms(grown["latency"], 0.99),
        "admission_p95_ms": quantile_ms(grown["admission"], 0.95),
        "queue_p95_ms": quantile_ms(grown["queue"], 0.95),
        "in_flight": most["in_flight"],
        "waiting": most["waiting"],
        "queued": most["queued"],
        "batch_requests": _ratio(count["batch_requests"], count["batches"]),
        "batch_fill_percent": 100 * _ratio(count["pass_items"], count["pass_capacity"]),
        "cache_hits_percent": 100 * _ratio(count["cache_hits"], count["cache_hits"] + count["cache_misses"]),
        "recall": _scalar(steps.least, "recall"),
        "gateway_bytes": most["gateway_bytes"],
        "workers_bytes": most["workers_bytes"],
        "index_bytes": most["index_bytes"],
        "jobs": most["jobs"],
        "job_entries_per_s": _ratio(count["job_entries"], seconds),
        "job_failures_per_s": _ratio(count["job_failures"], seconds),
        "captions_per_s": _ratio(count["captions"], seconds),
        "caption_tokens_per_s": _ratio(count["caption_tokens"], seconds),
        "caption_rows": most["caption_rows"],
        "caption_waiting": most["caption_waiting"],
        "caption_cache_bytes": most["caption_cache_bytes"],
    }


def quantile_ms(counts: Rows, part: float) -> Column:
    """Of cumulative counts (N, buckets), linear within a bucket as Prometheus' histogram_quantile; NaN for none."""
    padded = np.concatenate([np.zeros((len(counts), 1)), counts], axis=1)
    rank = part * counts[:, -1]
    place = np.minimum((counts < rank[:, None]).sum(axis=1), counts.shape[1] - 1)
    row = np.arange(len(counts))
    below, upto = padded[row, place], padded[row, place + 1]
    low, high = _BOUNDS_MS[place], _BOUNDS_MS[place + 1]
    return np.where(counts[:, -1] > 0, low + (high - low) * (rank - below) / np.maximum(upto - below, 1), np.nan)


def _scalar(rows: Rows, name: str) -> Column:
    return rows[:, PLACES[name]][:, 0]


def _ratio(part: Column, whole: Column) -> Column:
    """NaN where there is no whole."""
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


def _plain(column: Column) -> list[float | None]:
    """Four digits are more than a chart shows."""
    return [float(f"{value:.{_DIGITS}g}") if value == value else None for value in column.tolist()]
