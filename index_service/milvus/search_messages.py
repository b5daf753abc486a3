"""The messages of searches: what all searches of one kind have in common is built once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from clip_core.wire import FloatArray
from index_service.metadata.bounded_cache import BoundedCache
from index_service.milvus.reading import Moment
from index_service.milvus.rpc import messages

WINDOW = 16_384  # hits of one search, Milvus' limit
_MAX_EF = 32_768
_KEPT_BYTES, _MESSAGE_BYTES = 4 << 20, 1024  # of messages, and of one beside its expression


class SearchMessages:
    """Of the collection called `there`; `ef` candidates are looked at, or all rows where that is None."""

    def __init__(self, there: str, ef: int | None) -> None:
        self._there, self._ef = there, ef

    def of(self, queries: FloatArray, k: int, expression: str, fields: Sequence[str], moment: Moment) -> Any:
        """The SearchRequest of `queries` (B, D)."""
        request = messages().SearchRequest()
        request.CopyFrom(_shared(self._there, self._ef, min(k, WINDOW), expression, tuple(fields)))
        request.placeholder_group = _placeholders(queries)
        request.nq = len(queries)
        moment.put_into(request)
        return request


_made: BoundedCache[tuple[object, ...], Any] = BoundedCache(_KEPT_BYTES)


def _shared(there: str, ef: int | None, k: int, expression: str, fields: tuple[str, ...]) -> Any:
    key = there, ef, k, expression, fields
    known = _made.get(key)
    if known is None:
        known = _new(*key)
        _made.put(key, known, len(expression) + _MESSAGE_BYTES)
    return known


def _new(there: str, ef: int | None, k: int, expression: str, fields: tuple[str, ...]) -> Any:
    common = messages("common")
    params = {
        "anns_field": "vector",
        "topk": str(k),
        "metric_type": "IP",
        "round_decimal": "-1",
        "params": orjson.dumps({} if ef is None else {"ef": min(max(ef, k), _MAX_EF)}).decode(),
    }
    return messages().SearchRequest(
        collection_name=there,
        dsl=expression,
        dsl_type=common.DslType.BoolExprV1,
        output_fields=fields,
        search_params=[common.KeyValuePair(key=key, value=value) for key, value in params.items()],
    )


def _placeholders(queries: FloatArray) -> bytes:
    common, width = messages("common"), 4 * queries.shape[1]
    raw = np.ascontiguousarray(queries, "<f4").tobytes()
    rows = [raw[start : start + width] for start in range(0, len(raw), width)]
    asked = common.PlaceholderValue(tag="$0", type=common.PlaceholderType.FloatVector, values=rows)
    group: bytes = common.PlaceholderGroup(placeholders=[asked]).SerializeToString()
    return group
