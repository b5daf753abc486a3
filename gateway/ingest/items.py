"""The items of a request body → checked items, each with its own error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from clip_core.errors import BadInput, ClipServeError, InvalidRequest, TooLarge
from clip_core.wire import json_text
from gateway.inputs.parser import InputParser
from gateway.inputs.source import Source
from gateway.schemas.items import caption_by_new_name

Json = dict[str, Any]
CaptionBy = Literal["captioner", "llm"]
_MAX_ORIGIN = 8192  # characters that the index service keeps


@dataclass
class IngestItem:
    """One item on its way: `error` stops it, `vector` is set once there is one; `at` is its place in the request.

    `model` is what the caller names, if it names one. `caption` says by whom one is wanted in the metadata; `warning`
    says why there is none, and `captioned` that there is one which the caller did not give.
    """

    at: str
    id: Any
    metadata: Any = None
    source: Source | None = None
    origin: Json | None = None
    model: object = None
    vector: str | None = None
    error: ClipServeError | None = None
    caption: CaptionBy | None = None
    warning: ClipServeError | None = None
    captioned: bool = False

    def is_own_vector(self) -> bool:
        """The caller brought the vector, so no fingerprint vouches for it."""
        return self.source is not None and self.source.kind == "vector"

    def result(self) -> Json:
        if self.error is None:
            warned = {} if self.warning is None else {"warning": self.warning.to_dict()["error"]}
            return {"id": self.id, "status": 200, **warned}
        return {"id": self.id, "status": self.error.status, **self.error.to_dict()}

    def record(self) -> Json:
        """As the index service takes it, with what `origin` a later model could embed it from again."""
        record = {"id": self.id, "vector": self.vector, "metadata": self.metadata, "source": self.origin}
        return {name: value for name, value in record.items() if value is not None}


def parse_items(body: Json, parser: InputParser, max_items: int) -> list[IngestItem]:
    """Raises InvalidRequest or TooLarge about the list; what is wrong with one item stays with that item."""
    items = body.get("items")
    if not isinstance(items, list) or not items:
        raise InvalidRequest("`items` is a list of at least one item", param="items")
    if len(items) > max_items:
        raise TooLarge(f"{len(items)} items in one call; at most {max_items}", param="items")
    captions = checked_caption(body.get("caption"), "caption")
    parsed = [_parse_item(item, f"items[{place}]", parser, captions) for place, item in enumerate(items)]
    _refuse_earlier_duplicates(parsed)
    return parsed


def checked_caption(value: object, param: str, default: CaptionBy | None = None) -> CaptionBy | None:
    """`true` is by the captioner. Raises InvalidRequest for what is none of true, false, null and the two names."""
    value = caption_by_new_name(value)
    if value is None:
        return default
    if isinstance(value, bool):
        return "captioner" if value else None
    if value == "captioner":
        return "captioner"
    if value == "llm":
        return "llm"
    raise InvalidRequest("`caption` is true, false, captioner or llm", param=param)


def _parse_item(item: object, at: str, parser: InputParser, captions: CaptionBy | None) -> IngestItem:
    if not isinstance(item, dict):
        return IngestItem(at, None, error=InvalidRequest("an item is an object", param=at))
    item_id = item["id"] if isinstance(item.get("id"), str) else None
    parsed = IngestItem(at, item_id, item.get("metadata"), model=item.get("model"))
    try:
        parsed.source = _parse_source(item, at, parser)
        parsed.origin = _origin(item)
        parsed.caption = checked_caption(item.get("caption"), f"{at}.caption", captions)
    except BadInput as error:
        parsed.error = error
    return parsed


def _parse_source(item: Json, at: str, parser: InputParser) -> Source:
    if not isinstance(item.get("id"), str) or not item["id"]:
        raise BadInput("`id` is a non-empty string", param=f"{at}.id")
    if not isinstance(item.get("metadata", {}), dict | None):
        raise BadInput("`metadata` is an object", param=f"{at}.metadata")
    json_text(item.get("metadata"), f"{at}.metadata")
    return parser.source(item, at, ("text", "image", "vector"))


def _origin(item: Json) -> Json | None:
    """A short text, or the address of an image; uploads and long texts are not kept."""
    for kind, starts in (("text", ""), ("image", ("http://", "https://"))):
        value = item.get(kind)
        if isinstance(value, str) and value.startswith(starts) and len(value) <= _MAX_ORIGIN:
            return {kind: value}
    return None


def _refuse_earlier_duplicates(items: Sequence[IngestItem]) -> None:
    """The last item of an id wins, as in the index service; sparing the others saves their encoding."""
    last = {item.id: place for place, item in enumerate(items) if isinstance(item.id, str)}
    for place, item in enumerate(items):
        if item.error is None and last[item.id] != place:
            message = f"another item of this call has the id {item.id!r}; the last one counts"
            item.error = BadInput(message, param=f"{item.at}.id")
