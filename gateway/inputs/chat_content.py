"""Chat-style `content`, as OpenAI, vLLM, Cohere and Voyage write it → one thing to encode.

Several parts become one vector: the normalised sum of the parts' vectors, each with weight 1.
"""

from __future__ import annotations

from typing import Any

from clip_core.errors import InvalidRequest
from gateway.inputs.parser import MAX_PARTS, InputParser
from gateway.inputs.source import Source

TYPES = ("text", "image_url", "image_base64")


def content_source(content: object, param: str, parser: InputParser) -> Source:
    """A string, or a list of typed parts. Raises BadInput that names the part at fault."""
    if isinstance(content, str):
        return parser.of_kind("text", content, param)
    if not isinstance(content, list) or not 1 <= len(content) <= MAX_PARTS:
        raise InvalidRequest(f"`content` is a string or a list of 1 to {MAX_PARTS} parts", param=param)
    parts = [_part(part, f"{param}[{place}]", parser) for place, part in enumerate(content)]
    if len(parts) == 1:
        return Source(parts[0].kind, parts[0].value, param)
    return Source("query", [{**part.item(), "weight": 1.0} for part in parts], param)


def inputs_source(entry: object, param: str, parser: InputParser) -> Source:
    """An entry of Cohere's and Voyage's `inputs`: {"content": [...]}."""
    if not isinstance(entry, dict) or "content" not in entry:
        raise InvalidRequest("an input is an object with `content`", param=param)
    return content_source(entry["content"], f"{param}.content", parser)


def messages_source(messages: object, parser: InputParser) -> Source:
    """vLLM's form: all messages together are one input."""
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest("`messages` is a list of at least one message", param="messages")
    parts: list[Any] = []
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or "content" not in message:
            raise InvalidRequest("a message is an object with `role` and `content`", param=f"messages[{place}]")
        content = message["content"]
        parts += content if isinstance(content, list) else [{"type": "text", "text": content}]
    return content_source(parts, "messages", parser)


def _part(part: object, param: str, parser: InputParser) -> Source:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict) or kind not in TYPES:
        raise InvalidRequest(f"a part is an object whose `type` is one of {', '.join(TYPES)}", param=param)
    value, place = part.get(kind), f"{param}.{kind}"
    if kind == "text":
        return parser.of_kind("text", value, place)
    if kind == "image_url" and isinstance(value, dict):
        return parser.of_kind("image", value.get("url"), f"{place}.url")
    return parser.of_kind("image", value, place)
