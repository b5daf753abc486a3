"""What calls give: plain frozen classes, read from the gateway's JSON. Fields that a class lacks are in `raw`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Embeddings:
    """`vectors` in the order of the inputs, each of unit norm; `truncated`: which texts were too long and cut."""

    vectors: list[list[float]]
    model: str
    truncated: list[bool]
    tokens: int


@dataclass(frozen=True)
class Hit:
    """`score` is the cosine, or the inner product in a collection of metric dot.

    `collection` is where it is, when several were searched.
    """

    id: str
    score: float
    metadata: Json | None = None
    vector: list[float] | None = None
    collection: str | None = None


@dataclass(frozen=True)
class SearchPage:
    """`next_cursor` leads to the next page; None when this one was not full.

    `collection` is None when several were searched. `rerank` says what came of reranking, where it was asked for.
    """

    hits: list[Hit]
    collection: str | None = None
    next_cursor: str | None = None
    model: str | None = None
    fingerprint: str | None = None
    truncated: bool = False
    rerank: Json | None = None
    raw: Json = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class LabelScore:
    label: str
    probability: float
    score: float


@dataclass(frozen=True)
class Ranked:
    """`index` is the candidate's place in the call."""

    index: int
    probability: float
    score: float


@dataclass(frozen=True)
class Caption:
    """`logprob` is log P(text | picture); `finish_reason` is "stop", or "length" where `max_tokens` ended it."""

    text: str
    logprob: float
    finish_reason: str
    alternatives: list[Caption] = field(default_factory=list)
    raw: Json = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class CaptionPiece:
    """Of a stream: `text` is what is new; the last piece has the whole `caption`."""

    text: str
    caption: Caption | None = None


@dataclass(frozen=True)
class CaptionScore:
    """`logprob` is log P(text | picture), the sum over its tokens."""

    text: str
    logprob: float
    tokens: int


@dataclass(frozen=True)
class Citation:
    """A picture that shows what an answer says. `verified`: that was confirmed without a language model."""

    id: str
    collection: str
    caption: str | None
    verified: bool


@dataclass(frozen=True)
class Answer:
    """`found` is False where no picture shows what was asked for. `by` is "offline" or a language model's name."""

    text: str
    found: bool
    kind: str
    by: str
    citations: list[Citation]
    raw: Json = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Collection:
    name: str
    model: str
    fingerprint: str
    dim: int
    metric: str
    engine: str
    count: int
    model_status: str | None = None
    """"served", or "not_served": its model isn't served, so it is searched by vectors only; None: not known."""
    raw: Json = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Alias:
    name: str
    collection: str


@dataclass(frozen=True)
class Item:
    id: str
    metadata: Json | None = None
    vector: list[float] | None = None


@dataclass(frozen=True)
class ItemResult:
    """Of one item of `add`: `error` has the message, code and param where `status` is 400 or more.

    `warning` is the same where the item is in, and has no caption though it wanted one.
    """

    id: str | None
    status: int
    error: Json | None = None
    warning: Json | None = None

    @property
    def ok(self) -> bool:
        return self.status < 300


@dataclass(frozen=True)
class UpdatedPage:
    """A page of what a filter named: how many items have the patch now, and those that could not have it."""

    updated: int
    failed: list[ItemResult]
    next: str | None = None


@dataclass(frozen=True)
class ScoreGuidance:
    """What texts without meaning reach in a collection.

    `best_scores` are the median, p75, p90, p95 and highest of their best hits; `suggested_min_score` is the median.
    Both are None without items.
    """

    suggested_min_score: float | None
    texts: int
    items: int
    best_scores: Json | None
    raw: Json = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Duplicate:
    """`count` items were made from the picture of this digest (SHA-256, hex); `ids` are the first hundred of them."""

    digest: str
    count: int
    ids: list[str]


@dataclass(frozen=True)
class Job:
    """`state` is queued, running, completed, cancelled or failed."""

    id: str
    collection: str
    state: str
    processed: int
    added: int
    failed: int
    unchanged: int = 0
    skipped: int = 0
    total: int | None = None
    rate: float | None = None
    eta_s: float | None = None
    message: str | None = None
    error: Json | None = None
    raw: Json = field(default_factory=dict, repr=False)

    @property
    def ended(self) -> bool:
        return self.state in ("completed", "cancelled", "failed")


@dataclass(frozen=True)
class JobFailure:
    """What a job set aside: it failed, or was skipped; `reason` is short and the same for all with that fate."""

    id: str
    error: Json
    outcome: str = "failed"
    reason: str = ""


@dataclass(frozen=True)
class Model:
    id: str
    fingerprint: str
    dimensions: int
    matryoshka_dimensions: list[int]
    captioner: bool = False
    raw: Json = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Limits:
    """Of one call: what the gateway says with its model, else its defaults."""

    max_body_bytes: int = 32 * 1024 * 1024
    max_image_bytes: int = 16 * 1024 * 1024
    max_image_pixels: int = 64_000_000
    max_inputs: int = 256
    max_items: int = 1000
    max_metadata_bytes: int = 64 * 1024  # of an item, in JSON

    @classmethod
    def of(cls, told: object) -> Limits:
        """Numbers that are missing or make no sense are the defaults."""
        known = told if isinstance(told, Mapping) else {}
        names = cls.__dataclass_fields__
        return cls(**{name: value for name in names if isinstance(value := known.get(name), int) and value > 0})


@dataclass(frozen=True)
class Health:
    """`ready` when every part is "ok"; else `parts` says what is wrong, and with which."""

    ready: bool
    parts: dict[str, str]
