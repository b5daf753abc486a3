"""The searches of one call: each is checked by itself, those alike are scored together, each gets its own answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, takewhile
from typing import Any, NamedTuple

import numpy as np

from clip_core.errors import BadInput, ClipServeError, FingerprintMismatch
from clip_core.wire import MAX_K, Exactness, FloatArray, SearchPart, decode_vector
from index_service.collection.bodies import check_fields, where
from index_service.collection.collections import Collection
from index_service.collection.recall import Sample
from index_service.collection.registry import Registry
from index_service.collection.vectors import as_kept, decode_all
from index_service.engines.approximate.segment import ApproximateSegment
from index_service.engines.base import ExactnessCertificate, Found
from index_service.record.store import CollectionInfo
from index_service.search.hits import FoundHits, Search, expected_bytes, failed, refuse, write_answers, write_fitting
from index_service.segments.segments import View

_Find = Callable[[str], Collection]
_COST_OF_PARSING, _COST_OF_BYTE = 100_000, 10  # of one search and of its answer, in the unit of View.cost
_FIELDS = frozenset(("collection", "vector", "k", "filter", "include", "exact", "request_id"))
_BYTES_OF_HIT = 64
LARGE_BYTES, _LARGE_COST = 4 << 20, 20 * 10**9  # from which calls take turns: some tenths of a second, some seconds
_MORE = 4  # times as much, at most, in one turn as in the one before
_COST_OF_ASKING = 10**9  # another process, for which the event loop never waits


class SearchGroup(NamedTuple):
    """What searches must share to be scored in one call of the engine; `where` is a canonical filter."""

    collection: Collection
    where: bytes | None
    exact: Exactness


class SearchBatch(NamedTuple):
    """The searches of a group; `queries` (B, D) are as their collection's vectors are."""

    searches: list[Search]
    queries: FloatArray

    def at(self, chosen: list[int]) -> SearchBatch:
        """Some of them."""
        return SearchBatch([self.searches[each] for each in chosen], self.queries[chosen])


class _Sized(NamedTuple):
    """The search `at` this place of its group's batch, and what its answer is expected to take."""

    bytes: int
    place: int
    group: SearchGroup
    at: int


@dataclass(frozen=True)
class SearchCall:
    """All of a call's searches; `results` holds the errors found so far, and None where a search is to run."""

    batches: dict[SearchGroup, SearchBatch]
    results: list[dict[str, Any] | None]
    samples: list[Sample]

    @property
    def cost(self) -> int:
        """Roughly how long `run` takes, in multiplications."""
        return sum(_cost(*each) for each in self.batches.items()) + len(self.results) * _COST_OF_PARSING

    @property
    def expected_bytes(self) -> int:
        """Roughly how large the answers would be together."""
        return sum(
            _hits(group, batch) * (_BYTES_OF_HIT + int(_bytes_of_row(group, batch)))
            for group, batch in self.batches.items()
        )

    @property
    def large(self) -> bool:
        """Whether so much is to be searched or written that calls like this one take turns."""
        return self.expected_bytes > LARGE_BYTES or self.cost > _LARGE_COST

    def run(self, most_bytes: int) -> tuple[list[dict[str, Any] | None], float]:
        """The answers in order, no larger than `most_bytes`, and the milliseconds that searching took."""
        started = time.perf_counter()
        if self.expected_bytes <= most_bytes:
            write_answers([self._run(*each) for each in self.batches.items()], most_bytes, self.results)
        else:
            self._run_in_turns(most_bytes)
        return self.results, (time.perf_counter() - started) * 1e3

    def _run_in_turns(self, most: int) -> None:
        """Those with the smallest expected answers first; what comes after one that didn't fit isn't searched.

        A turn has as many as are expected to fit, judged by how much smaller the answers of the one before were.
        """
        left, room, share = self._by_size(), most, most
        while left and room >= 0:
            turn = _turn(left, share)
            left = left[len(turn) :]
            found = [self._run(group, batch.at(chosen)) for group, batch, chosen in self._grouped(turn)]
            before, room = room, write_fitting(found, room, most, self.results)
            shrunk = sum(one.bytes for one in turn) / max(before - room, 1)
            share = min(_MORE * share, int(room * shrunk))
        refuse((self.batches[one.group].searches[one.at] for one in left), most, self.results)

    def _by_size(self) -> list[_Sized]:
        """Every search, the one with the smallest expected answer first."""
        sized = (
            _Sized(expected_bytes(group.collection.info, group.collection.view, search), search.place, group, at)
            for group, batch in self.batches.items()
            for at, search in enumerate(batch.searches)
        )
        return sorted(sized, key=lambda one: (one.bytes, one.place))

    def _grouped(self, turn: list[_Sized]) -> Iterator[tuple[SearchGroup, SearchBatch, list[int]]]:
        for group, batch in self.batches.items():
            chosen = [one.at for one in turn if one.group is group]
            if chosen:
                yield group, batch, chosen

    def _run(self, group: SearchGroup, batch: SearchBatch) -> FoundHits:
        view, info, searches = group.collection.view, group.collection.info, batch.searches
        (scores, rows), certificates = self._found(view, group, batch)
        wanted = [row[: search.k][row[: search.k] >= 0] for row, search in zip(rows, searches, strict=True)]
        return FoundHits(info, view, searches, wanted, scores, certificates)

    def _found(
        self, view: View, group: SearchGroup, batch: SearchBatch
    ) -> tuple[Found, Sequence[ExactnessCertificate | None]]:
        queries, k = batch.queries, _most(batch)
        group.collection.note_query(queries[0])
        if group.exact == "certified":
            return view.certify(queries, k, group.where)
        scores, rows = view.search(queries, k, group.where, group.exact)
        if not group.exact and view.approximate:
            tally, found = group.collection.recall, scores[0][rows[0] >= 0]
            self.samples.append(Sample(tally, view, queries[0], group.where, found))
        return (scores, rows), [None] * len(queries)


def parse_call(bodies: list[Any], fingerprint: str | None, registry: Registry, max_k: int = MAX_K) -> SearchCall:
    """Check and group the searches. Raises nothing but Unavailable: errors of a search are in `results`.

    A name is looked up once a call, so that searches by one alias are never answered by two collections.
    """
    groups: dict[SearchGroup, list[Search]] = {}
    results: list[dict[str, Any] | None] = []
    find = cache(lambda name: registry.get(name, fingerprint))
    for place, body in enumerate(bodies):
        try:
            group, search = _parse(place, body, fingerprint, find, max_k)
        except ClipServeError as error:
            results.append(failed(error))
            continue
        groups.setdefault(group, []).append(search)
        results.append(None)
    batches = {group: _decoded(group.collection.info, searches, results) for group, searches in groups.items()}
    return SearchCall({group: batch for group, batch in batches.items() if batch.searches}, results, [])


def _parse(place: int, body: object, fingerprint: str | None, find: _Find, max_k: int) -> tuple[SearchGroup, Search]:
    part = SearchPart.parse(body)
    if isinstance(body, dict):
        check_fields(body, _FIELDS)
    collection = find(part.collection)
    check_fingerprint(collection, fingerprint)
    if not isinstance(body, dict) or "vector" not in body:
        raise BadInput("the search has no `vector`", param="vector")
    if part.k > max_k:
        raise BadInput(f"`k` is a whole number from 1 to {max_k}", param="k")
    return SearchGroup(collection, where(part.filter), part.exact), Search(place, body["vector"], part.k, part.include)


def _decoded(info: CollectionInfo, searches: list[Search], results: list[dict[str, Any] | None]) -> SearchBatch:
    """The searches whose vectors are good; for the others their error is in `results`."""
    queries = decode_all([search.vector for search in searches], info.dim, info.metric)
    if queries is not None:
        return SearchBatch(searches, queries)
    rows = [_row(info, search, results) for search in searches]
    good = [(search, row) for search, row in zip(searches, rows, strict=True) if row is not None]
    return SearchBatch([search for search, _ in good], np.array([row for _, row in good]))


def _row(info: CollectionInfo, search: Search, results: list[dict[str, Any] | None]) -> FloatArray | None:
    try:
        return as_kept(decode_vector(search.vector, info.dim), info.metric)
    except ClipServeError as error:
        results[search.place] = failed(error)
        return None


def _turn(left: list[_Sized], share: int) -> list[_Sized]:
    """As many of the first as are expected to take `share` bytes, one at least."""
    within = takewhile(lambda total: total <= share, accumulate(one.bytes for one in left))
    return left[: max(1, sum(1 for _ in within))]


def _cost(group: SearchGroup, batch: SearchBatch) -> int:
    """Of searching, and of writing what is found."""
    view = group.collection.view
    written = _hits(group, batch) * _bytes_of_row(group, batch) * _COST_OF_BYTE
    main = view.rows.main
    far = _COST_OF_ASKING if isinstance(main, ApproximateSegment) and main.remote else 0
    return view.cost(len(batch.searches), _most(batch), group.where, group.exact) + int(written) + far


def _hits(group: SearchGroup, batch: SearchBatch) -> int:
    """How many there may be."""
    return len(batch.searches) * min(_most(batch), group.collection.view.live)


def _bytes_of_row(group: SearchGroup, batch: SearchBatch) -> float:
    """What a hit shows of its row."""
    vector = 16 * group.collection.info.dim // 3 if any("vector" in search.include for search in batch.searches) else 0
    return group.collection.view.rows.metadata.mean + vector


def _most(batch: SearchBatch) -> int:
    return max(search.k for search in batch.searches)


def check_fingerprint(collection: Collection, fingerprint: str | None) -> None:
    """Raises FingerprintMismatch when the caller's vectors come from another model; None means its own vectors."""
    info = collection.info
    if fingerprint is not None and fingerprint != info.fingerprint:
        raise FingerprintMismatch(
            f"the collection {info.name} holds vectors of {info.model} ({info.fingerprint}), not of {fingerprint}",
            param="fingerprint",
        )
