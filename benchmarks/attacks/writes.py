"""Writes that are large, and writes without end."""

from __future__ import annotations

import asyncio
from itertools import count, cycle

import orjson

from benchmarks.attacks.base import Attack, crowd, numbered

MB = 1_000_000


class LargeMetadata(Attack):
    """Four items with 30 MB of metadata each, written again and again and searched for."""

    name = "items with 30 MB of metadata"

    async def prepare(self) -> None:
        await self.site.collection("attack-metadata")
        items = numbered(self.site.target.dim, 4, note="x" * 30 * MB)
        self._bodies = cycle([orjson.dumps({"items": [item]}) for item in items])
        self._search = {"collection": "attack-metadata", "vector": items[0]["vector"], "k": 10}

    async def run(self) -> None:
        write = lambda: self.site.public("POST", "/v1/collections/attack-metadata/items", next(self._bodies), "write")  # noqa: E731
        search = lambda: self.site.public("POST", "/v1/search", self._search, "search")  # noqa: E731
        await asyncio.gather(crowd(2, write), crowd(2, search))


class LargeUpserts(Attack):
    """Two writers with 10,000 items a call, straight to the index service."""

    name = "upserts of 10,000 items"

    async def prepare(self) -> None:
        await self.site.collection("attack-upserts")
        given, dim = self.site.target.fingerprint, self.site.target.dim
        items = [numbered(dim, 10_000, first) for first in (0, 10_000)]
        self._bodies = cycle([orjson.dumps({"fingerprint": given, "items": each}) for each in items])

    async def run(self) -> None:
        path = "/collections/attack-upserts/items"
        await crowd(2, lambda: self.site.direct("POST", path, next(self._bodies)))


class WriteFlood(Attack):
    """Eight writers of 256 new items a call, so that merges follow one another."""

    name = "write flood with merges"

    async def prepare(self) -> None:
        await self.site.collection("attack-flood")
        self._items, self._calls = numbered(self.site.target.dim, 256), count()

    async def run(self) -> None:
        await crowd(8, self._write)

    async def _write(self) -> None:
        call = next(self._calls)
        items = [{**item, "id": f"{call}-{item['id']}"} for item in self._items]
        await self.site.public("POST", "/v1/collections/attack-flood/items", {"items": items}, "write")
