"""Which scores say little: those that texts without any meaning for pictures reach in a collection, too.

A search always finds `k` items, however little they fit. What the best score of such a text is depends on the model and
on the collection, so it is measured on the collection as it is. Suggested is the median: a hit below it is no better
than what a text without meaning usually finds. A higher score would hide hits that somebody means (docs/clients.md).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Any

import msgspec
from cachetools import LRUCache

from clip_core.errors import ClipServeError, FingerprintMismatch, from_dict
from clip_core.wire import SearchPart
from gateway.encode.chunks import Ask
from gateway.inputs.source import Source
from gateway.models.registry import Models
from gateway.search.nonsense import nonsense_texts
from gateway.upstream.index_service import IndexServiceClient

Json = dict[str, Any]
_FRESH_S = 3600.0
_MOST_KEPT = 256  # collections
_GROWTH = 0.1  # of the number of items, after which it is measured again
_SUGGESTED = "median"


class _Scored(msgspec.Struct):
    score: float


@dataclass(frozen=True)
class _Measured:
    """An answer, and what it holds for."""

    answer: Json
    fingerprint: str
    items: int
    at: float

    def holds_for(self, described: Json) -> bool:
        grown = abs(described["count"] - self.items) > _GROWTH * self.items
        return self.fingerprint == described["fingerprint"] and not grown and time.monotonic() - self.at < _FRESH_S


class ScoreGuidance:
    """Measures a collection once, and again when it has changed; one at a time."""

    def __init__(self, models: Models, index: IndexServiceClient) -> None:
        self._models, self._index = models, index
        self._measured: LRUCache[str, _Measured] = LRUCache(_MOST_KEPT)
        self._vectors: tuple[str, list[str]] = ("", [])  # the fingerprint that they are of
        self._one = asyncio.Lock()

    async def of(self, collection: str) -> Json:
        """Raises UnknownCollection, and FingerprintMismatch when another model is served."""
        described = await self._index.describe(collection)
        known = self._measured.get(collection)
        if known is not None and known.holds_for(described):
            return known.answer
        async with self._one:
            known = self._measured.get(collection)
            if known is None or not known.holds_for(described):
                self._measured[collection] = known = await self._measure(collection, described)
        return known.answer

    async def _measure(self, collection: str, described: Json) -> _Measured:
        fingerprint, count = described["fingerprint"], described["count"]
        best = await self._best(collection, await self._texts(collection, described)) if count else []
        shown = {name: round(_quantile(best, share), 4) for name, share in _SHOWN.items()} if best else None
        answer = {
            "collection": collection,
            "model": described["model"],
            "fingerprint": fingerprint,
            "metric": described["metric"],
            "items": count,
            "texts": len(best),
            "suggested_min_score": shown and shown[_SUGGESTED],
            "best_scores": shown,
        }
        return _Measured(answer, fingerprint, count, time.monotonic())

    async def _texts(self, collection: str, described: Json) -> list[str]:
        """The vectors of the texts, in base64."""
        if self._vectors[0] != described["fingerprint"]:
            asks = [Ask(Source("text", text, None)) for text in nonsense_texts()]
            encoder = await self._models.of_collection(described)
            encoder.check(asks)
            encoded = await encoder.run(asks, charged=0)
            fingerprint = encoded.model().fingerprint
            if fingerprint != described["fingerprint"]:
                way_out = FingerprintMismatch.ways_out(collection, described["model"])
                message = f"the collection holds vectors of {described['model']!r}, which isn't served now: {way_out}"
                raise FingerprintMismatch(message, param="collection")
            self._vectors = fingerprint, [_embedding(outcome) for outcome in encoded.outcomes]
        return self._vectors[1]

    async def _best(self, collection: str, vectors: Sequence[str]) -> list[float]:
        """The best score of each vector in the collection."""
        search = SearchPart.parse({"collection": collection, "k": 1, "include": []}).to_dict()
        reply = await self._index.search([{**search, "vector": vector} for vector in vectors])
        return [_score(result) for result in reply["results"] if result.get("hits") or result["status"] >= 400]


_SHOWN = {"median": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "highest": 1.0}


def _embedding(outcome: Any) -> str:
    if isinstance(outcome, ClipServeError):
        raise outcome
    vector: str = outcome["embedding"]
    return vector


def _score(result: Any) -> float:
    if result["status"] != 200:
        raise from_dict(result, result["status"])
    return msgspec.json.decode(result["hits"][0], type=_Scored).score


def _quantile(values: Sequence[float], share: float) -> float:
    """Between neighbours by their distance."""
    if share == 1.0 or len(values) == 1:
        return max(values)
    return quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]
