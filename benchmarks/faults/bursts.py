"""Many requests of one text at the same moment: how many are refused, and how long the last one takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import aiohttp
import orjson

from scripts.stack.live_stack import LiveStack
from scripts.tune.load import in_process

PROMISED, STRETCH, STRETCH_MS = (100, 200, 400), 1000, 2000.0
PAUSE_S = 3.0
_numbers = count()


@dataclass(frozen=True)
class BurstReply:
    """`honest`: a refusal that says when to come again."""

    ms: float
    status: int
    honest: bool


def bursts(stack: LiveStack, texts: Sequence[str], rounds: int) -> dict[str, float]:
    """Figures by name. Each size comes `rounds` times, with a pause before each."""
    url = f"{stack.gateway}/v1/embeddings"
    figures: dict[str, float] = {}
    for size in (*PROMISED, STRETCH):
        replies: list[BurstReply] = []
        for _ in range(rounds):
            time.sleep(PAUSE_S)
            replies += burst(url, _bodies(texts, size))
        figures |= summary(size, replies)
    return figures


def _bodies(texts: Sequence[str], size: int) -> list[Any]:
    """None of them twice, so that none is cached."""
    return [{"input": f"{texts[n % len(texts)]}, burst {next(_numbers)}"} for n in range(size)]


def burst(url: str, bodies: list[Any]) -> list[BurstReply]:
    """All at once, each over a connection of its own."""
    replies: list[BurstReply] = in_process(_burst, url, bodies)
    return replies


async def _burst(url: str, bodies: list[Any]) -> list[BurstReply]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        return await asyncio.gather(*(_one(session, url, orjson.dumps(body)) for body in bodies))


async def _one(session: aiohttp.ClientSession, url: str, body: bytes) -> BurstReply:
    started = time.perf_counter()
    try:
        async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
            await answer.read()
            status, after = answer.status, answer.headers.get("Retry-After", "")
    except aiohttp.ClientError:
        status, after = 0, ""
    ms = (time.perf_counter() - started) * 1e3
    return BurstReply(ms, status, status == 429 and after.isdecimal() and int(after) >= 1)


def summary(size: int, replies: Sequence[BurstReply]) -> dict[str, float]:
    """Of one size: refused, the slowest answer, and the share answered in two seconds or honestly refused."""
    answered = [reply for reply in replies if reply.status == 200]
    good = [reply for reply in replies if reply.honest or (reply.status == 200 and reply.ms <= STRETCH_MS)]
    return {
        f"burst_{size}_refused": float(len(replies) - len(answered)),
        f"burst_{size}_slowest_ms": max((reply.ms for reply in answered), default=0.0),
        f"burst_{size}_good_share": len(good) / len(replies),
    }
