"""The bodies of collections, their facets, and aliases."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from gateway.schemas.base import Schema, example

_COLLECTION = {
    "name": "demo",
    "model": "demo",
    "fingerprint": "8f3b2c",
    "dim": 256,
    "metric": "cosine",
    "engine": "auto",
    "count": 480,
    "model_status": "served",
}


class CollectionSpec(Schema):
    model_config = example({"engine": "auto", "recall_target": 0.99})
    model: str | None = Field(None, description="The served model's name, or nothing.")
    metric: Literal["cosine", "dot"] | None = Field(
        None, description="What a score is: the cosine, which is the default, or the inner product of vectors as given."
    )
    engine: str | None = Field(None, description="auto, exact, certified, faiss, hnsw, scann or milvus.")
    factory: str | None = Field(None, description='A FAISS factory string, with `"engine": "faiss"`.')
    store: Literal["embedded", "milvus"] | None = Field(
        None, description="Where the items are: in the index service, or in a Milvus server."
    )
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
    model_status: Literal["served", "not_served"] | None = Field(
        None, description="`not_served`: its model is missing, so it is searched by vectors only. Null: not known yet."
    )


class CollectionsAnswer(Schema):
    model_config = example({"collections": [_COLLECTION]})
    collections: list[CollectionAnswer]
    incomplete: str | None = Field(None, description="Why some may be missing, such as a Milvus that is away.")


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


class BestScores(Schema):
    median: float
    p75: float
    p90: float
    p95: float
    highest: float


class ScoreGuidanceAnswer(Schema):
    model_config = example(
        {
            "collection": "demo",
            "model": "demo",
            "fingerprint": "8f3b2c",
            "metric": "cosine",
            "items": 2849,
            "texts": 100,
            "suggested_min_score": 0.22,
            "best_scores": {"median": 0.22, "p75": 0.25, "p90": 0.29, "p95": 0.31, "highest": 0.35},
        }
    )
    collection: str
    model: str
    fingerprint: str
    metric: Literal["cosine", "dot"]
    items: int
    texts: int = Field(description="How many texts without meaning were searched for.")
    suggested_min_score: float | None = Field(
        description="The median: half of them find nothing better. Null without items."
    )
    best_scores: BestScores | None = Field(description="Of their best hits.")


class Duplicate(Schema):
    digest: str = Field(description="SHA-256 of the picture's bytes, in hex.")
    count: int
    ids: list[str] = Field(description="The first hundred, by id.")


class DuplicatesAnswer(Schema):
    model_config = example(
        {"groups": [{"digest": "9f86d0…", "count": 2, "ids": ["a.jpg", "copy-of-a.jpg"]}], "next": None}
    )
    groups: list[Duplicate]
    next: str | None = Field(None, description="What to pass as `after`; null at the end.")


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


class DroppedAnswer(Schema):
    model_config = example({"deleted": True}, extra="allow")
    deleted: bool
