"""The bodies of collections, their items, and of what operators ask."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from gateway.schemas.schemas import IMAGE, PIXEL, VECTOR, ErrorBody, Schema, example

_COLLECTION = {
    "name": "demo",
    "model": "demo",
    "fingerprint": "8f3b2c",
    "dim": 256,
    "metric": "cosine",
    "engine": "auto",
    "count": 480,
}


class CollectionSpec(Schema):
    model_config = example({"engine": "auto", "recall_target": 0.99})
    model: str | None = Field(None, description="The served model's name, or nothing.")
    metric: Literal["cosine", "dot"] | None = Field(
        None, description="What a score is: the cosine, which is the default, or the inner product of vectors as given."
    )
    engine: str | None = Field(None, description="auto, exact, certified, faiss, hnsw, scann or milvus.")
    factory: str | None = Field(None, description='A FAISS factory string, with `"engine": "faiss"`.')
    recall_target: float | None = Field(None, gt=0, le=1)
    metadata: dict[str, Any] | None = None


class CollectionAnswer(BaseModel):
    model_config = example(_COLLECTION, extra="allow")
    name: str
    model: str
    fingerprint: str
    dim: int
    metric: Literal["cosine", "dot"]
    engine: str
    count: int


class CollectionsAnswer(Schema):
    model_config = example({"collections": [_COLLECTION]})
    collections: list[CollectionAnswer]


class FacetValue(Schema):
    value: str | int | float | bool
    count: int


class Facet(Schema):
    field: str
    distinct: int = Field(description="How many different values there are, of which `values` has the most frequent.")
    missing: int = Field(description="Items without a string, number or boolean there.")
    values: list[FacetValue]


class FacetsAnswer(Schema):
    model_config = example(
        {"facets": [{"field": "color", "distinct": 2, "missing": 0, "values": [{"value": "red", "count": 300}]}]}
    )
    facets: list[Facet]


class AliasSpec(Schema):
    model_config = example({"collection": "demo"})
    collection: str = Field(min_length=1, description="Where searches and writes by this alias go.")


class AliasAnswer(Schema):
    model_config = example({"name": "shapes", "collection": "demo"})
    name: str
    collection: str


class AliasesAnswer(Schema):
    model_config = example({"aliases": [{"name": "shapes", "collection": "demo"}]})
    aliases: list[AliasAnswer]


class ItemSpec(Schema):
    id: str = Field(min_length=1, max_length=512)
    text: str | None = None
    image: str | None = Field(None, description=IMAGE)
    vector: str | list[float] | None = Field(None, description=VECTOR)
    metadata: dict[str, Any] | None = None


class ItemsRequest(Schema):
    model_config = example({"items": [{"id": "scene-1", "image": PIXEL, "metadata": {"color": "red"}}]})
    items: list[ItemSpec]


class ItemResult(Schema):
    id: str | None
    status: int
    error: ErrorBody | None = None


class ItemsAnswer(Schema):
    model_config = example({"results": [{"id": "scene-1", "status": 200}]})
    results: list[ItemResult]


class LineError(ItemResult):
    line: int = Field(description="Counted from 1.")


class StreamAnswer(Schema):
    model_config = example({"received": 1000, "added": 1000, "failed": 0, "errors": []})
    received: int
    added: int
    failed: int
    errors: list[LineError] = Field(description="The first thousand.")


class DeleteItemsRequest(Schema):
    model_config = example({"filter": {"color": "red"}})
    ids: list[str] | None = Field(None, fail_fast=True)
    filter: dict[str, Any] | None = None


class ListedItem(Schema):
    id: str
    metadata: dict[str, Any] | None = None


class ItemsPage(Schema):
    model_config = example({"items": [{"id": "scene-1", "metadata": {"color": "red"}}], "next": None}, extra="allow")
    items: list[ListedItem]
    next: str | None = Field(None, description="What to pass as `after`; null at the end.")


class ItemAnswer(Schema):
    model_config = example({"id": "scene-1", "metadata": {"color": "red"}})
    id: str
    metadata: dict[str, Any] | None = None
    vector: str | None = None


class DroppedAnswer(Schema):
    model_config = example({"deleted": True}, extra="allow")
    deleted: bool


class DeletedAnswer(Schema):
    model_config = example({"deleted": 3})
    deleted: int


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
                }
            ],
        }
    )
    object: Literal["list"]
    data: list[ModelFacts]
