"""The answers of /v1/stats and what lies below it, for /openapi.json."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import ConfigDict, Field, JsonValue

from gateway.schemas.base import Schema


class RequestCounts(Schema):
    total: int = Field(description="Calls of the API since the start.")
    errors: int = Field(description="Those answered with a 5xx.")
    in_flight: int


class LatencyHistogram(Schema):
    bounds_s: list[float]
    counts: list[int] = Field(description="Cumulative; one more than the bounds, for what lies beyond them.")


class BatchCounts(Schema):
    batches: int = Field(description="Batches that TorchServe made of requests.")
    requests: int
    items: int = Field(description="Texts and images that went through a tower.")
    capacity: int = Field(description="How many the same passes could have held.")


class CacheCounts(Schema):
    hits: int
    misses: int
    bytes: int


class CaptionCounts(Schema):
    rows: int = Field(description="Captions that are being written now, a beam search's rows each.")
    waiting: int
    cache_bytes: int


class MemoryBytes(Schema):
    gateway_bytes: int
    workers_bytes: int | None = Field(description="Null when the workers run on another machine.")


class StatsAnswer(Schema):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "uptime_s": 61.5,
                    "requests": {"total": 240, "errors": 0, "in_flight": 1},
                    "latency": {"bounds_s": [0.005, 0.01], "counts": [180, 236, 240]},
                    "batches": {"batches": 60, "requests": 210, "items": 230, "capacity": 960},
                    "cache": {"hits": 40, "misses": 190, "bytes": 270560},
                    "captions": {"rows": 12, "waiting": 0, "cache_bytes": 7340032},
                    "memory": {"gateway_bytes": 98000000, "workers_bytes": 1240000000},
                }
            ]
        }
    )
    uptime_s: float
    requests: RequestCounts
    latency: LatencyHistogram
    batches: BatchCounts | None = Field(description="Null when the workers do not report it.")
    cache: CacheCounts | None = Field(description="Null when the workers do not report it.")
    captions: CaptionCounts | None = Field(description="Null when no worker reports it.")
    memory: MemoryBytes


class SlowRequest(Schema):
    time: str = Field(description="When it was answered, in UTC.")
    ms: float
    method: str
    route: str
    status: int
    request_id: str
    trace_id: str | None = Field(description="Null without traces.")
    stages: dict[str, float] = Field(description="Milliseconds by stage, where the call tells of any.")


class SlowAnswer(Schema):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "requests": [
                        {
                            "time": "2026-01-31T12:00:00Z",
                            "ms": 812.5,
                            "method": "POST",
                            "route": "/v1/search",
                            "status": 200,
                            "request_id": "5f0c1b6f6a5c4c5f9d7e8b1a2c3d4e5f",
                            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
                            "stages": {"queue": 640.2, "encode": 131.0, "search": 12.4},
                        }
                    ]
                }
            ]
        }
    )
    requests: list[SlowRequest]


Column: TypeAlias = list[float | None]


class HistoryColumns(Schema):
    """A value a step; null is what nobody told, or what did not happen in that step."""

    requests_per_s: Column = Field(description="Calls of the API that were answered.")
    server_errors_per_s: Column = Field(description="Those answered with a 5xx.")
    throttled_per_s: Column = Field(description="Those answered with 429.")
    client_errors_per_s: Column = Field(description="Those answered with another 4xx.")
    p50_ms: Column = Field(description="Half of the answers took less.")
    p95_ms: Column
    p99_ms: Column
    admission_p95_ms: Column = Field(description="What requests waited for their turn at an endpoint.")
    queue_p95_ms: Column = Field(description="What they waited in TorchServe's queue, with transport.")
    in_flight: Column = Field(description="Most requests that were being answered.")
    waiting: Column = Field(description="Most items that waited for admission.")
    queued: Column = Field(description="Most requests in TorchServe's queues.")
    batch_requests: Column = Field(description="Requests a batch.")
    batch_fill_percent: Column = Field(description="How full the towers' passes were.")
    cache_hits_percent: Column = Field(description="Vectors that came from the workers' caches.")
    recall: Column = Field(
        description="Of live searches in the collection where it is lowest, since the index started."
    )
    gateway_bytes: Column
    workers_bytes: Column = Field(description="Null when the workers run on another machine.")
    index_bytes: Column
    jobs: Column = Field(description="Background jobs that ran or waited.")
    job_entries_per_s: Column = Field(description="Entries of jobs' sources that were dealt with.")
    job_failures_per_s: Column
    captions_per_s: Column
    caption_tokens_per_s: Column
    caption_rows: Column = Field(
        description="Most rows that captioners wrote at once; null when they do not report it."
    )
    caption_waiting: Column = Field(description="Most captions that waited in the workers.")
    caption_cache_bytes: Column


def _example() -> dict[str, JsonValue]:
    columns: dict[str, JsonValue] = {name: [0.0, 0.0] for name in HistoryColumns.model_fields}
    times: dict[str, JsonValue] = {"p50_ms": [6.1, 6.4], "p95_ms": [14.0, 22.5], "p99_ms": [21.0, 48.0]}
    shares: dict[str, JsonValue] = {"batch_fill_percent": [38.0, 41.5], "cache_hits_percent": [None, 12.5]}
    return {**columns, **times, **shares, "requests_per_s": [118.4, 121.0], "recall": [0.998, 0.998]}


class HistoryAnswer(Schema):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "range": "15m",
                    "step_s": 10,
                    "endpoints": ["clip_text", "clip_image", "clip_multimodal", "clip_caption"],
                    "captions": True,
                    "time": [1769860790.1, 1769860800.1],
                    "columns": _example(),
                }
            ]
        }
    )
    range: Literal["5m", "15m", "1h"]
    step_s: float
    endpoints: list[str] = Field(description="TorchServe's endpoints that this gateway uses now.")
    captions: bool = Field(description="Whether a model writes captions.")
    time: list[float] = Field(description="Seconds since 1970 at the end of each step.")
    columns: HistoryColumns
