"""The bodies of classification and ranking."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import Field

from gateway.schemas.base import IMAGE, PIXEL, Schema, Timing, example

Activation: TypeAlias = Literal["softmax", "sigmoid"]
_SCALE = Field(
    None,
    gt=0,
    le=1000,
    description="What cosines are multiplied by before a softmax; without it the model's own head makes the "
    "probabilities, see `logit_scale` and `logit_bias` of /v1/models.",
)
_ACTIVATION = Field(
    description="softmax: the probabilities of one picture or query add up to 1. sigmoid: each is its own."
)


class ClassifyRequest(Schema):
    model_config = example(
        {
            "image": PIXEL,
            "labels": ["circle", "square"],
            "templates": ["a photo of a {}"],
        }
    )
    image: str = Field(description=IMAGE)
    labels: list[str] = Field(min_length=1, fail_fast=True)
    templates: list[str] = Field(["{}"], min_length=1, fail_fast=True, description="`{}` stands for the label.")
    logit_scale: float | None = _SCALE
    model: str | None = None


class LabelScore(Schema):
    label: str
    probability: float
    score: float = Field(description="Cosine similarity of the image and the label's averaged texts.")


class ClassifyAnswer(Schema):
    model_config = example(
        {
            "labels": [
                {"label": "circle", "probability": 0.9, "score": 0.31},
                {"label": "square", "probability": 0.1, "score": 0.288},
            ],
            "activation": "softmax",
            "model": "demo",
            "fingerprint": "8f3b2c",
            "timing": {"total_ms": 6.1, "encode_ms": 3.9, "search_ms": 0.0},
        }
    )
    labels: list[LabelScore] = Field(description="Most probable first.")
    activation: Activation = _ACTIVATION
    model: str
    fingerprint: str
    timing: Timing


class RankRequest(Schema):
    model_config = example({"queries": [{"text": "a red circle"}], "candidates": [{"image": PIXEL}, "a blue star"]})
    queries: list[Any] = Field(min_length=1, description='Texts, {"text": …} or {"image": …}.')
    candidates: list[Any] = Field(min_length=1, description="The same; ordered for each query.")
    top_n: int | None = Field(None, ge=1, description="How many candidates to show; all of them count as probable.")
    logit_scale: float | None = _SCALE
    model: str | None = Field(None, description="The served model's name, or nothing.")


class Ranked(Schema):
    index: int = Field(description="The candidate's place in the request.")
    probability: float
    score: float = Field(description="Cosine similarity.")


class Ranking(Schema):
    query: int = Field(description="The query's place in the request.")
    ranking: list[Ranked]


class RankAnswer(Schema):
    model_config = example(
        {
            "results": [{"query": 0, "ranking": [{"index": 1, "probability": 1.0, "score": 0.3}]}],
            "activation": "softmax",
            "model": "demo",
            "fingerprint": "8f3b2c",
            "timing": {"total_ms": 6.1, "encode_ms": 3.9, "search_ms": 0.0},
        }
    )
    results: list[Ranking]
    activation: Activation = _ACTIVATION
    model: str
    fingerprint: str
    timing: Timing
