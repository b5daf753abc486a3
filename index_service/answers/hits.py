"""What searches found, as answers that together are no larger than a limit: the smallest go first.

Sizes are known before anything is written: where each row's id and metadata end, and how long a vector is in base64.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import orjson

from clip_core.errors import ClipServeError, TooLarge
from clip_core.wire import FloatArray, encode_vector
from index_service.engines.base import ExactnessCertificate, IntArray
from index_service.record.store import CollectionInfo
from index_service.segments.view import View

HIT_BYTES, FIELD_BYTES = 48, 16  # what JSON adds to a hit, and to each further field of it


class Search(NamedTuple):
    """One checked search but for its `vector`, as the caller sent it; `place` is its place in the call."""

    place: int
    vector: object
    k: int
    include: Sequence[str]


class SearchBatch(NamedTuple):
    """Searches that run together, with their `queries` (B, D) float32, normalised as the collection's vectors are."""

    searches: list[Search]
    queries: FloatArray

    def at(self, chosen: list[int]) -> SearchBatch:
        """The searches at these positions."""
        return SearchBatch([self.searches[each] for each in chosen], self.queries[chosen])

    @property
    def most_k(self) -> int:
        """The largest `k`."""
        return max(search.k for search in self.searches)


class BatchAnswers(Protocol):
    """What a batch found, in whichever store."""

    @property
    def searches(self) -> list[Search]:
        """Which were asked."""
        ...

    @property
    def bound(self) -> int:
        """Bytes that the answers don't exceed."""
        ...

    @property
    def sizes(self) -> list[int]:
        """Bytes of each answer."""
        ...

    def answers(self, chosen: list[int]) -> Iterator[tuple[int, dict[str, Any]]]:
        """(place, answer) of those searches."""
        ...


def vector_bytes(info: CollectionInfo) -> int:
    """Of one vector in an answer."""
    return FIELD_BYTES + (info.dim * 16 + 2) // 3


def expected_bytes(info: CollectionInfo, view: View, search: Search) -> int:
    """Of the answer, if its rows are like all others and no filter leaves fewer than `k`."""
    rows = view.rows
    a_hit = HIT_BYTES + rows.ids.blobs.mean
    if "metadata" in search.include:
        a_hit += FIELD_BYTES + rows.metadata.mean
    if "vector" in search.include:
        a_hit += vector_bytes(info)
    return int(min(search.k, view.live) * a_hit)


@dataclass(frozen=True)
class FoundHits:
    """Of B searches in one `view`: for each of them its `rows` (≤ K,) of that view; `scores` are (B, K)."""

    info: CollectionInfo
    view: View
    searches: list[Search]
    rows: list[IntArray]
    scores: FloatArray
    certificates: Sequence[ExactnessCertificate | None]

    @property
    def bound(self) -> int:
        """Bytes that the answers don't exceed: as if every row were the longest."""
        rows = self.view.rows
        a_hit = HIT_BYTES + rows.ids.blobs.longest + rows.metadata.longest + self._vector_bytes
        return sum(map(len, self.rows)) * a_hit

    @cached_property
    def sizes(self) -> list[int]:
        """Bytes of each answer."""
        return [self._size(search, rows) for search, rows in zip(self.searches, self.rows, strict=True)]

    def _size(self, search: Search, rows: IntArray) -> int:
        columns = self.view.rows
        size = len(rows) * HIT_BYTES + int(columns.ids.blobs.sizes(rows).sum())
        if "metadata" in search.include:
            size += len(rows) * FIELD_BYTES + int(columns.metadata.sizes(rows).sum())
        return size + (len(rows) * self._vector_bytes if "vector" in search.include else 0)

    @property
    def _vector_bytes(self) -> int:
        return vector_bytes(self.info)

    def answers(self, chosen: list[int]) -> Iterator[tuple[int, dict[str, Any]]]:
        """(place, answer) of those searches."""
        rows = [self.rows[each] for each in chosen]
        ids = iter(self.view.rows.ids.at(np.concatenate(rows)) if rows else ())  # all at once
        for each, own in zip(chosen, rows, strict=True):
            search, certificate = self.searches[each], self.certificates[each]
            hits = _hits(self.view, ids, self.scores[each], own, search.include)
            yield search.place, answer_of(self.info, hits, certificate)


def answer_of(
    info: CollectionInfo, hits: list[dict[str, Any]], certificate: ExactnessCertificate | None
) -> dict[str, Any]:
    """The answer of one search, as the API shows it."""
    answer = {"status": 200, "hits": hits, "fingerprint": info.fingerprint, "dim": info.dim}
    return answer if certificate is None else {**answer, "certificate": certificate._asdict()}


def write_answers(found: Sequence[BatchAnswers], most: int, results: list[dict[str, Any] | None]) -> None:
    """Put the answers in their places; what would make them more than `most` bytes gets TooLarge."""
    if sum(part.bound for part in found) <= most:
        for part in found:
            _put(results, part.answers([*range(len(part.searches))]))
        return
    write_fitting(found, most, most, results)


def write_fitting(found: Sequence[BatchAnswers], room: int, most: int, results: list[dict[str, Any] | None]) -> int:
    """`write_answers` into the `room` left of `most` bytes; what is left then, below 0 when something got TooLarge."""
    fitting = _fitting(found, room)
    used, wanted = _bytes(found, fitting), _bytes(found, [range(len(part.searches)) for part in found])
    for part, chosen in zip(found, fitting, strict=True):
        _put(results, part.answers(chosen))
        refuse((part.searches[each] for each in {*range(len(part.searches))} - {*chosen}), most, results)
    return room - used if used == wanted else -1


def refuse(searches: Iterable[Search], most: int, results: list[dict[str, Any] | None]) -> None:
    """Their answers don't fit into `most` bytes."""
    for search in searches:
        results[search.place] = failed(_too_large(most))


def _bytes(found: Sequence[BatchAnswers], chosen: Sequence[Sequence[int]]) -> int:
    return sum(part.sizes[each] for part, own in zip(found, chosen, strict=True) for each in own)


def _put(results: list[dict[str, Any] | None], answers: Iterator[tuple[int, dict[str, Any]]]) -> None:
    for place, answer in answers:
        results[place] = answer


def _fitting(found: Sequence[BatchAnswers], most: int) -> list[list[int]]:
    """For each of `found` the searches that are answered."""
    sizes = sorted((size, n, each) for n, part in enumerate(found) for each, size in enumerate(part.sizes))
    within = np.cumsum([size for size, _, _ in sizes]) <= most
    chosen: list[list[int]] = [[] for _ in found]
    for (_, n, each), fits in zip(sizes, within.tolist(), strict=True):
        if fits:
            chosen[n].append(each)
    return chosen


def failed(error: ClipServeError) -> dict[str, Any]:
    """The result of a search that isn't answered."""
    return {"status": error.status, **error.to_dict()}


def _too_large(most: int) -> TooLarge:
    advice = "ask for fewer hits, leave vectors or metadata out, or send the searches in several calls"
    return TooLarge(f"the answers of this call are larger than {most} bytes: {advice}", param="k")


def _hits(
    view: View, ids: Iterator[str], scores: FloatArray, rows: IntArray, include: Sequence[str]
) -> list[dict[str, Any]]:
    """One for each of `rows`, whose `ids` come next; float32 scores are written with as many digits as float32 has."""
    named = zip(itertools.islice(ids, len(rows)), scores, strict=False)
    if "metadata" in include:
        texts = map(orjson.Fragment, view.rows.metadata.at(rows))
        hits = [{"id": id_, "score": score, "metadata": text} for (id_, score), text in zip(named, texts, strict=True)]
    else:
        hits = [{"id": id_, "score": score} for id_, score in named]
    if "vector" in include:
        for hit, row in zip(hits, rows.tolist(), strict=True):
            hit["vector"] = encode_vector(view.vector(row))
    return hits
