"""The body of a search call → checked searches, grouped by what they have in common."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from clip_core.errors import BadInput, ClipServeError, FingerprintMismatch, Unavailable
from clip_core.wire import MAX_K, FloatArray, SearchPart, decode_vector
from index_service.answers.hits import Search, SearchBatch, failed
from index_service.collection.bodies import check_fields, where
from index_service.collection.registry import Registry
from index_service.collection.stored import StoredCollection
from index_service.collection.vectors import as_kept, decode_all
from index_service.record.store import CollectionInfo
from index_service.search.call import SearchCall
from index_service.search.groups import SearchGroup

_Find = Callable[[str], StoredCollection]
_FIELDS = frozenset((*SearchPart.__struct_fields__, "vector", "request_id"))


def parse_call(bodies: list[Any], fingerprint: str | None, registry: Registry, max_k: int = MAX_K) -> SearchCall:
    """Check and group the searches. Raises Unavailable while loading, and where no collection of them can answer.

    Errors of single searches are in `results`.

    A name is looked up once a call, so that searches by one alias are never answered by two collections.
    """
    groups: dict[SearchGroup, list[Search]] = {}
    results: list[dict[str, Any] | None] = []
    away: list[Unavailable] = []
    find = cache(lambda name: registry.get(name, fingerprint))
    for place, body in enumerate(bodies):
        try:
            group, search = _parse(place, body, fingerprint, find, max_k)
        except ClipServeError as error:
            results.append(failed(error))
            away += [error] if isinstance(error, Unavailable) else []
            continue
        groups.setdefault(group, []).append(search)
        results.append(None)
    if away and len(away) == len(bodies):
        raise away[0]
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
    group = SearchGroup(collection, where(part.filter), part.exact, part.consistency)
    return group, Search(place, body["vector"], part.k, part.include)


def _decoded(info: CollectionInfo, searches: list[Search], results: list[dict[str, Any] | None]) -> SearchBatch:
    """The searches whose vectors are valid; the errors of the others go into `results`."""
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


def check_fingerprint(collection: StoredCollection, fingerprint: str | None) -> None:
    """Raises FingerprintMismatch when the caller's vectors come from another model; None means its own vectors."""
    info = collection.info
    if fingerprint is not None and fingerprint != info.fingerprint:
        raise FingerprintMismatch(
            f"the collection {info.name} holds vectors of {info.model} ({info.fingerprint}), not of {fingerprint}: "
            f"{FingerprintMismatch.ways_out(info.name, info.model)}",
            param="fingerprint",
        )
