"""Reads of one collection in Milvus: by id, in pages by id, counted. Each sees what its consistency says."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from clip_core.errors import Unavailable
from clip_core.wire import Consistency
from index_service.milvus.rows import RowColumns, ids_in, literal
from index_service.milvus.rpc import MilvusRpc, messages

_WINDOW = 16_384  # rows of one answer, Milvus' limit
_PAGE_BYTES = 24 << 20  # of one answer
_ROW_BYTES = 2048  # of an item without its vector, roughly
_IDS = 1000  # in one expression
_LEVELS = {"strong": "Strong", "session": "Session", "eventually": "Eventually"}


class Moment(NamedTuple):
    """What a read sees: everything up to `after`, a timestamp of Milvus, where it is `session`."""

    consistency: Consistency
    after: int

    def put_into(self, request: Any) -> None:
        """Ask for it in a search or a query."""
        request.consistency_level = messages("common").ConsistencyLevel.Value(_LEVELS[self.consistency])
        request.guarantee_timestamp = {"strong": 0, "session": max(self.after, 1), "eventually": 1}[self.consistency]


class MilvusReader:
    """Of the collection called `there` in Milvus, of dimension `dim`."""

    def __init__(self, rpc: MilvusRpc, there: str, dim: int) -> None:
        self._rpc, self._there, self._dim = rpc, there, dim

    def query(self, expression: str, fields: Sequence[str], moment: Moment, limit: int | None = None) -> RowColumns:
        """The first `limit` rows by id, or all, that the expression lets through.

        Milvus' own client also asks for `reduce_stop_for_best`: that ends an answer where a segment has no more rows.
        """
        pairs = {} if limit is None else {"limit": str(limit), "iterator": "True"}
        key_value = messages("common").KeyValuePair
        request = messages().QueryRequest(
            collection_name=self._there,
            expr=expression,
            output_fields=fields,
            query_params=[key_value(key=key, value=value) for key, value in pairs.items()],
        )
        moment.put_into(request)
        return RowColumns(self._rpc.call("Query", request).fields_data)

    def count(self, expression: str, moment: Moment) -> int:
        """How many rows the expression lets through."""
        return self.query(expression, ["count(*)"], moment).numbers("count(*)")[0]

    def by_ids(self, ids: Sequence[str], fields: Sequence[str], moment: Moment) -> Iterator[RowColumns]:
        """The rows of these ids, in any order."""
        step = min(_IDS, self.page_rows(fields))
        for start in range(0, len(ids), step):
            found = self.query(ids_in(ids[start : start + step]), fields, moment)
            if found.has("id"):
                yield found

    def pages(
        self, expression: str, fields: Sequence[str], moment: Moment, after: str = "", step: int | None = None
    ) -> Iterator[RowColumns]:
        """All rows behind the id `after`, by id, as many at a time as go into one answer, or `step`; with their ids."""
        step = min(step or _WINDOW, self.page_rows(fields))
        while True:
            bounds = [f"id > {literal(after)}", f"({expression})" if expression else ""]
            found = self.query(" and ".join(filter(None, bounds)), fields, moment, step)
            ids = found.texts("id") if found.has("id") else []
            if len(ids) > step or any(map(operator.ge, ids, ids[1:])):
                raise Unavailable("this version of Milvus lists items in another order: use one that is tested")
            if ids:
                yield found
            if len(ids) < step:
                return
            after = ids[-1]

    def page_rows(self, fields: Sequence[str]) -> int:
        """How many rows go into one answer."""
        row = self._dim * 4 * ("vector" in fields) + _ROW_BYTES * ("metadata" in fields) + 128
        return max(1, min(_WINDOW, _PAGE_BYTES // row))
