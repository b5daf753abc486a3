"""Searches that ask for much: large answers, large filters."""

from __future__ import annotations

import random
from itertools import cycle
from typing import Any

import orjson

from benchmarks.attacks.base import Attack, crowd


class LargeAnswers(Attack):
    """Two clients with 256 searches a call, 640 hits a search, each with its vector."""

    name = "batch search, k 640 with vectors"

    async def prepare(self) -> None:
        wanted = {"collection": "demo", "k": 640, "include": ["metadata", "vector"]}
        texts = self.site.target.texts
        self._body = orjson.dumps({"searches": [{**wanted, "text": texts[n % len(texts)]} for n in range(256)]})

    async def run(self) -> None:
        await crowd(2, lambda: self.site.public("POST", "/v1/search/batch", self._body))


class _Filters(Attack):
    """Two clients whose filters differ from call to call."""

    def filters(self) -> list[dict[str, Any]]:
        raise NotImplementedError

    async def prepare(self) -> None:
        search = {"collection": "demo", "text": "a star", "k": 10}
        self._bodies = cycle([orjson.dumps({**search, "filter": where}) for where in self.filters()])

    async def run(self) -> None:
        await crowd(2, lambda: self.site.public("POST", "/v1/search", next(self._bodies)))


class LargeFilters(_Filters):
    """Five filters of 16 MB."""

    name = "filters of 16 MB"

    def filters(self) -> list[dict[str, Any]]:
        return [{"color": {"$in": [f"{number}-{n}-{'x' * 1000}" for n in range(16_000)]}} for number in range(5)]


class LongLists(_Filters):
    """Eight filters with 100,000 numbers each."""

    name = "filters with $in of 100,000"

    def filters(self) -> list[dict[str, Any]]:
        return [{"n": {"$in": random.Random(seed).sample(range(10**9), 100_000)}} for seed in range(8)]
