"""Work over a whole collection of 50,000 items: snapshots and facets."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import ClassVar

import orjson

from benchmarks.attacks.base import Attack, crowd, numbered

ROWS, FIELDS = 50_000, 24


class SnapshotCopies(Attack):
    """So many snapshots of one collection at once, made by the index service itself, while two writers go on."""

    name = "4 snapshots at once"
    at_once: ClassVar[int] = 4
    collection = "attack-snapshots"

    async def prepare(self) -> None:
        await self.site.collection(self.collection)
        self._items, self._calls = numbered(self.site.target.dim, ROWS), count()
        await self.site.fill(self.collection, self._items)

    async def run(self) -> None:
        make = f"/collections/{self.collection}/snapshots"
        await asyncio.gather(
            crowd(self.at_once, lambda: self.site.direct("POST", make, b"{}", "snapshot")), crowd(2, self._write)
        )

    async def _write(self) -> None:
        item = self._items[next(self._calls) % ROWS]
        await self.site.public("POST", f"/v1/collections/{self.collection}/items", {"items": [item]}, "write")

    async def clean(self) -> None:
        _, content = await self.site.direct("GET", f"/collections/{self.collection}/snapshots")
        for snapshot in orjson.loads(content or b"{}").get("snapshots", []):
            await self.site.direct("DELETE", f"/snapshots/{snapshot['name']}")


class ManySnapshots(SnapshotCopies):
    """As many as nobody needs."""

    name = "16 snapshots at once"
    at_once = 16


class ColdFacets(Attack):
    """Two clients who count fields that nobody has counted before; writes make them cold again."""

    name = "cold facets of 50,000 items"
    collection = "attack-facets"

    async def prepare(self) -> None:
        await self.site.collection(self.collection)
        self._items, self._calls = numbered(self.site.target.dim, ROWS), count()
        for n, item in enumerate(self._items):
            item["metadata"] = {f"f{field}": f"{(n * (field + 7)) % (100 * (field + 1))}" for field in range(FIELDS)}
        await self.site.fill(self.collection, self._items)

    async def run(self) -> None:
        await asyncio.gather(crowd(2, self._count), crowd(1, self._write))

    async def _count(self) -> None:
        first = next(self._calls)
        names = "&".join(f"field=f{(first * 5 + n) % FIELDS}" for n in range(8))
        await self.site.public("GET", f"/v1/collections/{self.collection}/facets?{names}&values=1000", label="facets")

    async def _write(self) -> None:
        await self.site.public(
            "POST", f"/v1/collections/{self.collection}/items", {"items": self._items[:200]}, "write"
        )
        await asyncio.sleep(0.5)
