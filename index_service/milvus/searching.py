"""Searches of one collection in Milvus, and their answers.

Where an expression leaves some items open (`expressions.py`), more candidates are asked for than hits, and the filter
itself decides. Where too few of them pass, and always for exact searches, every item that may pass is read and scored
here, as brute force does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import orjson

from clip_core.errors import TooLarge
from clip_core.wire import Exactness, FloatArray, encode_vector
from index_service.answers.hits import FIELD_BYTES, HIT_BYTES, Search, SearchBatch, answer_of, vector_bytes
from index_service.engines.base import ExactnessCertificate
from index_service.metadata.filters import compile_filter
from index_service.milvus.expressions import expression_of
from index_service.milvus.reading import MilvusReader, Moment
from index_service.milvus.rows import RowColumns
from index_service.milvus.rpc import MilvusRpc
from index_service.milvus.search_messages import WINDOW, SearchMessages
from index_service.record.records import CollectionInfo

_MORE = 4  # times as many candidates as hits


class MilvusHit(NamedTuple):
    """`metadata` and `vector` where they were asked for."""

    id: str
    score: float
    metadata: bytes | None
    vector: FloatArray | None


@dataclass(frozen=True)
class MilvusAnswers:
    """What B searches found: hits by score for each of them."""

    info: CollectionInfo
    searches: list[Search]
    hits: list[list[MilvusHit]]
    certificate: ExactnessCertificate | None = None

    @property
    def bound(self) -> int:
        """Bytes that the answers don't exceed."""
        return sum(self.sizes)

    @cached_property
    def sizes(self) -> list[int]:
        """Bytes of each answer."""
        return [
            sum(self._size(search, hit) for hit in hits) for search, hits in zip(self.searches, self.hits, strict=True)
        ]

    def _size(self, search: Search, hit: MilvusHit) -> int:
        size = HIT_BYTES + len(hit.id.encode())
        if "metadata" in search.include:
            size += FIELD_BYTES + len(hit.metadata or b"")
        return size + (vector_bytes(self.info) if "vector" in search.include else 0)

    def answers(self, chosen: list[int]) -> Iterator[tuple[int, dict[str, Any]]]:
        """(place, answer) of those searches."""
        for each in chosen:
            search = self.searches[each]
            hits = [_shown(hit, search.include) for hit in self.hits[each]]
            yield search.place, answer_of(self.info, hits, self.certificate)


def _shown(hit: MilvusHit, include: Sequence[str]) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": hit.id, "score": np.float32(hit.score)}
    if "metadata" in include:
        shown["metadata"] = orjson.Fragment(hit.metadata or b"{}")
    if "vector" in include and hit.vector is not None:
        shown["vector"] = encode_vector(hit.vector)
    return shown


class MilvusSearcher:
    """Of the collection called `there`; `ef` candidates are looked at by an approximate search."""

    def __init__(self, rpc: MilvusRpc, there: str, info: CollectionInfo, reader: MilvusReader, ef: int) -> None:
        self._rpc, self._info, self._reader = rpc, info, reader
        self._messages = SearchMessages(there, None if info.engine == "exact" else ef)

    def search(self, batch: SearchBatch, where: bytes | None, exact: Exactness, moment: Moment) -> MilvusAnswers:
        """What the searches find."""
        fields = [name for name in ("metadata", "vector") if any(name in each.include for each in batch.searches)]
        if exact or self._info.recall_target == 1.0:
            hits, scored = self._scan(batch.queries, batch.most_k, where, fields, moment)
            certificate = ExactnessCertificate(0, scored) if exact == "certified" else None
        else:
            hits, certificate = self._approximate(batch.queries, batch.most_k, where, fields, moment), None
        wanted = [found[: search.k] for found, search in zip(hits, batch.searches, strict=True)]
        return MilvusAnswers(self._info, batch.searches, wanted, certificate)

    def _approximate(
        self, queries: FloatArray, k: int, where: bytes | None, fields: Sequence[str], moment: Moment
    ) -> list[list[MilvusHit]]:
        if where is None:
            return self._sure(self._asked(queries, k, "", fields, moment)[0], queries, k, None, fields, moment)
        expression = expression_of(where)
        if expression.exact:
            hits, partial = self._asked(queries, k, expression.candidates, [*fields, "partial"], moment)
            if not partial:
                return self._sure(hits, queries, k, where, fields, moment)
        try:
            found, _ = self._asked(
                queries, min(_MORE * k, WINDOW), expression.candidates, [*{*fields, "metadata"}], moment
            )
        except TooLarge:
            return self._scan(queries, k, where, fields, moment)[0]
        passes = compile_filter(where)
        passed = [[hit for hit in hits if passes(orjson.loads(hit.metadata or b"{}"))][:k] for hits in found]
        return self._sure(passed, queries, k, where, fields, moment)

    def _sure(
        self,
        hits: list[list[MilvusHit]],
        queries: FloatArray,
        k: int,
        where: bytes | None,
        fields: Sequence[str],
        moment: Moment,
    ) -> list[list[MilvusHit]]:
        """The hits, or those of a scan where some search has fewer than there are: a graph may lead to fewer items."""
        least = min(map(len, hits))
        if least < k and least < self._reader.count(candidates(where), moment):
            return self._scan(queries, k, where, fields, moment)[0]
        return hits

    def _asked(
        self, queries: FloatArray, k: int, expression: str, fields: Sequence[str], moment: Moment
    ) -> tuple[list[list[MilvusHit]], bool]:
        """What Milvus finds, and whether any hit of it is of a partial item. Raises TooLarge for one search alone."""
        try:
            return self._asked_at_once(queries, k, expression, fields, moment)
        except TooLarge:
            if len(queries) == 1:
                raise
        half = len(queries) // 2
        parts = [self._asked(some, k, expression, fields, moment) for some in (queries[:half], queries[half:])]
        return [hits for found, _ in parts for hits in found], any(partial for _, partial in parts)

    def _asked_at_once(
        self, queries: FloatArray, k: int, expression: str, fields: Sequence[str], moment: Moment
    ) -> tuple[list[list[MilvusHit]], bool]:
        request = self._messages.of(queries, k, expression, fields, moment)
        found = self._rpc.call("Search", request).results
        columns, ids, scores = RowColumns(found.fields_data), list(found.ids.str_id.data), list(found.scores)
        count = len(ids)
        documents: Sequence[bytes | None] = [None] * count
        if "metadata" in fields and count:
            documents = seen = columns.documents("metadata")
            self._reader.saw(seen)
        vectors = columns.vectors() if "vector" in fields and count else [None] * count
        hits = list(map(MilvusHit, ids, scores, documents, vectors))
        partial = "partial" in fields and count > 0 and any(columns.flags("partial"))
        return _split(hits, found.topks, len(queries)), partial

    def _scan(
        self, queries: FloatArray, k: int, where: bytes | None, fields: Sequence[str], moment: Moment
    ) -> tuple[list[list[MilvusHit]], int]:
        """The best k of all items that pass, in float64, ties by id; and how many passed."""
        best = BestItems(queries, k)
        for columns in self.passing(where, ["id", "vector", "metadata"], moment):
            best.add(columns.ids, columns.vectors, columns.documents)
        return best.hits("vector" in fields), best.scored

    def passing(self, where: bytes | None, fields: Sequence[str], moment: Moment) -> Iterator[Passing]:
        """Every item that the canonical filter lets through, by id, page by page."""
        return passing(self._reader, where, fields, moment)


class Passing(NamedTuple):
    """Items of a page that pass a filter; `vectors` (N, D) is empty where they weren't asked for."""

    ids: list[str]
    vectors: FloatArray
    documents: list[bytes]


def candidates(where: bytes | None) -> str:
    """The expression of items that the canonical filter may let through."""
    return "" if where is None else expression_of(where).candidates


def passing(
    reader: MilvusReader,
    where: bytes | None,
    fields: Sequence[str],
    moment: Moment,
    after: str = "",
    most: int = WINDOW,
) -> Iterator[Passing]:
    """Items behind the id `after` that the canonical filter lets through, by id, page by page."""
    asked = [*dict.fromkeys((*fields, "metadata"))]
    if where is None:
        for columns in reader.pages("", asked, moment, after, most):
            yield _passing(columns, fields, None)
        return
    expression, passes = expression_of(where), compile_filter(where)
    asked += ["partial"]
    for columns in reader.pages(expression.candidates, asked, moment, after, most):
        documents, partial = columns.documents("metadata"), columns.flags("partial")
        looked = zip(documents, partial, strict=True)
        kept = [
            n
            for n, (text, doubt) in enumerate(looked)
            if (expression.exact and not doubt) or passes(orjson.loads(text))
        ]
        yield _passing(columns, fields, kept)


def _passing(columns: RowColumns, fields: Sequence[str], kept: list[int] | None) -> Passing:
    ids, documents = columns.texts("id"), columns.documents("metadata")
    vectors = columns.vectors() if "vector" in fields else np.empty((0, 0), np.float32)
    if kept is None or len(kept) == len(ids):
        return Passing(ids, vectors, documents)
    return Passing([ids[n] for n in kept], vectors[kept] if len(vectors) else vectors, [documents[n] for n in kept])


class BestItems:
    """The best k of all items that are added, for each of `queries` (B, D)."""

    def __init__(self, queries: FloatArray, k: int) -> None:
        self._queries, self._k, self.scored = queries.astype(np.float64), k, 0
        self._kept: list[list[tuple[float, str, bytes, FloatArray]]] = [[] for _ in queries]

    def add(self, ids: Sequence[str], vectors: FloatArray, documents: Sequence[bytes]) -> None:
        """(N,) items with their vectors (N, D)."""
        self.scored += len(ids)
        if not ids:
            return
        scores = (self._queries @ vectors.T.astype(np.float64)).astype(np.float32)
        for kept, row in zip(self._kept, scores, strict=True):
            best = np.argsort(-row, kind="stable")[: self._k].tolist()
            kept += [(float(row[n]), ids[n], documents[n], vectors[n]) for n in best]
            kept.sort(key=lambda each: (-each[0], each[1]))
            del kept[self._k :]

    def hits(self, vectors: bool) -> list[list[MilvusHit]]:
        """By score."""
        return [
            [MilvusHit(id_, score, text, vector if vectors else None) for score, id_, text, vector in kept]
            for kept in self._kept
        ]


def _split(hits: list[MilvusHit], counts: Sequence[int], queries: int) -> list[list[MilvusHit]]:
    """One after the other, as many as `counts` says for each query."""
    found, start = [], 0
    for count in counts or [0] * queries:
        found.append(hits[start : start + count])
        start += count
    return found
