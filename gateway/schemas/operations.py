"""The answers of health, readiness and the list of models."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from gateway.schemas.base import ErrorBody, Schema, example


class HealthAnswer(Schema):
    model_config = example({"status": "ok"})
    status: Literal["ok"]


class ReadyAnswer(Schema):
    model_config = example(
        {"status": "ready", "parts": {"clip_text": "ok", "index": "ok"}, "models": {"clip_caption": "ok"}}
    )
    status: Literal["ready"]
    parts: dict[str, str] = Field(description="The default model's endpoints, and the index service.")
    models: dict[str, str] = Field(
        description="The other models, and captioners by endpoint: `ok`, or what is wrong. No reason for a 503."
    )


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
            "models": {"siglip-b-16": "ok"},
        }
    )
    error: ErrorBody
    status: Literal["not ready"] | None = None
    parts: dict[str, str] | None = None
    models: dict[str, str] | None = None


class Limits(Schema):
    """Of one call, so that clients cut what they send; see docs/settings.md."""

    max_body_bytes: int
    max_image_bytes: int
    max_inputs: int = Field(description="Of a batch search or ranking call.")
    max_embedding_inputs: int = Field(description="Of an embeddings call.")
    max_items: int = Field(description="Of a call that adds items.")


_LIMITS = {
    "max_body_bytes": 33554432,
    "max_image_bytes": 16777216,
    "max_inputs": 256,
    "max_embedding_inputs": 2048,
    "max_items": 1000,
}
_MODEL: dict[str, Any] = {
    "id": "demo",
    "object": "model",
    "created": 0,
    "owned_by": "clipserve",
    "status": "ready",
    "message": None,
    "default": True,
    "fingerprint": "8f3b2c",
    "dimensions": 96,
    "matryoshka_dimensions": [],
    "logit_scale": 26.3,
    "logit_bias": None,
    "context_length": 77,
    "precision": "fp32",
    "licence": "mit",
    "source": "hf-hub:org/name",
    "revision": "0f1e2d",
    "weights_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "captioner": True,
    "endpoints": ["clip_text", "clip_image", "clip_multimodal", "clip_caption"],
    "limits": _LIMITS,
}


class ModelFacts(Schema):
    """What a model does not tell is null: it has not answered yet, or its archive does not know."""

    model_config = example(_MODEL, extra="allow")
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    status: Literal["ready", "unavailable"]
    message: str | None = Field(None, description="Why it is unavailable.")
    default: bool = Field(description="Whether requests without `model` go to it.")
    fingerprint: str | None
    dimensions: int | None
    matryoshka_dimensions: list[int] = Field(description="What vectors may be cut to with `dimensions`.")
    logit_scale: float | None = Field(None, description="What cosines are multiplied by for probabilities.")
    logit_bias: float | None = Field(None, description="Of a sigmoid for each pair; null: a softmax over all.")
    context_length: int | None = Field(description="Tokens of a text that the model reads.")
    precision: str | None
    licence: str | None
    source: str | None = Field(description="Where the weights came from.")
    revision: str | None
    weights_sha256: str | None = Field(description="Of the file that the weights came in.")
    captioner: bool = Field(description="Whether it writes captions, see /v1/captions.")
    endpoints: list[str]
    limits: Limits


class ModelsAnswer(Schema):
    model_config = example({"object": "list", "data": [_MODEL], "limits": _LIMITS})
    object: Literal["list"]
    data: list[ModelFacts]
    limits: Limits
