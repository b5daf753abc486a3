"""Collections on engines that cost much, and on one that does not answer."""

from __future__ import annotations

import asyncio
import importlib
import time
from contextlib import suppress
from itertools import count
from typing import Any

import orjson

from benchmarks.attacks.base import Attack, crowd, numbered
from benchmarks.attacks.freezing_proxy import FreezingProxy

FACTORIES = (
    "PQ{dim}x20",
    "PQ{dim}x22",
    "PQ512x20",
    "OPQ{dim},PQ{dim}x18",
    "IVF1000000_HNSW32,Flat",
    "IVF65536(IVF65536(IVF65536,Flat),Flat),PQ{dim}x16",
    "IDMap,IDMap2,IVF16384(HNSW512),SQ8,Refine(IVF16384,Flat)",
    "RQ64x16",
    "LSQ32x12",
    "PRQ4x8x14",
    "HNSW100000",
    "ITQ{dim},LSHrt",
    "PCA{dim},RR{dim},IVF4096_HNSW2048,PQ{half}x12",
)


class Factories(Attack):
    """FAISS factory strings that ask for gigabytes or for hours, each with writes afterwards."""

    name = "costly FAISS factories"

    async def prepare(self) -> None:
        dim = self.site.target.dim
        self._factories = [text.format(dim=dim, half=dim // 2) for text in FACTORIES]
        self._items, self._calls = numbered(dim, 200), count()

    async def run(self) -> None:
        await crowd(2, self._call)

    async def _call(self) -> None:
        number = next(self._calls)
        name, factory = f"attack-factory-{number}", self._factories[number % len(self._factories)]
        with suppress(RuntimeError):  # a factory that is refused
            await self.site.collection(name, engine="faiss", factory=factory)
            for _ in range(3):
                await self.site.public("POST", f"/v1/collections/{name}/items", {"items": self._items}, "write")


class HangingMilvus(Attack):
    """Milvus holds a collection's segment, then takes connections and says nothing any more."""

    name = "a Milvus that hangs"
    collection = "attack-milvus"
    _server: Any = None
    _proxy: FreezingProxy | None = None

    async def prepare(self) -> None:
        await self._listen()
        self._items = numbered(self.site.target.dim, 5000)
        await self.site.collection(self.collection, engine="milvus")
        await self.site.fill(self.collection, self._items, 1000)
        await self._merged(30.0)

    async def _listen(self) -> None:
        """milvus-lite behind a proxy; where it is not installed, the proxy leads nowhere from the start."""
        target = self.site.target
        try:
            server = importlib.import_module("milvus_lite.adapter.grpc.server")
            self._server, _, port = server.start_server_in_thread(f"{target.work}/milvus.db")
        except ImportError:
            port = target.closed_port
        self._proxy = FreezingProxy(port)
        await self._proxy.listen(target.milvus_port)

    async def _merged(self, seconds: float) -> None:
        """Until searches of the collection are Milvus's."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            status, content = await self.site.direct("GET", f"/collections/{self.collection}", label="wait")
            if status == 200 and b'"milvus"' in orjson.dumps(orjson.loads(content).get("segment")):
                self.site.tally["held by milvus"] += 1
                return
            await asyncio.sleep(0.2)

    async def run(self) -> None:
        assert self._proxy is not None
        self._proxy.freeze()
        search = {"collection": self.collection, "vector": self._items[0]["vector"], "k": 10}
        path = f"/v1/collections/{self.collection}/items"
        items = {"items": self._items[:500]}
        await asyncio.gather(
            crowd(2, lambda: self.site.public("POST", "/v1/search", search, "search")),
            crowd(1, lambda: self.site.public("POST", path, items, "write")),
        )

    async def clean(self) -> None:
        """The collection is dropped while Milvus hangs, as it would be."""
        await self.site.drop()
        if self._proxy is not None:
            self._proxy.close()
        if self._server is not None:
            self._server.stop(0)
