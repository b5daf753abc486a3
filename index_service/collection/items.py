"""The items of one upsert: each is checked by itself, so that a bad one never stops its neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from clip_core.errors import BadInput, BadVector, ClipServeError
from clip_core.wire import FloatArray, decode_vector
from index_service.collection.bodies import MAX_ID, check_fields, metadata_json, new_item_id, source_json
from index_service.collection.vectors import as_kept, decode_all
from index_service.engines.base import Metric
from index_service.record.store import StoredItem

_FIELDS = frozenset(("id", "vector", "metadata", "source"))


@dataclass(frozen=True)
class UpsertBatch:
    """`items` with their `vectors` (N, D) are to be written; `results` is what the caller is told, in order."""

    items: list[StoredItem]
    vectors: FloatArray
    results: list[dict[str, Any]]


class _Parsed(NamedTuple):
    """One checked item."""

    id: str
    vector: FloatArray
    metadata: bytes
    source: bytes | None


def parse_items(bodies: list[Any], dim: int, metric: Metric, max_metadata: int) -> UpsertBatch:
    """For a collection of that dimension and metric; the last valid item of an id wins.

    Raises nothing: errors are in `results`.
    """
    results: list[dict[str, Any]] = []
    good: dict[str, tuple[int, _Parsed]] = {}
    decoded = decode_all([body.get("vector") if isinstance(body, dict) else None for body in bodies], dim, metric)
    for place, body in enumerate(bodies):
        try:
            parsed = _parse(body, dim, metric, max_metadata, None if decoded is None else decoded[place])
        except ClipServeError as error:
            results.append(_failed(body, error))
            continue
        if parsed.id in good:
            results[good.pop(parsed.id)[0]] = _failed(
                body, BadInput("a later item of this call has the same id", param="id")
            )
        good[parsed.id] = (place, parsed)
        results.append({"id": parsed.id, "status": 200})
    valid = [parsed for _, parsed in good.values()]
    vectors = np.stack([parsed.vector for parsed in valid]) if valid else np.empty((0, dim), np.float32)
    raw = np.ascontiguousarray(vectors, "<f4")
    items = [StoredItem(one.id, row.tobytes(), one.metadata, one.source) for one, row in zip(valid, raw, strict=True)]
    return UpsertBatch(items, vectors, results)


def _parse(body: object, dim: int, metric: Metric, max_metadata: int, vector: FloatArray | None) -> _Parsed:
    """`vector` when it was decoded with all others, and is known to be good."""
    if not isinstance(body, dict):
        raise BadInput("an item is an object")
    check_fields(body, _FIELDS)
    id_ = new_item_id(body.get("id"))
    if "vector" not in body:
        raise BadVector("the item has no `vector`", param="vector")
    if vector is None:
        vector = as_kept(decode_vector(body["vector"], dim), metric)
    return _Parsed(id_, vector, metadata_json(body.get("metadata"), max_metadata), source_json(body.get("source")))


def _failed(body: object, error: ClipServeError) -> dict[str, Any]:
    id_ = body.get("id") if isinstance(body, dict) else None
    return {"id": id_[:MAX_ID] if isinstance(id_, str) else None, "status": error.status, **error.to_dict()}
