"""The bodies of /v1/search and /v1/search/batch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from gateway.schemas.base import IMAGE, VECTOR, ErrorBody, Schema, Timing, example


class QueryPart(Schema):
    text: str | None = None
    image: str | None = Field(None, description=IMAGE)
    vector: str | list[float] | None = Field(None, description=VECTOR)
    like: str | None = Field(None, description="The id of an item of the collection.")
    weight: float = Field(1.0, description="Negative pushes away; not 0.")


class RerankOptions(Schema):
    by: Literal["captioner", "tree", "llm"] = Field(
        description="log P(text | picture); a tree of claims against counterfactuals; a language model, listwise."
    )
    candidates: int = Field(20, ge=1, le=1000, description="How many of the search's best hits are reranked.")
    budget_ms: float | None = Field(
        None, ge=0, le=60_000, description="When it is spent, the best order so far is the answer."
    )
    budget_tokens: int | None = Field(
        None, ge=0, le=10_000_000, description="Tokens that the captioner's decoder, or the language model, reads."
    )
    explain: bool = Field(False, description="Answer the tree, too.")


class SearchRequest(Schema):
    model_config = example(
        {"collection": "demo", "text": "a red circle", "k": 5, "filter": {"color": {"$in": ["red"]}}}
    )
    collection: str | None = Field(None, description="Where to look, unless `collections` is given.")
    text: str | None = None
    image: str | None = Field(None, description=IMAGE)
    vector: str | list[float] | None = Field(None, description=VECTOR)
    like: str | None = Field(None, description="More like the item of this id, which itself is left out.")
    query: list[QueryPart] | None = Field(None, description="A weighted mix.")
    collections: list[str] | None = Field(
        None,
        min_length=1,
        max_length=16,
        description="Several of the same model, in /v1/search: one ranking, without `like`.",
    )
    k: int = Field(10, ge=1, le=10_000)
    cursor: str | None = Field(None, description="The `next_cursor` of the page before, with the same query.")
    min_score: float | None = Field(None, description="Hits below this score are left out.")
    filter: dict[str, Any] | None = Field(None, description="$eq $ne $gt $gte $lt $lte $in $nin $exists $and $or $not")
    include: list[Annotated[str, Field(pattern=r"^(metadata|vector|metadata\..+)$")]] = Field(
        ["metadata"], description='"metadata", "vector", or single fields such as "metadata.color".'
    )
    consistency: Literal["strong", "session", "eventually"] | None = Field(
        None, description="In the store `milvus`: whether writes of other index services must be seen."
    )
    exact: bool | Literal["certified"] = Field(
        False, description='true: compare with every vector; "certified": the same result with proof, from bounds.'
    )
    model: str | None = Field(None, description="The served model's name, or nothing.")
    rerank: Literal["captioner", "tree", "llm"] | RerankOptions | None = Field(
        None,
        description="In /v1/search, of one collection, with `text`. A `cursor` leads behind the candidates.",
        examples=["tree", {"by": "captioner", "candidates": 50, "budget_ms": 100}],
    )


class SearchHit(Schema):
    id: str
    collection: str | None = Field(None, description="Where it is, when `collections` was asked for.")
    score: float = Field(description="Cosine similarity, or the inner product where the collection's metric is dot.")
    metadata: dict[str, Any] | None = None
    vector: str | None = None


class Certificate(Schema):
    rows_bounded: int = Field(description="Vectors ruled out by a bound on their score.")
    rows_verified: int = Field(description="Vectors scored in full precision.")


class TreeNode(Schema):
    kind: str = Field(
        description='"clause", "joint", or what is weighed: "noun", "color", "count", "relation", "absent", …'
    )
    label: str
    parent: int | None = Field(description="Its place among the nodes; null for a clause.")
    stage: int
    readings: list[int] = Field(description="In which readings of the query it stands.")
    claims: list[str]
    counterfactuals: list[str] = Field(description="Sentences with one thing changed; none for a clause.")


class TreeCandidate(Schema):
    id: str
    retrieval_rank: int = Field(description="Its place in the search's order, from 1.")
    score: float
    values: list[float | None] = Field(description="By node: log P of a clause, else log-odds; null: not asked.")


class RerankTree(Schema):
    nodes: list[TreeNode]
    readings: int
    stages: list[int] = Field(description="How many candidates each stage answered.")
    pruned: int = Field(description="Questions that were not asked, since what they depend on is not there.")
    candidates: list[TreeCandidate]


class RerankQuality(Schema):
    captioner: float = Field(description="Share of canaries that the captioner orders rightly.")
    retrieval: float = Field(description="The same by the model of the search.")
    good: bool
    waited_ms: float = Field(description="What this search waited for these figures: nothing once they are known.")


class Reranking(Schema):
    by: Literal["captioner", "tree", "llm"]
    applied: bool = Field(description="False: the order is the search's; `note` or `budget_spent` says why.")
    candidates: int
    scored: int
    without_picture: int = Field(description="These keep their places.")
    budget_spent: Literal["ms", "tokens"] | None = None
    tokens: int
    pictures: int = Field(description="That the captioner had to look at; others it remembered.")
    ms: float
    note: str | None = None
    tree: RerankTree | None = Field(None, description='With "explain".')
    parsed_by: Literal["rules", "llm"] | None = Field(None, description="Of a tree: who took the text apart.")
    missing: list[str] | None = Field(None, description="By a tree: what of the text the first hit does not fit.")
    quality: RerankQuality | None = None
    hallucinated_ids: int | None = Field(None, description="Names in a language model's answer that it was not given.")
    omitted_ids: int | None = Field(None, description="Candidates that its answer lacks; they follow as they were.")


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
    collection: str | None = None
    collections: list[str] | None = None
    hits: list[SearchHit]
    model: str | None = Field(description="Null when the vector was the caller's own and its model unknown.")
    fingerprint: str | None
    next_cursor: str | None = Field(
        None, description="Of the next page; null when this one was not full, or `rerank` has more candidates than `k`."
    )
    truncated: bool | None = Field(None, description="True when the end of a text too long was cut off.")
    certificate: Certificate | None = Field(None, description='With "exact": "certified".')
    rerank: Reranking | None = Field(None, description="What came of `rerank`.")
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
