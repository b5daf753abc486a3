"""The API's bodies as pydantic models: for /openapi.json everywhere, and to check bodies off the hot paths."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

VECTOR = "base64 of little-endian float32, or a list of numbers"
IMAGE = "A data: URI or bare base64; as multipart/form-data, a file"
PIXEL = (  # one red pixel, for the examples
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)


class Schema(BaseModel):
    """A body whose unknown fields are refused, so that a misspelt name does not pass unseen."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _with_one_unknown(cls, given: Any) -> Any:
        """One unknown field is enough to refuse a body: pydantic takes 10 µs for each that it finds."""
        known = cls.model_fields
        if not isinstance(given, dict) or len(given) <= len(known):
            return given
        unknown = [name for name in given if name not in known][:1]
        return {name: given[name] for name in (*known, *unknown) if name in given}


def example(value: dict[str, Any], *, extra: Literal["forbid", "allow"] = "forbid") -> ConfigDict:
    return ConfigDict(extra=extra, protected_namespaces=(), json_schema_extra={"examples": [value]})


class ErrorBody(Schema):
    message: str
    type: str
    param: str | None = None
    code: str


class ErrorEnvelope(Schema):
    model_config = example(
        {
            "error": {
                "message": "`k` is a whole number from 1 to 10000",
                "type": "invalid_request_error",
                "param": "k",
                "code": "bad_input",
            }
        }
    )
    error: ErrorBody


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


class QueryPart(Schema):
    text: str | None = None
    image: str | None = Field(None, description=IMAGE)
    vector: str | list[float] | None = Field(None, description=VECTOR)
    like: str | None = Field(None, description="The id of an item of the collection.")
    weight: float = Field(1.0, description="Negative pushes away.")


class SearchRequest(Schema):
    model_config = example(
        {"collection": "demo", "text": "a red circle", "k": 5, "filter": {"color": {"$in": ["red"]}}}
    )
    collection: str
    text: str | None = None
    image: str | None = Field(None, description=IMAGE)
    vector: str | list[float] | None = Field(None, description=VECTOR)
    like: str | None = Field(None, description="More like the item of this id, which itself is left out.")
    query: list[QueryPart] | None = Field(None, description="A weighted mix.")
    k: int = Field(10, ge=1, le=10_000)
    cursor: str | None = Field(None, description="The `next_cursor` of the page before, with the same query.")
    min_score: float | None = Field(None, description="Hits below this score are left out.")
    filter: dict[str, Any] | None = Field(None, description="$eq $ne $gt $gte $lt $lte $in $nin $exists $and $or $not")
    include: list[Annotated[str, Field(pattern=r"^(metadata|vector|metadata\..+)$")]] = Field(
        ["metadata"], description='"metadata", "vector", or single fields such as "metadata.color".'
    )
    exact: bool | Literal["certified"] = Field(
        False, description='true: compare with every vector; "certified": the same result with proof, from bounds.'
    )
    model: str | None = Field(None, description="The served model's name, or nothing.")


class SearchHit(Schema):
    id: str
    score: float = Field(description="Cosine similarity, or the inner product where the collection's metric is dot.")
    metadata: dict[str, Any] | None = None
    vector: str | None = None


class Timing(Schema):
    total_ms: float
    encode_ms: float
    search_ms: float


class Certificate(Schema):
    rows_bounded: int = Field(description="Vectors ruled out by a bound on their score.")
    rows_verified: int = Field(description="Vectors scored in full precision.")


class SearchAnswer(Schema):
    model_config = example(
        {
            "collection": "demo",
            "hits": [{"id": "scene-1", "score": 0.91, "metadata": {"color": "red"}}],
            "model": "demo",
            "fingerprint": "8f3b2c",
            "timing": {"total_ms": 6.1, "encode_ms": 3.9, "search_ms": 0.4},
        }
    )
    collection: str
    hits: list[SearchHit]
    model: str | None = Field(description="Null when the vector was the caller's own and its model unknown.")
    fingerprint: str | None
    next_cursor: str | None = Field(None, description="Of the next page; null when this one was not full.")
    truncated: bool | None = Field(None, description="True when the end of a text too long was cut off.")
    certificate: Certificate | None = Field(None, description='With "exact": "certified".')
    timing: Timing


class BatchSearchRequest(Schema):
    model_config = example(
        {"searches": [{"collection": "demo", "text": "a star"}, {"collection": "demo", "text": "rain", "k": 3}]}
    )
    searches: list[SearchRequest]


class BatchSearchResult(Schema):
    status: int
    collection: str | None = None
    hits: list[SearchHit] | None = None
    model: str | None = None
    fingerprint: str | None = None
    next_cursor: str | None = None
    truncated: bool | None = None
    certificate: Certificate | None = None
    error: ErrorBody | None = None


class BatchSearchAnswer(Schema):
    model_config = example(
        {
            "results": [
                {"status": 200, "collection": "demo", "hits": [], "model": "demo", "fingerprint": "8f3b2c"},
                {
                    "status": 404,
                    "error": {
                        "message": "there is no collection 'rain'",
                        "type": "invalid_request_error",
                        "param": "collection",
                        "code": "collection_not_found",
                    },
                },
            ],
            "timing": {"total_ms": 6.1, "encode_ms": 3.9, "search_ms": 0.4},
        }
    )
    results: list[BatchSearchResult]
    timing: Timing
