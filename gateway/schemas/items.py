"""The bodies of a collection's items."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from clip_core.old_names.table import OLD_CAPTION_WRITERS
from clip_core.old_names.taking import old_names
from gateway.schemas.base import IMAGE, PIXEL, VECTOR, ErrorBody, Schema, example, tell_once

_MODEL = "The collection's model, or nothing: 409 where it is another one."


def caption_by_new_name(given: object) -> object:
    """What `caption` says, an old name as the new one, of which the log tells."""
    if not isinstance(given, str) or given not in OLD_CAPTION_WRITERS:
        return given
    tell_once("`caption`", *old_names([given], OLD_CAPTION_WRITERS))
    return OLD_CAPTION_WRITERS[given]


CaptionWanted = Annotated[Literal[True, False, "captioner", "llm"] | None, BeforeValidator(caption_by_new_name)]
_CAPTION = (
    "Caption the picture, and keep that as `caption` in the metadata, unless there is one. `true` or captioner: by the "
    "model's own captioner; llm: by the language model."
)


class ItemSpec(Schema):
    id: str = Field(min_length=1, max_length=512)
    text: str | None = None
    image: str | None = Field(None, description=IMAGE)
    vector: str | list[float] | None = Field(None, description=VECTOR)
    metadata: dict[str, Any] | None = None
    model: str | None = Field(None, description=_MODEL)
    caption: CaptionWanted = Field(None, description=_CAPTION)


class ItemsRequest(Schema):
    model_config = example({"items": [{"id": "scene-1", "image": PIXEL, "metadata": {"color": "red"}}]})
    items: list[ItemSpec]
    model: str | None = Field(None, description=_MODEL)
    caption: CaptionWanted = Field(None, description="For the items that do not say it themselves.")


class ItemResult(Schema):
    id: str | None
    status: int
    error: ErrorBody | None = None
    warning: ErrorBody | None = Field(None, description="Why an item that is in has no caption, though it wanted one.")


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
    warnings: list[LineError] | None = Field(None, description="The first thousand, where there are some.")


class DeleteItemsRequest(Schema):
    model_config = example({"filter": {"color": "red"}})
    ids: list[str] | None = Field(None, fail_fast=True)
    filter: dict[str, Any] | None = None


class PatchItemRequest(Schema):
    model_config = example({"metadata": {"title": "Harbour", "place": {"city": "Lisbon"}, "draft": None}})
    metadata: dict[str, Any] | None = Field(
        description="A merge patch: null removes a field. Null itself removes all but `digest` and `original_file`."
    )


class PatchSpec(PatchItemRequest):
    model_config = example({"id": "scene-1", "metadata": {"title": "Harbour", "draft": None}})
    id: str


class PatchItemsRequest(Schema):
    model_config = example({"items": [{"id": "scene-1", "metadata": {"title": "Harbour", "draft": None}}]})
    items: list[PatchSpec] | None = Field(None, description="A patch for each.", fail_fast=True)
    ids: list[str] | None = Field(None, description="One patch, `metadata`, for all of these.", fail_fast=True)
    filter: dict[str, Any] | None = Field(None, description="One patch for all items that it lets through.")
    metadata: dict[str, Any] | None = None
    after: str | None = Field(None, description="With `filter`: the `next` of the call before.")
    limit: int | None = Field(None, ge=1, le=10_000, description="With `filter`: most items of one call.")


class PatchedAnswer(Schema):
    model_config = example({"results": [{"id": "scene-1", "status": 200}]})
    results: list[ItemResult] | None = Field(None, description="One for each of `items` or `ids`, in order.")
    updated: int | None = Field(None, description="With `filter`: how many items have the patch now.")
    failed: list[ItemResult] | None = Field(None, description="With `filter`: those that could not have it.")
    next: str | None = Field(None, description="With `filter`: what to pass as `after`; null at the end.")


class CopyItemsRequest(Schema):
    model_config = example({"from": "demo", "ids": ["scene-1"]})
    from_: str = Field(alias="from", min_length=1, description="Where the items are now.")
    ids: list[str] | None = Field(None, fail_fast=True)
    filter: dict[str, Any] | None = Field(None, description="All items that it lets through, a page a call.")
    after: str | None = Field(None, description="With `filter`: the `next` of the call before.")
    limit: int | None = Field(None, ge=1, le=10_000, description="With `filter`: most items of one call.")


class CopiedAnswer(Schema):
    model_config = example({"results": [{"id": "scene-1", "status": 200}]})
    results: list[ItemResult] | None = Field(None, description="One for each of `ids`, in order.")
    copied: int | None = Field(None, description="With `filter`: how many were copied.")
    next: str | None = Field(None, description="With `filter`: what to pass as `after`; null at the end.")


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


class DeletedAnswer(Schema):
    model_config = example({"deleted": 3})
    deleted: int
