"""The answer of /v1/stats, for /openapi.json."""

from __future__ import annotations

from pydantic import ConfigDict, Field

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
