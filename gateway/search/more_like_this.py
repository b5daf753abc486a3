"""More like this: item ids in a search, alone or as weighted parts, replaced by the vectors that the index holds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from clip_core.errors import ClipServeError, UnknownItem
from clip_core.wire import MAX_K, SearchPart
from gateway.encode.chunks import Ask
from gateway.inputs.source import Source
from gateway.upstream.index_service import IndexServiceClient


class MoreLikeThis:
    """Looks up each id once per search. The items themselves are left out of the hits."""

    def __init__(self, index: IndexServiceClient) -> None:
        self._index = index

    async def resolved(self, asks: Sequence[Ask]) -> list[Ask | ClipServeError]:
        """In order: each ask with vectors in place of ids, or its error."""
        if not any(liked_ids(ask.source) for ask in asks):
            return list(asks)
        return await asyncio.gather(*map(self._one, asks))

    async def _one(self, ask: Ask) -> Ask | ClipServeError:
        ids = liked_ids(ask.source)
        if not ids or ask.search is None or ask.page is None:
            return ask
        try:
            found = await asyncio.gather(*(self._vector(ask.search, item_id) for item_id in ids))
        except ClipServeError as error:
            error.param = ask.source.param if isinstance(error, UnknownItem) else error.param
            return error
        page = replace(ask.page, left_out=frozenset(ids))
        search = msgspec.structs.replace(ask.search, k=min(page.depth, MAX_K))
        return replace(ask, source=_filled(ask.source, dict(zip(ids, found, strict=True))), search=search, page=page)

    async def _vector(self, search: SearchPart, item_id: str) -> str:
        asked = {"include": "vector", "consistency": search.consistency}
        vector: str = (await self._index.item(search.collection, item_id, asked))["vector"]
        return vector


def liked_ids(source: Source) -> list[str]:
    """The ids that `source` names, each once."""
    if source.kind == "like":
        return [source.value]
    parts = source.value if source.kind == "query" else []
    return list(dict.fromkeys(part["like"] for part in parts if "like" in part))


def _filled(source: Source, vectors: dict[str, str]) -> Source:
    if source.kind == "like":
        return Source("vector", vectors[source.value], source.param)
    parts = [
        {"vector": vectors[part["like"]], "weight": part["weight"]} if "like" in part else part for part in source.value
    ]
    return replace(source, value=parts)
