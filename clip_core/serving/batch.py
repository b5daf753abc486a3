"""A batch of requests → their answers: flattened into one forward pass a modality and one index call, split again."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from clip_core.encode.encoded import Encoded
from clip_core.encode.encoders import Encoders
from clip_core.errors import ClipServeError
from clip_core.index.search_client import Query
from clip_core.inputs.request import Request
from clip_core.serving.answers import Answer, InputResult, failure, render
from clip_core.wire import Neighbours


class Index(Protocol):
    def search(self, fingerprint: str, queries: Sequence[Query]) -> list[Neighbours | ClipServeError]: ...


def answer(
    requests: Sequence[Request | ClipServeError],
    encoders: Encoders,
    index: Index,
    observe: Callable[[str, float], None] = lambda *_: None,
) -> list[Answer]:
    """One answer for each request, in order; an error in one never reaches another.

    `observe` is told the seconds of the batch's encoding, and of its searching when it searched.
    """
    good = [request for request in requests if isinstance(request, Request)]
    started = time.perf_counter()
    encoded = encoders.encode(
        [item for request in good for item in request.items],
        cut_long_texts=[request.cut_long_texts for request in good for _ in request.items],
    )
    middle = time.perf_counter()
    results = _search(_split(encoded, good), good, encoders.spec.fingerprint, index)
    encode_s, search_s = middle - started, time.perf_counter() - middle
    observe("clipserve_encode_seconds", encode_s)
    if any(request.search for request in good):
        observe("clipserve_search_seconds", search_s)
    timing = {"encode_ms": round(encode_s * 1e3, 3), "search_ms": round(search_s * 1e3, 3)}
    rendered = (render(request, own, encoders.spec, timing) for request, own in zip(good, results, strict=True))
    return [failure(request) if isinstance(request, ClipServeError) else next(rendered) for request in requests]


def _split(
    encoded: Sequence[Encoded | ClipServeError], requests: Sequence[Request]
) -> list[list[InputResult | ClipServeError]]:
    rest = iter(encoded)
    return [
        [InputResult(e) if isinstance(e, Encoded) else e for e in itertools.islice(rest, len(request.items))]
        for request in requests
    ]


def _search(
    results: list[list[InputResult | ClipServeError]], requests: Sequence[Request], fingerprint: str, index: Index
) -> list[list[InputResult | ClipServeError]]:
    """Every search of the batch in one call; requests without a `search` part pass through."""
    slots = [
        (row, column, Query(result.encoded.vector, request.search, request.request_id))
        for row, (request, own) in enumerate(zip(requests, results, strict=True))
        for column, result in enumerate(own)
        if request.search is not None and isinstance(result, InputResult)
    ]
    if not slots:
        return results
    answers = index.search(fingerprint, [query for _, _, query in slots])
    for (row, column, _), found in zip(slots, answers, strict=True):
        result = results[row][column]
        assert isinstance(result, InputResult)
        results[row][column] = found if isinstance(found, ClipServeError) else InputResult(result.encoded, found)
    return results
