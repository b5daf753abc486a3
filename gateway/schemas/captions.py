"""The bodies of captions and of their scores."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from gateway.schemas.base import IMAGE, PIXEL, ErrorBody, Schema, example

MOST_TOKENS = 4096  # no decoder reads as many; what the model's own allows, its worker says
_MOST_CHARACTERS = 8192
_PICTURE = f'{IMAGE}; or an item\'s picture: {{"collection": "demo", "id": "scene-1"}}'
_MODEL = "The served model's name, or nothing."


class ItemPicture(Schema):
    model_config = example({"collection": "demo", "id": "scene-1"})
    collection: str = Field(min_length=1)
    id: str = Field(min_length=1, max_length=512)


class CaptionSettings(Schema):
    """What is left out has the model's default."""

    method: Literal["greedy", "beam", "sample"] | None = Field(
        None,
        description="Beam search by default; `sample` where one of temperature, top_k, top_p and seed is given; "
        "`greedy` for a stream, since beam search has nothing to tell before its end.",
    )
    prompt: str | None = Field(None, max_length=_MOST_CHARACTERS, description="The caption begins with it.")
    n: int | None = Field(None, ge=1, le=64, description="How many: the best of a beam search, or samples.")
    max_tokens: int | None = Field(None, ge=2, le=MOST_TOKENS, description="Start and end of the text count, too.")
    min_tokens: int | None = Field(None, ge=0, le=MOST_TOKENS)
    beams: int | None = Field(None, ge=1, le=64)
    groups: int | None = Field(None, ge=1, le=64, description="Of beams that differ from each other.")
    temperature: float | None = Field(None, gt=0, le=100)
    top_k: int | None = Field(None, ge=0, le=1_000_000, description="0: all tokens.")
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=0, lt=2**63)


class DraftsFrom(Schema):
    model_config = example({"collection": "demo"})
    collection: str = Field(min_length=1, max_length=512, description="Whose items' `caption` in the metadata is used.")
    k: int = Field(16, ge=1, le=64, description="How many neighbours of the picture.")


class CaptionsRequest(CaptionSettings):
    model_config = example({"image": PIXEL, "method": "greedy", "max_tokens": 20})
    image: Any = Field(None, description=_PICTURE)
    images: list[Any] | None = Field(None, fail_fast=True, description="Several: each has its own caption or error.")
    model: str | None = Field(None, description=_MODEL)
    stream: bool = Field(False, description="Answer with server-sent events, as the captions are made.")
    drafts: DraftsFrom | bool | None = Field(
        None,
        description="Where captions of similar pictures are found, which make a `greedy` or `sample` caption faster, "
        "and change none of its tokens. An item's picture uses its own collection unless this is false. Any other "
        "picture needs a collection: with `true` it has no drafts, and `timing.drafts` says `no_collection`.",
    )

    @field_validator("drafts", mode="before")
    @classmethod
    def _in_words(cls, given: object) -> object:
        """pydantic would name the first of several types alone."""
        if given is None or isinstance(given, dict | bool | DraftsFrom):
            return given
        raise PydanticCustomError("drafts_type", 'Input should be true, false or an object: {"collection": "demo"}')


class ScoreRequest(Schema):
    model_config = example({"image": PIXEL, "texts": ["a red circle", "a blue star"]})
    image: Any = Field(None, description=_PICTURE)
    images: list[Any] | None = Field(None, fail_fast=True, description="Several: each has its own scores or error.")
    texts: list[str] = Field(min_length=1, fail_fast=True)
    model: str | None = Field(None, description=_MODEL)


class AssistantCaptionsRequest(Schema):
    model_config = example({"images": [PIXEL]})
    image: Any = Field(None, description=_PICTURE)
    images: list[Any] | None = Field(None, fail_fast=True, description="Several: each has its own caption or error.")


class Alternative(Schema):
    text: str
    logprob: float = Field(description="log P(text | picture), the sum over its tokens.")
    finish_reason: str = Field(description="stop: the caption is whole; length: `max_tokens` ended it.")


class PictureCaption(Alternative):
    object: Literal["caption"]
    index: int = Field(description="The picture's place in the request.")
    alternatives: list[Alternative] = Field(description="The others, where `n` is more than 1.")


class PictureError(Schema):
    object: Literal["error"]
    index: int = Field(description="The picture's place in the request.")
    error: ErrorBody


class CaptionUsage(Schema):
    prompt_tokens: int
    caption_tokens: int
    image_tokens: int
    drafted_tokens: int | None = Field(None, description="Tokens of drafts that the captioner read, where it had some.")
    accepted_tokens: int | None = Field(None, description="Those of them that became text.")


class CaptionTiming(Schema):
    total_ms: float
    retrieval_ms: float | None = Field(None, description="What the slowest picture waited for drafts.")
    drafts: list[str] | None = Field(
        None,
        description="used, or why there were none (no_collection, no_captions, load, …): each once, of all pictures "
        "for which drafts were wanted.",
    )
    queue_ms: float = Field(description="What the slowest picture waited at TorchServe, if the worker tells.")
    caption_ms: float = Field(description="What the slowest picture took there.")


class CaptionAnswer(Schema):
    model_config = example(
        {
            "object": "list",
            "data": [
                {
                    "object": "caption",
                    "index": 0,
                    "text": "a red circle",
                    "logprob": -0.31,
                    "finish_reason": "stop",
                    "alternatives": [],
                }
            ],
            "model": "demo",
            "fingerprint": "8f3b2c",
            "usage": {"prompt_tokens": 0, "caption_tokens": 3, "image_tokens": 50},
            "timing": {"total_ms": 21.4, "queue_ms": 0.3, "caption_ms": 19.8},
        }
    )
    object: Literal["list"]
    data: list[PictureCaption | PictureError]
    model: str
    fingerprint: str | None = Field(description="Of the captioner's weights, tokenizer and configuration.")
    usage: CaptionUsage
    timing: CaptionTiming


class TextScore(Schema):
    text: str
    logprob: float = Field(description="log P(text | picture), the sum over its tokens.")
    tokens: int


class PictureScores(Schema):
    object: Literal["scores"]
    index: int = Field(description="The picture's place in the request.")
    scores: list[TextScore] = Field(description="In the order of `texts`.")


class ScoreAnswer(Schema):
    model_config = example(
        {
            "object": "list",
            "data": [
                {
                    "object": "scores",
                    "index": 0,
                    "scores": [
                        {"text": "a red circle", "logprob": -0.31, "tokens": 5},
                        {"text": "a blue star", "logprob": -9.7, "tokens": 5},
                    ],
                }
            ],
            "model": "demo",
            "fingerprint": "8f3b2c",
            "timing": {"total_ms": 21.4, "queue_ms": 0.3, "caption_ms": 19.8},
        }
    )
    object: Literal["list"]
    data: list[PictureScores | PictureError]
    model: str
    fingerprint: str | None
    timing: CaptionTiming


STREAM = (
    'data: {"object":"caption.chunk","index":0,"delta":"a red "}\n\n'
    'data: {"object":"caption","index":0,"text":"a red circle","logprob":-0.31,"finish_reason":"stop",'
    '"alternatives":[],"model":"demo","fingerprint":"8f3b2c",'
    '"usage":{"prompt_tokens":0,"caption_tokens":3,"image_tokens":50}}\n\n'
    "data: [DONE]\n\n"
)
