"""The handlers' client of the index service: a whole batch of searches in one call over a kept connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

import orjson

from clip_core.errors import ClipServeError, IndexUnavailable, from_dict
from clip_core.kept_connection import KeptConnection
from clip_core.wire import FloatArray, Neighbours, SearchPart, encode_vector


@dataclass(frozen=True)
class Query:
    """One search: `vector` (D,) float32, unit norm."""

    vector: FloatArray
    part: SearchPart
    request_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {**self.part.to_dict(), "vector": encode_vector(self.vector), "request_id": self.request_id}


class IndexClient:
    """`url` such as http://127.0.0.1:8090; not shared between threads."""

    def __init__(self, url: str, timeout_s: float = 5.0) -> None:
        self._connection = KeptConnection(url, timeout_s)

    def search(self, fingerprint: str, queries: Sequence[Query]) -> list[Neighbours | ClipServeError]:
        """Neighbours or an error for each, in order; IndexUnavailable for all when the service can't be reached."""
        body = {"fingerprint": fingerprint, "searches": [query.to_dict() for query in queries]}
        try:
            results = _parse(*self._connection.call("POST", "/search", orjson.dumps(body)), len(queries))
        except (OSError, HTTPException, orjson.JSONDecodeError) as error:
            reason = type(error).__name__
            return [IndexUnavailable(f"the index service does not answer ({reason})")] * len(queries)
        except ClipServeError as error:
            return [error] * len(queries)
        return [_result(result) for result in results]


def _parse(status: int, data: bytes, expected: int) -> list[dict[str, Any]]:
    body = orjson.loads(data)
    if status != 200:
        raise from_dict(body, status)
    results: list[dict[str, Any]] = body["results"]
    if len(results) != expected:
        raise IndexUnavailable(f"the index service gave {len(results)} results for {expected} searches")
    return results


def _result(result: dict[str, Any]) -> Neighbours | ClipServeError:
    if result["status"] != 200:
        return from_dict(result, result["status"])
    return Neighbours(result["hits"], result.get("certificate"))
