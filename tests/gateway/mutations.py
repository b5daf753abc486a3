"""Valid requests, and ways to spoil them: in the tree of their JSON, in their bytes, headers and paths."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import orjson

from tests.gateway.fakes import picture_uri

IMAGE = picture_uri("cat")


@dataclass(frozen=True)
class Call:
    """One HTTP request."""

    method: str
    path: str
    body: Any = None
    content: bytes | None = None
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})

    def bytes(self) -> bytes:
        return self.content if self.content is not None else b"" if self.body is None else orjson.dumps(self.body)


SEARCH = {"collection": "demo", "text": "a", "k": 3, "filter": {"word": {"$in": ["a"]}}, "include": ["metadata"]}
CHAT = [
    {"role": "system", "content": "a"},
    {
        "role": "user",
        "content": [{"type": "text", "text": "Is it a or b?"}, {"type": "image_url", "image_url": {"url": IMAGE}}],
    },
]
RESPONSES = [{"role": "user", "content": [{"type": "input_image", "image_url": IMAGE}]}]
SCHEMA = {
    "type": "object",
    "properties": {"a": {"enum": ["a", "b"]}, "n": {"type": "integer", "minimum": 1, "maximum": 3}},
}
FORM = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
VALID = [
    Call("POST", "/v1/embeddings", {"input": ["a", {"image": IMAGE}, {"text": "b"}], "encoding_format": "base64"}),
    Call("POST", "/v1/embeddings", {"input": "a", "model": "demo", "dimensions": 16, "truncate": "end"}),
    Call("POST", "/v1/embeddings", {"input": [IMAGE], "modality": "image"}),
    Call("POST", "/v1/search", SEARCH),
    Call("POST", "/v1/search", {"collection": "demo", "query": [{"image": IMAGE}, {"text": "a", "weight": -0.5}]}),
    Call("POST", "/v1/search", {"collection": "demo", "vector": [0.5] * 16, "exact": True}),
    Call("POST", "/v1/search", {"collections": ["demo"], "text": "a", "k": 3}),
    Call("POST", "/v1/search/batch", {"searches": [SEARCH, {"collection": "demo", "text": "b"}]}),
    Call("PUT", "/v1/collections/other", {"engine": "auto", "recall_target": 0.9, "metadata": {"a": 1}}),
    Call("GET", "/v1/collections/demo"),
    Call("GET", "/v1/collections"),
    Call("POST", "/v1/collections/demo/items", {"items": [{"id": "a", "text": "a", "metadata": {"n": 1}}]}),
    Call(
        "POST",
        "/v1/collections/demo/items",
        {"items": [{"id": "v", "vector": [1.0] * 16}, {"id": "i", "image": IMAGE}]},
    ),
    Call("GET", "/v1/collections/demo/items?limit=5&after=a"),
    Call("GET", "/v1/collections/demo/items/a?include=vector"),
    Call("PATCH", "/v1/collections/demo/items/a", {"metadata": {"n": None, "m": {"a": 1}}}),
    Call("PATCH", "/v1/collections/demo/items", {"items": [{"id": "a", "metadata": {"n": 2}}]}),
    Call("POST", "/v1/collections/demo/items/delete", {"filter": {"n": {"$gte": 5}}}),
    Call("POST", "/v1/classify", {"image": IMAGE, "labels": ["a", "b"], "templates": ["a {}"], "logit_scale": 50}),
    Call("POST", "/v1/captions", {"image": IMAGE, "method": "sample", "n": 2, "max_tokens": 12, "seed": 7}),
    Call("POST", "/v1/captions", {"images": [IMAGE, {"collection": "demo", "id": "a"}], "prompt": "a", "stream": True}),
    Call("POST", "/v1/captions/score", {"image": IMAGE, "texts": ["a", "b"]}),
    Call("POST", "/v1/collections/demo/items", {"items": [{"id": "c", "image": IMAGE, "caption": True}]}),
    Call("POST", "/v1/ask", {"collection": "demo", "question": "How many cats are there?", "k": 3, "filter": {"n": 1}}),
    Call("POST", "/v1/ask", {"collection": "demo", "question": "a?", "searches": [{"text": "a"}], "stream": True}),
    Call("POST", "/v1/chat/completions", {"model": "demo", "messages": CHAT, "response_format": FORM}),
    Call("POST", "/v1/responses", {"model": "demo", "input": RESPONSES, "max_output_tokens": 3, "stream": True}),
    Call("GET", "/v1/models"),
    Call("GET", "/images/demo/a.png"),
]
JUNK: list[Any] = [
    None, True, False, 0, -1, 1, 1.5, -0.0, 1e308, 2**63, 2**64 - 1, -(2**63), "", " ", "\x00", "a" * 5000, "é😀", "-1",
    "data:image/png;base64,", "data:,", "data:image/png;base64,!!!!", "http://127.0.0.1:1/", "file:///etc/passwd",
    [], [[]], [None], [0] * 300, ["a"] * 300, {}, {"": None}, {"$where": "1"}, {"$and": []}, {"$or": [{"$not": {}}]},
    {"a": {"$in": {}}}, {"text": "a", "image": "b"}, [1, 2, 3], [[1, 2], [3]], IMAGE,
]  # fmt: skip
HEADERS: list[dict[str, str]] = [
    {}, {"Content-Type": "text/plain"}, {"Content-Type": "multipart/form-data"},
    {"Content-Type": "multipart/form-data; boundary=x"}, {"Content-Type": "application/json; charset=utf-16"},
    {"X-Request-Id": "\t"}, {"Authorization": "Bearer"}, {"Authorization": "Basic \x7f"}, {"X-API-Key": "é"},
    {"Origin": "null"}, {"Accept": "\x01"}, {"X-Request-Timeout": "30"}, {"X-Request-Timeout": "x"},
    {"Range": "bytes=9-1"},
    {"Content-Encoding": "gzip"}, {"Transfer-Encoding": "gzip"}, {"Expect": "100-continue"}, {"Cookie": ";;=;"},
]  # fmt: skip


def mutated(seed: int) -> Call:
    """The same call for the same seed: a valid one with one to three things wrong with it."""
    random = Random(seed)
    call = random.choice(VALID)
    for _ in range(random.randint(1, 3)):
        call = random.choice((_tree, _tree, _tree, _bytes, _headers, _path, _method))(call, random)
    return call


def _tree(call: Call, random: Random) -> Call:
    """One node of the body is replaced, removed, doubled or renamed."""
    if call.content is not None or not isinstance(call.body, dict | list) or not call.body:
        return replace(call, body=random.choice(JUNK)) if call.content is None else call
    body = copy.deepcopy(call.body)
    holder, key = random.choice(list(_nodes(body)))
    change = random.randrange(4)
    if change == 0:
        del holder[key]
    elif change == 1 and isinstance(holder, dict):
        holder[random.choice(["", "x", "\x00", "input", "text", "image", "vector", "k", "id"])] = holder.pop(key)
    elif change == 2:
        holder[key] = [holder[key], copy.deepcopy(holder[key])]
    else:
        holder[key] = random.choice(JUNK)
    return replace(call, body=body)


def _nodes(body: Any) -> Any:
    entries = list(body.items()) if isinstance(body, dict) else list(enumerate(body))
    for key, value in entries:
        yield body, key
        if isinstance(value, dict | list):
            yield from _nodes(value)


def _bytes(call: Call, random: Random) -> Call:
    """Bytes are flipped, cut off, doubled or put in."""
    content = bytearray(call.bytes())
    at = random.randrange(len(content) + 1)
    change = random.randrange(4)
    if change == 0:
        content = content[:at]
    elif change == 1 and at < len(content):
        content[at] ^= 1 << random.randrange(8)
    elif change == 2:
        content[at:at] = random.randbytes(random.randrange(1, 20))
    else:
        content += content[:at]
    return replace(call, content=bytes(content))


def _headers(call: Call, random: Random) -> Call:
    return replace(call, headers={**call.headers, **random.choice(HEADERS)})


def _path(call: Call, random: Random) -> Call:
    at = random.randrange(1, len(call.path) + 1)
    piece = random.choice(["%00", "%2e%2e/", "/", "//", "?", "?limit=-1", "%ff", "é", "a" * 300, "%", ";", "..", "\\"])
    return replace(call, path=call.path[:at] + piece + call.path[at + random.randrange(2) :])


def _method(call: Call, random: Random) -> Call:
    return replace(
        call, method=random.choice(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW"])
    )
