"""Hits of a search → candidates with their metadata, and back to hits as the caller wants them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from gateway.inputs.paging import without_fields

Json = dict[str, Any]
_METADATA = "metadata"


class _Known(msgspec.Struct):
    id: str
    score: float
    metadata: dict[str, Any] | None = None


_HITS, _KNOWN = msgspec.json.Decoder(list[msgspec.Raw]), msgspec.json.Decoder(_Known)
_PARTS = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True)
class Candidate:
    """A hit with what the index says of its item; `text` is its JSON."""

    id: str
    score: float
    metadata: Json
    text: msgspec.Raw

    @property
    def item(self) -> Json:
        return {"id": self.id, "metadata": self.metadata}


def with_metadata(body: Mapping[str, Any]) -> Json:
    """A search whose hits say where their pictures are, whatever the caller includes. Raises BadInput for too much."""
    whole = without_fields(body)
    include = whole.get("include")
    if not isinstance(include, list) or _METADATA in include:
        return dict(whole)
    return {**whole, "include": [*include, _METADATA]}


def candidates_of(hits: object) -> list[Candidate]:
    """`hits`: whatever orjson writes as their list."""
    made = []
    for raw in _HITS.decode(orjson.dumps(hits)):
        known = _KNOWN.decode(raw)
        made.append(Candidate(known.id, known.score, known.metadata or {}, raw))
    return made


def told_hits(candidates: Sequence[Candidate], include: object) -> orjson.Fragment:
    """As JSON, with as much metadata as the caller includes."""
    fields = None if not isinstance(include, list) or _METADATA in include else _fields(include)
    texts = (bytes(each.text) if fields is None else _cut(each, fields) for each in candidates)
    return orjson.Fragment(b"[%b]" % b",".join(texts))


def _fields(include: Sequence[Any]) -> list[str]:
    """The names after "metadata."."""
    return [each.removeprefix(f"{_METADATA}.") for each in include if str(each).startswith(f"{_METADATA}.")]


def _cut(candidate: Candidate, fields: Sequence[str]) -> bytes:
    parts = _PARTS.decode(candidate.text)
    metadata = parts.pop(_METADATA, None)
    if fields and metadata is not None:
        kept = {name: value for name, value in _PARTS.decode(metadata).items() if name in fields}
        parts[_METADATA] = msgspec.Raw(msgspec.json.encode(kept))
    return msgspec.json.encode(parts)
