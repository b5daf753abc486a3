"""Other callers of the same parts: many at once, and some who go past the gateway."""

from __future__ import annotations

import asyncio
from itertools import count

from benchmarks.attacks.base import Attack, crowd


class DirectCallers(Attack):
    """Five callers of TorchServe itself with 256 searches each, which meet in one batch."""

    name = "five direct callers, 256 searches each"

    async def prepare(self) -> None:
        self._calls = count()

    async def run(self) -> None:
        await crowd(5, self._call)

    async def _call(self) -> None:
        texts = self.site.target.texts
        given = [{"text": f"{texts[n % len(texts)]} {next(self._calls)}"} for n in range(256)]
        body = {"input": given, "search": {"collection": "demo", "k": 10}}
        await self.site.send("POST", f"{self.site.target.inference}/predictions/clip_text", body)


class BurstFlood(Attack):
    """Another address, which sends 400 texts at once as soon as the 400 before are answered."""

    name = "floods of 400 by another caller"
    address = "127.0.0.2"

    async def prepare(self) -> None:
        self._calls = count()

    async def run(self) -> None:
        while True:
            await asyncio.gather(*(self._one() for _ in range(400)))

    async def _one(self) -> None:
        number = next(self._calls)
        text = f"{self.site.target.texts[number % len(self.site.target.texts)]} {number}"
        await self.site.public("POST", "/v1/embeddings", {"input": text, "encoding_format": "base64"})
