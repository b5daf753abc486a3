"""SIGTERM to `clipserve up` while clients search: does every request get an answer or the error envelope?"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import aiohttp
import orjson

from benchmarks.faults.neighbour import searches
from scripts.stack.live_stack import LiveStack
from scripts.tune.load import in_background

CLIENTS, BEFORE_S, MOST_S = 16, 2.0, 30.0
ENVELOPE = {"message", "type", "param", "code"}


def stop_under_load(stack: LiveStack, texts: Sequence[str]) -> dict[str, float]:
    """Figures by name; the stack has ended then."""
    bodies = searches(texts, 5000)
    with in_background(_clients, f"{stack.gateway}/v1/search", bodies) as answered:
        time.sleep(BEFORE_S)
        seconds = stack.stop()
        kinds: Counter[str] = answered()
    figures = {f"stop_{kind}": float(kinds[kind]) for kind in ("answer", "envelope", "neither", "cut", "refused")}
    return {**figures, "stop_unanswered": figures["stop_neither"] + figures["stop_cut"], "stop_s": seconds}


async def _clients(url: str, bodies: list[Any], _: asyncio.Event) -> Counter[str]:
    """Each goes on until its connection is refused; the ends of their requests, counted."""
    kinds: Counter[str] = Counter()

    async def client(first: int, session: aiohttp.ClientSession) -> None:
        number, deadline = first, time.monotonic() + MOST_S
        while time.monotonic() < deadline:
            kind = await _end(session, url, orjson.dumps(bodies[number % len(bodies)]))
            kinds[kind] += 1
            number += CLIENTS
            if kind == "refused":
                return

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(client(first, session) for first in range(CLIENTS)))
    return kinds


async def _end(session: aiohttp.ClientSession, url: str, body: bytes) -> str:
    try:
        async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
            return kind_of(answer.status, await answer.read())
    except aiohttp.ClientConnectorError:
        return "refused"
    except (aiohttp.ClientError, asyncio.TimeoutError):
        return "cut"


def kind_of(status: int, content: bytes) -> str:
    """answer, envelope, or neither."""
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return "neither"
    if status == 200 and isinstance(body, dict) and isinstance(body.get("hits"), list):
        return "answer"
    error = body.get("error") if isinstance(body, dict) else None
    return "envelope" if status >= 400 and isinstance(error, dict) and set(error) >= ENVELOPE else "neither"
