"""The bodies of /v1/embeddings."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from gateway.schemas.base import Schema, example


class EmbeddingRequest(Schema):
    model_config = example({"input": ["a red circle", "two blue squares"], "encoding_format": "float"}, extra="allow")
    input: Any = Field(None, description='A string, {"text": …} or {"image": …}, or a list of these.')
    messages: list[dict[str, Any]] | None = Field(None, description="vLLM's form instead of `input`: one vector.")
    model: str | None = Field(None, description="The served model's name, or nothing.")
    encoding_format: Literal["float", "base64"] = "float"
    modality: Literal["text", "image"] = Field("text", description="What plain strings in `input` are.")
    embedding_type: Literal["float", "base64", "binary", "ubinary"] | None = Field(
        None, description="Jina's name for the format; the binary ones are packed signs."
    )
    dimensions: int | None = Field(
        None, description="The model's own number, or one that its vectors may be cut to (see /v1/models)."
    )
    truncate: Literal["end", "error"] | None = Field(None, description="What to do with a text too long.")


class Embedding(Schema):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | list[int] | str
    truncated: bool | None = Field(None, description="True when the end of a text too long was cut off.")


class Usage(Schema):
    prompt_tokens: int
    total_tokens: int


class EmbeddingAnswer(Schema):
    model_config = example(
        {
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.6, -0.8]}],
            "model": "demo",
            "usage": {"prompt_tokens": 5, "total_tokens": 5},
        }
    )
    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage
