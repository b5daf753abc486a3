"""An item of a shard, read but not decoded; or why it can't be one."""

from __future__ import annotations

from typing import Any, NamedTuple

Json = dict[str, Any]


class Bad(NamedTuple):
    id: str
    code: str
    message: str


class Raw(NamedTuple):
    """`content` is a picture, `text` a text or a picture's caption; `fault`: why it lacks one of them."""

    id: str
    content: bytes | None
    text: str | None
    metadata: Json
    fault: Bad | None = None


def without_picture(fault: Bad, embed: str, metadata: Json) -> Raw | Bad:
    """An item whose picture can't be used: of pictures with texts its caption goes on alone."""
    caption = caption_in(metadata) if embed == "both" else None
    return fault if caption is None else Raw(fault.id, None, caption, metadata, fault)


def text_alone(item_id: str, metadata: Json, missing: str) -> Raw | Bad:
    """An item of which only the caption is asked for; `missing` says what there is none of."""
    caption = caption_in(metadata)
    return Bad(item_id, "nothing to embed", missing) if caption is None else Raw(item_id, None, caption, metadata)


def caption_in(metadata: Json) -> str | None:
    caption = metadata.get("caption")
    return caption if isinstance(caption, str) and caption.strip() else None
