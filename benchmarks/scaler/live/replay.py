"""An open load that follows a series: requests leave at its rate, whether or not earlier ones were answered."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass

import aiohttp
import numpy as np

from benchmarks.scaler.live.stack import ENDPOINT, WaitingStack
from scaler.forecast.points import FloatArray

_LOOK_S = 0.25
_LONGEST_S = 20.0


@dataclass(frozen=True)
class Replayed:
    """`latencies_s` (N,) from when a request was due; infinity where it was not answered with 200."""

    due_s: FloatArray
    latencies_s: FloatArray
    statuses: dict[str, int]
    worker_s: float

    @property
    def p99_ms(self) -> float:
        return float(np.quantile(self.latencies_s, 0.99, method="higher") * 1e3)


def due_times(rates: FloatArray, minute_s: float, seed: int) -> FloatArray:
    """(minutes,) items a second → when each request leaves, in seconds."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rates * minute_s)
    starts = np.repeat(np.arange(len(rates)) * minute_s, counts)
    return np.sort(starts + rng.uniform(0, minute_s, len(starts)))


def replay(stack: WaitingStack, due: FloatArray) -> Replayed:
    return asyncio.run(_replay(stack, due))


async def _replay(stack: WaitingStack, due: FloatArray) -> Replayed:
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=_LONGEST_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        clock = _WorkerClock(session, stack.management)
        counting = asyncio.create_task(clock.run())
        answers = await _send_all(session, stack.gateway, due)
        counting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await counting
    tally = Counter(status for _, status in answers)
    return Replayed(due, np.array([latency for latency, _ in answers]), dict(sorted(tally.items())), clock.seconds)


async def _send_all(session: aiohttp.ClientSession, gateway: str, due: FloatArray) -> list[tuple[float, str]]:
    began, sent = time.monotonic(), []
    for number, at in enumerate(due):
        await asyncio.sleep(max(0.0, began + at - time.monotonic()))
        sent.append(asyncio.create_task(_send(session, gateway, number, began + at)))
    return await asyncio.gather(*sent)


async def _send(session: aiohttp.ClientSession, gateway: str, number: int, due: float) -> tuple[float, str]:
    """Seconds since it was due, and its status; one that isn't 200 must say when to come back."""
    try:
        async with session.post(f"{gateway}/v1/embeddings", json={"input": f"text {number}"}) as answer:
            await answer.read()
    except (aiohttp.ClientError, asyncio.TimeoutError) as error:
        return np.inf, type(error).__name__
    if answer.status == 200:
        return time.monotonic() - due, "200"
    return np.inf, f"{answer.status}{'' if 'Retry-After' in answer.headers else ' without Retry-After'}"


class _WorkerClock:
    """`seconds` of all workers together, those that start included."""

    def __init__(self, session: aiohttp.ClientSession, management: str) -> None:
        self._session, self._url = session, f"{management}/models/{ENDPOINT}"
        self.seconds = 0.0

    async def run(self) -> None:
        """Until it is cancelled."""
        before = time.monotonic()
        while True:
            async with self._session.get(self._url) as answer:
                workers = len((await answer.json(content_type=None))[0]["workers"])
            now = time.monotonic()
            self.seconds, before = self.seconds + workers * (now - before), now
            await asyncio.sleep(_LOOK_S)
