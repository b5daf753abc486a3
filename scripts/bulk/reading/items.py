"""An item of a shard, read but not decoded; or why it can't be one."""

from __future__ import annotations

from typing import Any, NamedTuple

Json = dict[str, Any]


class Raw(NamedTuple):
    """`content` is a picture, `text` a text or a picture's caption."""

    id: str
    content: bytes | None
    text: str | None
    metadata: Json


class Bad(NamedTuple):
    id: str
    code: str
    message: str


def caption_in(metadata: Json) -> str | None:
    caption = metadata.get("caption")
    return caption if isinstance(caption, str) and caption.strip() else None
