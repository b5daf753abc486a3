"""The API's bodies as pydantic models: for /openapi.json everywhere, and to check bodies off the hot paths."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

VECTOR = "base64 of little-endian float32, or a list of numbers"
IMAGE = "A data: URI or bare base64; as multipart/form-data, a file"


class Schema(BaseModel):
    """A body whose unknown fields are refused, so that a misspelt name does not pass unseen."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


def _example(value: dict[str, Any], *, extra: Literal["forbid", "allow"] = "forbid") -> ConfigDict:
    return ConfigDict(extra=extra, protected_namespaces=(), json_schema_extra={"examples": [value]})


class ErrorBody(Schema):
    message: str
    type: str
    param: str | None
    code: str


class ErrorEnvelope(Schema):
    model_config = _example(
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
    model_config = _example({"input": ["a red circle", "two blue squares"], "encoding_format": "float"}, extra="allow")
    input: Any = Field(description='A string, {"text": …} or {"image": …}, or a list of these.')
    model: str | None = Field(None, description="The served model's name, or nothing.")
    encoding_format: Literal["float", "base64"] = "float"
    modality: Literal["text", "image"] = Field("text", description="What plain strings in `input` are.")
    dimensions: int | None = Field(None, description="Only the model's own number is possible.")
    truncate: Literal["end", "error"] | None = Field(None, description="What to do with a text too long.")


class Embedding(Schema):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str
    truncated: bool | None = Field(None, description="True when the end of a text too long was cut off.")


class Usage(Schema):
    prompt_tokens: int
    total_tokens: int


class EmbeddingAnswer(Schema):
    model_config = _example(
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
    weight: float = Field(1.0, description="Negative pushes away.")


class SearchRequest(Schema):
    model_config = _example(
        {"collection": "demo", "text": "a red circle", "k": 5, "filter": {"color": {"$in": ["red"]}}}
    )
    collection: str
    text: str | None = None
    image: str | None = Field(None, description=IMAGE)
    vector: str | list[float] | None = Field(None, description=VECTOR)
    query: list[QueryPart] | None = Field(None, description="A weighted mix.")
    k: int = Field(10, ge=1, le=10_000)
    filter: dict[str, Any] | None = Field(None, description="$eq $ne $gt $gte $lt $lte $in $nin $exists $and $or $not")
    include: list[Literal["metadata", "vector"]] = Field(["metadata"])
    exact: bool | Literal["certified"] = Field(
        False, description='true: compare with every vector; "certified": the same result with proof, from bounds.'
    )
    model: str | None = Field(None, description="The served model's name, or nothing.")


class SearchHit(Schema):
    id: str
    score: float = Field(description="Cosine similarity.")
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
    model_config = _example(
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
    truncated: bool | None = Field(None, description="True when the end of a text too long was cut off.")
    certificate: Certificate | None = Field(None, description='With "exact": "certified" and a vector of your own.')
    timing: Timing


class BatchSearchRequest(Schema):
    model_config = _example(
        {"searches": [{"collection": "demo", "text": "a star"}, {"collection": "demo", "text": "rain", "k": 3}]}
    )
    searches: list[SearchRequest]


class BatchSearchResult(Schema):
    status: int
    collection: str | None = None
    hits: list[SearchHit] | None = None
    model: str | None = None
    fingerprint: str | None = None
    certificate: Certificate | None = None
    error: ErrorBody | None = None


class BatchSearchAnswer(Schema):
    results: list[BatchSearchResult]
    timing: Timing


class CollectionSpec(Schema):
    model_config = _example({"engine": "auto", "recall_target": 0.99})
    model: str | None = Field(None, description="The served model's name, or nothing.")
    engine: str | None = Field(None, description="auto, exact, certified, faiss, hnsw, scann or milvus.")
    factory: str | None = Field(None, description='A FAISS factory string, with `"engine": "faiss"`.')
    recall_target: float | None = Field(None, gt=0, le=1)
    metadata: dict[str, Any] | None = None


class CollectionAnswer(BaseModel):
    model_config = _example(
        {"name": "demo", "model": "demo", "fingerprint": "8f3b2c", "dim": 256, "engine": "auto", "count": 480},
        extra="allow",
    )
    name: str
    model: str
    fingerprint: str
    dim: int
    engine: str
    count: int


class CollectionsAnswer(Schema):
    collections: list[CollectionAnswer]


class ItemSpec(Schema):
    id: str = Field(min_length=1, max_length=512)
    text: str | None = None
    image: str | None = Field(None, description=IMAGE)
    vector: str | list[float] | None = Field(None, description=VECTOR)
    metadata: dict[str, Any] | None = None


class ItemsRequest(Schema):
    model_config = _example(
        {"items": [{"id": "scene-1", "image": "data:image/png;base64,iVBORw0…", "metadata": {"color": "red"}}]}
    )
    items: list[ItemSpec]


class ItemResult(Schema):
    id: str | None
    status: int
    error: ErrorBody | None = None


class ItemsAnswer(Schema):
    results: list[ItemResult]


class DeleteItemsRequest(Schema):
    model_config = _example({"filter": {"color": "red"}})
    ids: list[str] | None = None
    filter: dict[str, Any] | None = None


class ClassifyRequest(Schema):
    model_config = _example(
        {
            "image": "data:image/png;base64,iVBORw0…",
            "labels": ["circle", "square"],
            "templates": ["a photo of a {}"],
        }
    )
    image: str = Field(description=IMAGE)
    labels: list[str] = Field(min_length=1)
    templates: list[str] = Field(["{}"], min_length=1, description="`{}` stands for the label.")
    logit_scale: float = Field(100.0, gt=0, le=1000)
    model: str | None = None


class LabelScore(Schema):
    label: str
    probability: float
    score: float = Field(description="Cosine similarity of the image and the label's averaged texts.")


class ClassifyAnswer(Schema):
    labels: list[LabelScore] = Field(description="Most probable first.")
    model: str
    fingerprint: str
    timing: Timing
