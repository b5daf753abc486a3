"""The bodies of other vendors' embedding calls; their unknown fields are tolerated."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from gateway.schemas.base import IMAGE, Schema, example
from gateway.schemas.embeddings import Embedding

Format = Literal["float", "base64", "binary", "ubinary"]
DIMENSION = "The model's own number, or one that its vectors may be cut to (see /v1/models)."


class ContentPart(Schema):
    model_config = example({"type": "text", "text": "a red circle"}, extra="allow")
    type: Literal["text", "image_url", "image_base64"]
    text: str | None = None
    image_url: str | dict[str, Any] | None = Field(None, description='A reference, or {"url": …}.')
    image_base64: str | None = Field(None, description=IMAGE)


class ContentInput(Schema):
    model_config = example({"content": [{"type": "text", "text": "a red circle"}]}, extra="allow")
    content: str | list[ContentPart] = Field(description="Several parts become one vector.")


class CohereRequest(Schema):
    model_config = example(
        {
            "model": "demo",
            "input_type": "search_query",
            "texts": ["a red circle", "a blue star"],
            "embedding_types": ["float"],
        },
        extra="allow",
    )
    model: str | None = Field(None, description="The served model's name, or nothing.")
    input_type: str | None = Field(None, description="Has no effect: texts and images share one space.")
    texts: list[str] | None = None
    images: list[str] | None = Field(None, description=IMAGE)
    inputs: list[ContentInput] | None = None
    embedding_types: list[Format] | None = None
    output_dimension: int | None = Field(None, description=DIMENSION)
    truncate: Literal["NONE", "END"] | None = Field(None, description="NONE: a text too long is an error.")


class CohereAnswer(Schema):
    model_config = example(
        {
            "id": "8f1d6c0e",
            "embeddings": {"float": [[0.6, -0.8]]},
            "texts": ["a red circle"],
            "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 5}},
            "response_type": "embeddings_by_type",
        }
    )
    id: str
    embeddings: dict[Format, list[Any]]
    texts: list[str]
    meta: dict[str, Any]
    response_type: Literal["embeddings_by_type"]


class VoyageRequest(Schema):
    model_config = example(
        {"model": "demo", "inputs": [{"content": [{"type": "text", "text": "a red circle"}]}]}, extra="allow"
    )
    model: str | None = Field(None, description="The served model's name, or nothing.")
    inputs: list[ContentInput] = Field(min_length=1)
    truncation: bool | None = Field(None, description="False: a text too long is an error.")
    output_encoding: Literal["base64"] | None = None
    encoding_format: Literal["base64"] | None = Field(None, description="Another name for output_encoding.")
    output_dtype: Literal["float"] | None = None
    output_dimension: int | None = Field(None, description=DIMENSION)


class VoyageUsage(Schema):
    text_tokens: int
    image_pixels: int = Field(description="Not counted, always 0.")
    video_pixels: int = Field(description="Videos are not taken, always 0.")
    total_tokens: int


class VoyageAnswer(Schema):
    model_config = example(
        {
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.6, -0.8]}],
            "model": "demo",
            "usage": {"text_tokens": 5, "image_pixels": 0, "video_pixels": 0, "total_tokens": 5},
        }
    )
    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: VoyageUsage
