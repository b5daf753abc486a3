"""The handlers' client of the index service: a batch of searches in one call over a kept connection, or in few."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, TypeAlias

import msgspec
import orjson

from clip_core.errors import BadFilter, ClipServeError, IndexUnavailable, from_dict
from clip_core.index.keepalive_connection import JSON, KeepaliveConnection
from clip_core.tracing.spans import passed_on, stage
from clip_core.wire import FloatArray, Neighbours, SearchPart, encode_vector

Outcome: TypeAlias = Neighbours | ClipServeError
_MOST_SEARCHES, _MOST_BYTES = 1024, 16 << 20  # of a call: what the index service takes by default, and a quarter of it
_REFUSED = (400, 413)  # the call as a whole: one of its searches, or all of them together


@dataclass(frozen=True)
class Query:
    """One search: `vector` (D,) float32, unit norm."""

    vector: FloatArray
    part: SearchPart
    request_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {**self.part.to_dict(), "vector": encode_vector(self.vector), "request_id": self.request_id}


class _Result(msgspec.Struct):
    """The index service's answer to one search. The hits stay as they came."""

    status: int
    hits: msgspec.Raw = msgspec.Raw()
    certificate: dict[str, int] | None = None
    error: dict[str, Any] | None = None


class _Reply(msgspec.Struct):
    results: list[_Result]


_REPLY = msgspec.json.Decoder(_Reply)


class SearchClient:
    """`url` such as http://127.0.0.1:8090; not shared between threads."""

    def __init__(self, url: str, timeout_s: float = 5.0) -> None:
        self._connection = KeepaliveConnection(url, timeout_s)

    def search(self, fingerprint: str, queries: Sequence[Query]) -> list[Outcome]:
        """Neighbours or an error for each, in order: one call, or several for many queries.

        IndexUnavailable for those whose call the service doesn't answer, and for all after one that timed out.
        """
        texts = [_text(query) for query in queries]
        found = iter(self._chunks(fingerprint, [text for text in texts if isinstance(text, bytes)]))
        return [next(found) if isinstance(text, bytes) else text for text in texts]

    def _chunks(self, fingerprint: str, searches: list[bytes]) -> list[Outcome]:
        found: list[Outcome] = []
        try:
            for chunk in _chunked(searches):
                found += self._call(fingerprint, chunk)
        except TimeoutError as error:
            found += [_unanswered(error)] * (len(searches) - len(found))
        return found

    def _call(self, fingerprint: str, searches: list[bytes]) -> list[Outcome]:
        """Where the call as a whole is refused, each half is tried by itself: a search fails for what is its own."""
        body = b'{"fingerprint":%s,"searches":[%s]}' % (orjson.dumps(fingerprint), b",".join(searches))
        try:
            with stage("POST /search", kind="client", attributes={"clipserve.searches": len(searches)}):
                results = _parse(*self._connection.call("POST", "/search", body, _headers()), len(searches))
        except TimeoutError:
            raise
        except (OSError, HTTPException, ValueError) as error:  # ValueError: no JSON, or not as we know it
            return [_unanswered(error)] * len(searches)
        except ClipServeError as error:
            if error.status not in _REFUSED or len(searches) == 1:
                return [error] * len(searches)
            half = len(searches) // 2
            return self._call(fingerprint, searches[:half]) + self._call(fingerprint, searches[half:])
        return [_result(result) for result in results]


def _headers() -> dict[str, str]:
    parent = passed_on()
    return JSON if parent is None else {**JSON, "traceparent": parent}


def _text(query: Query) -> bytes | ClipServeError:
    try:
        return orjson.dumps(query.to_dict())
    except TypeError as error:
        return BadFilter(f"the filter is not JSON: {error}", param="filter")


def _chunked(searches: list[bytes]) -> Iterator[list[bytes]]:
    """In order, at most so many and so many bytes in each, and at least one."""
    chunk: list[bytes] = []
    size = 0
    for search in searches:
        if chunk and (len(chunk) == _MOST_SEARCHES or size + len(search) > _MOST_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(search)
        size += len(search)
    if chunk:
        yield chunk


def _unanswered(error: Exception) -> IndexUnavailable:
    return IndexUnavailable(f"the index service does not answer ({type(error).__name__})")


def _parse(status: int, data: bytes, expected: int) -> list[_Result]:
    if status != 200:
        raise from_dict(orjson.loads(data), status)
    results = _REPLY.decode(data).results
    if len(results) != expected:
        raise IndexUnavailable(f"the index service gave {len(results)} results for {expected} searches")
    return results


def _result(result: _Result) -> Outcome:
    if result.status != 200:
        return from_dict({"error": result.error}, result.status)
    if not result.hits:
        return IndexUnavailable("the index service gave an answer without hits")
    return Neighbours(bytes(result.hits), result.certificate)
