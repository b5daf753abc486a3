"""The body and the answer of /v1/ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from gateway.schemas.base import IMAGE, ErrorBody, Schema, example
from gateway.schemas.search import QueryPart, SearchHit

ASK_STREAM = (
    'data: {"object":"answer.hits","hits":[{"id":"scene-1","collection":"demo","score":0.91}]}\n\n'
    'data: {"object":"answer.delta","delta":"One red circle"}\n\n'
    'data: {"object":"answer","answer":"One red circle.","found":true,"citations":[{"id":"scene-1"}]}\n\n'
    "data: [DONE]\n\n"
)


class AskSearch(Schema):
    """One of several searches for what a question is about."""

    text: str | None = None
    image: str | None = Field(None, description=IMAGE)
    like: str | None = Field(None, description="The id of an item of the collection.")
    query: list[QueryPart] | None = Field(None, description="A weighted mix.")
    filter: dict[str, Any] | None = None


class AskRequest(Schema):
    model_config = example({"collection": "demo", "question": "How many red circles are there, and where?", "k": 12})
    question: str = Field(description="In plain words, 2000 characters at most.")
    collection: str
    text: str | None = Field(None, description="What to look for, where it is not the question's own words.")
    image: str | None = Field(None, description=f"A picture to look for. {IMAGE}.")
    searches: list[AskSearch] | None = Field(
        None, min_length=1, max_length=8, description="Several searches instead; their hits are merged by rank."
    )
    filter: dict[str, Any] | None = Field(None, description="As a search's; it holds for all of them.")
    k: int = Field(12, ge=1, le=48, description="How many pictures are looked at.")
    detail: Literal["low", "high"] | None = Field(
        None, description="At which detail a language model sees pictures; left out: the least that answers."
    )
    by: Literal["auto", "offline"] = Field(
        "auto", description="offline: without the language model, where the gateway has one."
    )
    model: str | None = Field(None, description="The served model that searches, or nothing.")
    stream: bool = Field(False, description="Server-sent events while the answer is made.")


class Citation(Schema):
    id: str
    collection: str
    score: float | None = None
    caption: str | None = None
    verified: bool = Field(description="Whether captions, metadata or the captioner show by themselves what is said.")


class SuspectedInjection(Schema):
    id: str
    field: str


class AskUsage(Schema):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    estimated_tokens: int = Field(0, description="Of the prompt, before it was sent.")
    pictures: int = Field(0, description="How many the language model saw.")
    cost_usd: float | None = Field(None, description="Null where no price is known.")


class AskTiming(Schema):
    total_ms: float
    search_ms: float


class AskAnswer(Schema):
    model_config = example(
        {
            "object": "answer",
            "question": "How many red circles are there, and where?",
            "answer": "Three red circles, in 2 of 12 pictures.",
            "found": True,
            "kind": "count",
            "by": "gpt-4.1-mini",
            "llm_overruled": False,
            "citations": [{"id": "scene-1", "collection": "demo", "score": 0.91, "verified": True}],
            "hits": [{"id": "scene-1", "collection": "demo", "score": 0.91, "metadata": {"color": "red"}}],
            "suspected_injections": [],
            "usage": {"cost_usd": 0.0},
            "prompt_version": "answer.1",
            "timing": {"total_ms": 12.5, "search_ms": 6.1},
        }
    )
    object: Literal["answer"] = "answer"
    question: str
    answer: str
    found: bool = Field(description='False: "Not in these pictures."')
    kind: str = Field(description="count, color, exists, relation, relative, which or other.")
    by: str = Field(description='"offline", or the language model\'s name.')
    llm_overruled: bool = Field(
        description="The language model said otherwise than the pictures show, so the answer is offline's."
    )
    citations: list[Citation]
    hits: list[SearchHit] = Field(description="All pictures that were looked at.")
    suspected_injections: list[SuspectedInjection] = Field(
        description="Fields that read like prompt injection; no language model saw them."
    )
    usage: AskUsage
    prompt_version: str | None = Field(description="Of the words around the question; null offline.")
    timing: AskTiming


class CollectionCaptionsRequest(Schema):
    model_config = example({"limit": 64, "dry_run": True})
    old_names: ClassVar[Mapping[str, str]] = {"most_usd": "max_cost_usd"}
    limit: int = Field(64, ge=1, le=1000, description="Items of this page; those with a caption are skipped.")
    after: str | None = Field(None, description="The `next` of the page before.")
    filter: dict[str, Any] | None = Field(None, description="As a search's.")
    dry_run: bool = Field(False, description="Say what it would cost, and write nothing.")
    max_cost_usd: float | None = Field(None, ge=0, description="End the page before it could cost more.")
    by: Literal["auto", "offline"] = Field("auto", description="offline: by a captioner in any case.")


class CostEstimate(Schema):
    items: int
    prompt_tokens: int
    cost_usd: float | None = Field(description="At most; null where no price is known.")
    prices_as_of: str | None = Field(None, description="When the price was noted.")


class CaptionsCost(CostEstimate):
    model_config = example({"by": "gpt-4.1-mini", "items": 1000, "prompt_tokens": 210000, "cost_usd": 0.28})
    by: str


class AssistantCaption(Schema):
    object: Literal["caption", "error"]
    index: int = Field(description="The picture's place in the request.")
    text: str | None = None
    by: str | None = Field(None, description="The language model that wrote it.")
    cost_usd: float | None = Field(None, description="0 for one that was paid for before; null without a price.")
    error: ErrorBody | None = None


class AssistantCaptionsAnswer(Schema):
    model_config = example(
        {
            "object": "list",
            "by": "gpt-4.1-mini",
            "data": [{"object": "caption", "index": 0, "text": "two red circles", "by": "gpt-4.1-mini"}],
            "cost_usd": 0.00012,
        }
    )
    object: Literal["list"] = "list"
    by: str
    data: list[AssistantCaption]
    cost_usd: float


class ItemCaption(Schema):
    id: str
    caption: str


class FailedCaption(Schema):
    id: str
    error: ErrorBody


class CollectionCaptionsAnswer(Schema):
    model_config = example(
        {
            "by": "gpt-4.1-mini",
            "captions": [{"id": "scene-1", "caption": "two red circles"}],
            "skipped": 3,
            "failed": [],
            "cost_usd": 0.00012,
            "stopped": {"message": "this gateway may spend 1 USD a day", "type": "x", "code": "budget_spent"},
            "next": "scene-1",
            "estimate": {"items": 1, "prompt_tokens": 200, "cost_usd": 0.0002},
        }
    )
    by: str
    captions: list[ItemCaption]
    skipped: int = Field(description="Items that had a caption.")
    failed: list[FailedCaption]
    cost_usd: float
    stopped: ErrorBody | None = Field(description="Why the page ended early: a budget, a provider that is away.")
    next: str | None = Field(description="Go on `after` it; null at the end, or, with `stopped`, to begin again.")
    estimate: CostEstimate | None = Field(description="Of a dry run.")
