"""Reads of one collection in Milvus: by id, in pages by id, counted. Each sees what its consistency says."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from clip_core.errors import TooLarge, Unavailable
from clip_core.wire import Consistency
from index_service.milvus.rows import RowColumns, ids_in, literal
from index_service.milvus.rpc import MilvusRpc, messages

_WINDOW = 16_384  # rows of one answer, Milvus' limit
_PAGE_BYTES = 24 << 20  # of one answer
_METADATA_BYTES = 24 << 10  # of an item, where nothing is known of the collection's
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
        self.metadata_bytes: int | None = None  # of an item, as those that were seen last; None: none was

    def saw(self, documents: Sequence[bytes]) -> None:
        """Note how large the metadata of items is: pages hold fewer of large ones."""
        if documents:
            mean = sum(map(len, documents)) // len(documents)
            self.metadata_bytes = mean if self.metadata_bytes is None else max(mean, (mean + self.metadata_bytes) // 2)

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
        start, most = 0, _IDS
        while start < len(ids):
            step = min(most, self.page_rows(fields))
            found = self._fitting(ids_in(ids[start : start + step]), fields, moment, None, step)
            if found is None:
                most = max(1, step // 4)
                continue
            start += step
            if found.has("id"):
                yield found

    def pages(
        self, expression: str, fields: Sequence[str], moment: Moment, after: str = "", most: int = _WINDOW
    ) -> Iterator[RowColumns]:
        """All rows behind `after`, by id, with their ids: as many at a time as go into one answer, up to `most`."""
        while True:
            step = min(most, self.page_rows(fields))
            bounds = [f"id > {literal(after)}", f"({expression})" if expression else ""]
            found = self._fitting(" and ".join(filter(None, bounds)), fields, moment, step, step)
            if found is None:
                most = max(1, step // 4)
                continue
            ids = found.texts("id") if found.has("id") else []
            if len(ids) > step or any(map(operator.ge, ids, ids[1:])):
                raise Unavailable("this version of Milvus lists items in another order: use one that is tested")
            if not ids:  # a page is short before the end, too, where some of it was deleted just now
                return
            yield found
            after = ids[-1]

    def _fitting(
        self, expression: str, fields: Sequence[str], moment: Moment, limit: int | None, rows: int
    ) -> RowColumns | None:
        """As `query`; None where so many `rows`, and not one alone, are more than Milvus gives at once."""
        try:
            found = self.query(expression, fields, moment, limit)
        except TooLarge:
            if rows == 1:
                raise
            return None
        if "metadata" in fields and found.has("metadata"):
            self.saw(found.documents("metadata"))
        return found

    def page_rows(self, fields: Sequence[str]) -> int:
        """How many rows go into one answer."""
        metadata = _METADATA_BYTES if self.metadata_bytes is None else self.metadata_bytes
        row = self._dim * 4 * ("vector" in fields) + metadata * ("metadata" in fields) + 128
        return max(1, min(_WINDOW, _PAGE_BYTES // row))
