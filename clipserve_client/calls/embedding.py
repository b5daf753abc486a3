"""Embedding calls: inputs in parts that the gateway takes in one call, and their answers as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from clipserve_client.answers.answers import Embeddings, Json, Limits
from clipserve_client.calls.calls import Call
from clipserve_client.inputs.inputs import Content, Mix, as_content, listed
from clipserve_client.inputs.pictures import decoded_vector

_SHARE = 4  # a call's body is at most this part of what the gateway takes


def embed_calls(inputs: Sequence[Content | Mix], dimensions: int | None, limits: Limits) -> Iterator[Call[Embeddings]]:
    """One call for each part of the inputs, in their order."""
    given = listed(inputs)
    mixed = any(isinstance(each, Mix) for each in given)
    part: list[Json] = []
    size = 0
    for each in given:
        asked = _content(each) if mixed or isinstance(each, Mix) else as_content(each)
        cost = _size(asked)
        if part and (len(part) == limits.max_inputs or size + cost > limits.max_body_bytes // _SHARE):
            yield _call(part, mixed, dimensions)
            part, size = [], 0
        part.append(asked)
        size += cost
    if part:
        yield _call(part, mixed, dimensions)


def _content(given: Content | Mix) -> Json:
    parts = given.parts if isinstance(given, Mix) else [given]
    return {"content": [_part(as_content(each)) for each in parts]}


def _part(asked: Json) -> Json:
    if "text" in asked:
        return {"type": "text", "text": asked["text"]}
    if asked["image"].startswith(("http://", "https://")):
        return {"type": "image_url", "image_url": asked["image"]}
    return {"type": "image_base64", "image_base64": asked["image"]}


def _size(asked: Json) -> int:
    """Bytes in JSON, about: six for a letter that is written as an escape."""
    if "content" in asked:
        return sum(_size({k: v for k, v in part.items() if k != "type"}) for part in asked["content"])
    return 64 + sum(len(value) * (6 if name == "text" else 1) for name, value in asked.items())


def _call(part: list[Json], mixed: bool, dimensions: int | None) -> Call[Embeddings]:
    if mixed:
        body: Json = {"inputs": part, "output_encoding": "base64"}
        more = {} if dimensions is None else {"output_dimension": dimensions}
        return Call("POST", "/v1/multimodalembeddings", _embeddings, body | more)
    body = {"input": part, "encoding_format": "base64"}
    more = {} if dimensions is None else {"dimensions": dimensions}
    return Call("POST", "/v1/embeddings", _embeddings, body | more)


def _embeddings(answer: Any) -> Embeddings:
    data = sorted(answer["data"], key=lambda one: int(one["index"]))
    vectors = [decoded_vector(one["embedding"]) for one in data]
    return Embeddings(
        vectors, answer["model"], [bool(one.get("truncated")) for one in data], int(answer["usage"]["total_tokens"])
    )


def joined(parts: Sequence[Embeddings]) -> Embeddings:
    """The answer to all inputs; of no inputs none."""
    return Embeddings(
        [vector for part in parts for vector in part.vectors],
        parts[0].model if parts else "",
        [cut for part in parts for cut in part.truncated],
        sum(part.tokens for part in parts),
    )
