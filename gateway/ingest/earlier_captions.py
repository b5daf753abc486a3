"""Captions that items had before they are sent again: where a new one fails, the same picture keeps its own."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence

from clip_core.errors import ClipServeError
from gateway.ingest.item_captions import BY, CAPTION, put_caption
from gateway.ingest.items import IngestItem
from gateway.pictures.originals import DIGEST
from gateway.upstream.index_service import IndexServiceClient

_AT_ONCE = 16


async def keep_earlier(index: IndexServiceClient, collection: str, items: Sequence[IngestItem]) -> None:
    """Into the metadata of those that wanted a caption and got a warning. What has no digest is no picture."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(item: IngestItem) -> None:
        async with turns:
            await _keep(index, collection, item)

    wanting = [item for item in items if item.warning is not None and DIGEST in (item.metadata or {})]
    await asyncio.gather(*map(one, wanting))


async def _keep(index: IndexServiceClient, collection: str, item: IngestItem) -> None:
    try:
        earlier = (await index.item(collection, item.id, {})).get("metadata") or {}
    except ClipServeError:
        return  # it is new; or the index is away, which the item itself will say
    if item.warning is None or not earlier.get(CAPTION) or earlier.get(DIGEST) != item.metadata[DIGEST]:
        return
    put_caption(item, {name: earlier[name] for name in (CAPTION, BY) if name in earlier})
    item.warning = copy.copy(item.warning)  # which several items may share
    item.warning.message = f"{item.warning.message}; the caption that it had stays"
