"""Which part of a ranking a search wants: its page, a least score, fields of the metadata, ids to leave out."""

from __future__ import annotations

import base64
import binascii
import math
import sys
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
import orjson

from clip_core.errors import BadInput
from clip_core.wire import MAX_K, SearchPart
from gateway.inputs.source import Source

FIELDS = ("cursor", "min_score")
_METADATA = "metadata."
_MAX_INCLUDE = 64  # each is looked for in every hit


class _Ranked(msgspec.Struct):
    """What of a hit says whether it stays."""

    id: str
    score: float


_RANKED, _TEXTS = msgspec.json.Decoder(list[_Ranked]), msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True)
class RankedQuery:
    """What makes a ranking: what stays the same from page to page."""

    search: SearchPart
    source: Source
    min_score: float
    model: object

    @cached_property
    def checksum(self) -> str:
        """CRC-32, for pictures are long: it finds the cursor of another query, and guards nothing.

        Whoever forges a cursor sees no more than whoever asks for a larger `k`.
        """
        search, value = self.search, self.source.value
        model = self.model if isinstance(self.model, str) else None
        rest = [search.collection, search.filter, search.exact, self.min_score, model, self.source.kind]
        text = value.encode() if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        return f"{zlib.crc32(text, zlib.crc32(orjson.dumps(rest, option=orjson.OPT_SORT_KEYS))):08x}"


@dataclass(frozen=True)
class Page:
    """`k` hits from `offset` on. The index is asked for everything up to their end."""

    k: int
    offset: int = 0
    min_score: float = -math.inf
    fields: tuple[str, ...] = ()
    left_out: frozenset[str] = frozenset()
    query: RankedQuery | None = None

    @classmethod
    def parse(cls, body: Mapping[str, Any], search: SearchPart, source: Source) -> Page:
        """`search` and `source` are what else the body holds. Raises BadInput that names the field."""
        least, k = _score(body.get("min_score")), search.k
        query = RankedQuery(search, source, least, body.get("model"))
        cursor = body.get("cursor")
        offset = 0 if cursor is None else _offset(cursor, query)
        if offset + k > MAX_K:
            raise BadInput(f"`k` and what the cursor has passed are at most {MAX_K} together", param="cursor")
        return cls(k, offset, least, _fields(body.get("include")), query=query)

    @property
    def depth(self) -> int:
        """How many hits the index is asked for."""
        return min(self.offset + self.k + len(self.left_out), MAX_K)

    def cut(self, hits: Sequence[msgspec.Raw]) -> tuple[orjson.Fragment, str | None]:
        """The page's hits as one JSON text, and the cursor of the next page; None when this one is not full."""
        page = self._kept(hits)[self.offset : self.offset + self.k]
        end = self.offset + len(page)
        more = len(page) == self.k and end < MAX_K
        shown = map(self._projected, page) if self.fields else page
        return orjson.Fragment(_listed(shown)), _cursor(end, self.query) if more and self.query else None

    def _kept(self, hits: Sequence[msgspec.Raw]) -> Sequence[msgspec.Raw]:
        if not self.left_out and self.min_score == -math.inf:
            return hits
        ranked = zip(hits, _RANKED.decode(_listed(hits)), strict=True)
        return [hit for hit, told in ranked if told.id not in self.left_out and told.score >= self.min_score]

    def _projected(self, hit: msgspec.Raw) -> bytes:
        """The hit with no metadata but `fields`."""
        parts = _TEXTS.decode(hit)
        if "metadata" in parts:
            metadata = _TEXTS.decode(parts["metadata"])
            kept = {name: metadata[name] for name in self.fields if name in metadata}
            parts["metadata"] = msgspec.Raw(msgspec.json.encode(kept))
        return msgspec.json.encode(parts)


def _listed(texts: Iterable[bytes | msgspec.Raw]) -> bytes:
    """JSON texts → the JSON text of their list."""
    return b"[%b]" % b",".join(texts)


def without_fields(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """`body` with `include` as the index service takes it: "metadata.color" asks for the metadata.

    Raises BadInput for a long one.
    """
    include = body.get("include")
    if isinstance(include, list) and len(include) > _MAX_INCLUDE:
        raise BadInput(f"`include` lists at most {_MAX_INCLUDE} entries", param="include")
    if not isinstance(include, list) or not any(map(_is_field, include)):
        return body
    plain = [entry for entry in include if not _is_field(entry)]
    return {**body, "include": plain if "metadata" in plain else [*plain, "metadata"]}


def _fields(include: object) -> tuple[str, ...]:
    """The names after "metadata."; none when all metadata is wanted anyway."""
    if not isinstance(include, list) or "metadata" in include:
        return ()
    return tuple(entry.removeprefix(_METADATA) for entry in include if _is_field(entry))


def _is_field(entry: object) -> bool:
    return isinstance(entry, str) and entry.startswith(_METADATA) and len(entry) > len(_METADATA)


def _score(value: object) -> float:
    if value is None:
        return -math.inf
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise BadInput("`min_score` is a score, a number", param="min_score")
    return float(value)


def _cursor(offset: int, query: RankedQuery) -> str:
    return base64.urlsafe_b64encode(f"{offset}.{query.checksum}".encode()).decode().rstrip("=")


def _offset(cursor: object, query: RankedQuery) -> int:
    """Raises BadInput for what is no cursor, and for the cursor of another query."""
    try:
        text = base64.urlsafe_b64decode(str(cursor).encode() + b"==").decode("ascii")
        offset, _, checksum = text.partition(".")
        number = int(offset)
    except (binascii.Error, ValueError) as error:
        raise BadInput("`cursor` is what an answer gave as `next_cursor`", param="cursor") from error
    if checksum != query.checksum or not 0 < number <= MAX_K:
        raise BadInput("this cursor belongs to another query; leave it out to start again", param="cursor")
    return number
