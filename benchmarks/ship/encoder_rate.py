"""How many texts a second one TorchServe encodes, asked without a gateway; no text is asked for twice."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from itertools import count

import aiohttp

_numbers = count()


@dataclass(frozen=True)
class EncoderAddress:
    """Where it is reached."""

    inference: str
    management: str


def rate(target: EncoderAddress, callers: int, seconds: float) -> float:
    """Answers a second to so many callers. Raises aiohttp.ClientError for an answer that is no 200."""
    return asyncio.run(_rate(f"{target.inference}/predictions/clip_text", callers, seconds))


async def _rate(url: str, callers: int, seconds: float) -> float:
    started = time.monotonic()
    ends = started + seconds
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        counts = await asyncio.gather(*(_caller(session, url, ends) for _ in range(callers)))
    return sum(counts) / (time.monotonic() - started)


async def _caller(session: aiohttp.ClientSession, url: str, ends: float) -> int:
    done = 0
    while time.monotonic() < ends:
        async with session.post(url, data=f"a red circle number {next(_numbers)}") as answer:
            await answer.read()
        done += 1
    return done
