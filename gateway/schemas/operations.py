"""The answers of health, readiness and the list of models."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gateway.schemas.base import ErrorBody, Schema, example


class HealthAnswer(Schema):
    model_config = example({"status": "ok"})
    status: Literal["ok"]


class ReadyAnswer(Schema):
    model_config = example({"status": "ready", "parts": {"clip_text": "ok", "index": "ok"}})
    status: Literal["ready"]
    parts: dict[str, str]


class NotReadyAnswer(Schema):
    model_config = example(
        {
            "error": {
                "message": "not ready — index: down",
                "type": "server_error",
                "param": None,
                "code": "unavailable",
            },
            "status": "not ready",
            "parts": {"index": "down"},
        }
    )
    error: ErrorBody
    status: Literal["not ready"] | None = None
    parts: dict[str, str] | None = None


class Limits(Schema):
    """Of one call, so that clients cut what they send; see docs/settings.md."""

    max_body_bytes: int
    max_image_bytes: int
    max_inputs: int = Field(description="Of an embedding or batch search call.")
    max_items: int = Field(description="Of a call that adds items.")


class ModelFacts(Schema):
    model_config = example({"id": "demo", "object": "model"}, extra="allow")
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    fingerprint: str
    dimensions: int
    matryoshka_dimensions: list[int] = Field(description="What vectors may be cut to with `dimensions`.")
    endpoints: list[str]
    limits: Limits


class ModelsAnswer(Schema):
    model_config = example(
        {
            "object": "list",
            "data": [
                {
                    "id": "demo",
                    "object": "model",
                    "created": 0,
                    "owned_by": "clipserve",
                    "fingerprint": "8f3b2c",
                    "dimensions": 96,
                    "matryoshka_dimensions": [],
                    "endpoints": ["clip_text", "clip_image", "clip_multimodal"],
                    "limits": {
                        "max_body_bytes": 33554432,
                        "max_image_bytes": 16777216,
                        "max_inputs": 256,
                        "max_items": 1000,
                    },
                }
            ],
        }
    )
    object: Literal["list"]
    data: list[ModelFacts]
