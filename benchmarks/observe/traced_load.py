"""Requests of which a share is sampled: the caller says so in `traceparent`, and a stack that traces goes by that."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import orjson

from scripts.tune.load import Load, in_process


def traced(url: str, bodies: list[Any], clients: int, share: float | None, seed: int = 0) -> Load:
    """Every body once, by `clients` at once; `share` of them sampled, or, for None, without `traceparent`."""
    load: Load = in_process(_traced, url, bodies, clients, share, seed)
    return load


async def _traced(url: str, bodies: list[Any], clients: int, share: float | None, seed: int) -> Load:
    latencies: list[float] = []
    errors = 0
    given = zip(bodies, _headers(share, seed), strict=False)

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal errors
        for body, headers in given:  # shared: each client takes the next
            started = time.perf_counter()
            async with session.post(url, data=orjson.dumps(body), headers=headers) as answer:
                await answer.read()
                if answer.status == 200:
                    latencies.append((time.perf_counter() - started) * 1e3)
                else:
                    errors += 1

    connector = aiohttp.TCPConnector(limit=clients)
    async with aiohttp.ClientSession(connector=connector) as session:
        started = time.perf_counter()
        await asyncio.gather(*(client(session) for _ in range(clients)))
        return Load(latencies, errors, time.perf_counter() - started, [])


def _headers(share: float | None, seed: int) -> Iterator[dict[str, str]]:
    """Evenly spread: the n-th is sampled when n × share reaches the next whole number."""
    ids = random.Random(seed)
    common = {"Content-Type": "application/json"}
    for n in itertools.count(1):
        if share is None:
            yield common
            continue
        flag = "01" if int(n * share) > int((n - 1) * share) else "00"
        trace, span = ids.getrandbits(128) | 1, ids.getrandbits(64) | 1
        yield {**common, "traceparent": f"00-{trace:032x}-{span:016x}-{flag}"}
