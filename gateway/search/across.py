"""One search of several collections of the same model: encoded once, its hits merged by score."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from clip_core.errors import BadInput, ClipServeError, Conflict, FingerprintMismatch, InvalidRequest
from gateway.encode.chunks import Ask
from gateway.encode.served_model import two_models
from gateway.inputs.paging import Page
from gateway.inputs.parser import InputParser
from gateway.inputs.source import Source
from gateway.keys.api_key import current_key
from gateway.models.registry import Models
from gateway.search.searching import Found, Searcher, parse_ask
from gateway.upstream.index_service import IndexServiceClient

Json = dict[str, Any]
MAX_COLLECTIONS = 16


class _Scored(msgspec.Struct):
    """What of a hit says where it stands."""

    score: float


_SCORED = msgspec.json.Decoder(_Scored)


@dataclass(frozen=True)
class AskAcross:
    """A search of each of `names`, in which they differ alone, and the page of the merged ranking."""

    names: list[str]
    asks: list[Ask]
    page: Page


def parse_across(body: Mapping[str, Any], parser: InputParser) -> AskAcross:
    """A search with `collections`. Raises BadInput that names the field, or CollectionForbidden."""
    names = _names(body)
    rest = {name: value for name, value in body.items() if name not in ("collections", "cursor")}
    ask = parse_ask({**rest, "collection": names[0]}, parser)
    assert ask.search is not None
    if "like" in ask.source.kinds():
        raise BadInput("`like` names an item of one collection: give `collection` instead", param="collections")
    for name in names:
        current_key().check_collection(name)
    joined = msgspec.structs.replace(ask.search, collection=" ".join(names))  # cursors belong to all of them
    page = Page.parse({**rest, "cursor": body.get("cursor")}, joined, ask.source)
    searches = [msgspec.structs.replace(ask.search, collection=name, k=page.depth) for name in names]
    return AskAcross(names, [replace(ask, search=search, page=None) for search in searches], page)


def _names(body: Mapping[str, Any]) -> list[str]:
    names = body["collections"]
    if body.get("collection") is not None:
        raise InvalidRequest("give `collection` or `collections`, not both", param="collections")
    if not isinstance(names, list) or not 1 <= len(names) <= MAX_COLLECTIONS:
        raise InvalidRequest(f"`collections` is a list of 1 to {MAX_COLLECTIONS} names", param="collections")
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise InvalidRequest("`collections` has names, each once", param="collections")
    return names


class AcrossCollections:
    """Looks at the collections, encodes what is not a vector yet, and searches all of them in few index calls."""

    def __init__(self, models: Models, index: IndexServiceClient, searcher: Searcher) -> None:
        self._models, self._index, self._searcher = models, index, searcher

    async def search(self, asked: AskAcross) -> tuple[Json, Found]:
        """Raises UnknownCollection that names it, FingerprintMismatch and Conflict before anything is encoded."""
        described = await asyncio.gather(*map(self._index.describe, asked.names))
        _check_alike(asked.names, described)
        asks, told, encoding = await self._with_vector(asked.asks, described[0])
        found = await self._searcher.many(asks)
        answers = [_certain(answer, described[0]["fingerprint"]) for answer in found.answers]
        hits, cursor = asked.page.cut(_merged(asked.names, [answer["hits"] for answer in answers]))
        answer = {
            "collections": asked.names,
            "hits": hits,
            "model": answers[0]["model"],
            "fingerprint": answers[0]["fingerprint"],
            "next_cursor": cursor,
            **told,
            **_certificate(answers),
        }
        return answer, replace(found, encode_ms=encoding.encode_ms, queue_ms=encoding.queue_ms)

    async def _with_vector(self, asks: Sequence[Ask], described: Json) -> tuple[list[Ask], Json, Found]:
        """The asks with the vector of what they search by, what is to be told of it, and how long it took."""
        first = asks[0]
        if first.source.kind == "vector":
            return list(asks), {}, Found([])
        models, named = self._models, first.model
        encoder = await (models.of_collection(described) if named is None else models.named(named))
        encoded = await encoder.run([Ask(first.source)])
        (outcome,) = encoded.outcomes
        if isinstance(outcome, ClipServeError):
            raise outcome
        if encoded.model().fingerprint != described["fingerprint"]:
            if named is not None:
                raise two_models(named, described["name"], described["model"])
            raise FingerprintMismatch(
                f"the collections hold vectors of {described['model']!r} (fingerprint {described['fingerprint']}), "
                f"but TorchServe serves another build of {encoded.model().model!r}: "
                f"{FingerprintMismatch.ways_out(described['name'], described['model'])}"
            )
        source = Source("vector", outcome["embedding"], first.source.param)
        told = {"truncated": True} if outcome.get("truncated") else {}
        times = Found([], encoded.encode_ms, encoded.search_ms, encoded.queue_ms)
        return [replace(ask, source=source) for ask in asks], told, times


def _check_alike(names: Sequence[str], described: Sequence[Json]) -> None:
    """Raises FingerprintMismatch or Conflict that names the first collection that differs, or is there twice."""
    first, seen = described[0], dict[str, str]()
    for name, each in zip(names, described, strict=True):
        if each["fingerprint"] != first["fingerprint"]:
            message = f"{name} holds vectors of {each['model']!r}, {names[0]} of {first['model']!r}: search them apart"
            raise FingerprintMismatch(message, param="collections")
        if each["metric"] != first["metric"]:
            message = f"{name} has the metric {each['metric']}, {names[0]} has {first['metric']}: search them apart"
            raise Conflict(message, param="collections")
        if each["name"] in seen:
            raise InvalidRequest(f"{seen[each['name']]} and {name} are one collection", param="collections")
        seen[each["name"]] = name


def _certain(answer: Json | ClipServeError, fingerprint: str) -> Json:
    """The answer of one collection, which may be another one by now. Raises its error."""
    if isinstance(answer, ClipServeError):
        raise answer
    if answer["fingerprint"] != fingerprint:
        raise FingerprintMismatch("a collection was replaced by one of another model meanwhile: search again")
    return answer


def _merged(names: Sequence[str], found: Sequence[Sequence[msgspec.Raw]]) -> list[msgspec.Raw]:
    """All hits, the best first, each with its collection; ties in the order of the collections."""
    hits = [
        (_SCORED.decode(hit).score, _named(name, hit)) for name, own in zip(names, found, strict=True) for hit in own
    ]
    hits.sort(key=lambda hit: -hit[0])
    return [hit for _, hit in hits]


def _named(name: str, hit: msgspec.Raw) -> msgspec.Raw:
    """A hit is an object with an id at least."""
    return msgspec.Raw(b'{"collection":%b,%b' % (msgspec.json.encode(name), bytes(hit)[1:]))


def _certificate(answers: Sequence[Json]) -> Json:
    """Over all collections, where each has one."""
    if not all("certificate" in answer for answer in answers):
        return {}
    return {
        "certificate": {name: sum(each["certificate"][name] for each in answers) for name in answers[0]["certificate"]}
    }
