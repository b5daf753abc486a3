"""Work within a budget's time."""

from __future__ import annotations

import asyncio
import time

import pytest

from clip_core.errors import WorkerLost
from gateway.reranking.budget import Budget


async def slow(ends: list[str]) -> str:
    """Takes its time to put away, too."""
    try:
        await asyncio.sleep(30)
    finally:
        await asyncio.sleep(0.3)
        ends.append("put away")
    return "done"


def test_what_comes_in_time() -> None:
    async def quick(said: str) -> str:
        if said == "lost":
            raise WorkerLost("lost")
        return said

    assert asyncio.run(Budget(ms=500).within(quick("done"))) == "done"
    assert asyncio.run(Budget().within(quick("done"))) == "done"
    with pytest.raises(WorkerLost):
        asyncio.run(Budget(ms=500).within(quick("lost")))


def test_putting_away_does_not_count_and_happens() -> None:
    async def run() -> None:
        ends, started = list[str](), time.perf_counter()
        with pytest.raises(asyncio.TimeoutError):
            await Budget(ms=30).within(slow(ends))
        assert time.perf_counter() - started < 0.25
        await asyncio.sleep(0.4)
        assert ends == ["put away"]

    asyncio.run(run())


def test_who_leaves_ends_the_work() -> None:
    async def run() -> None:
        ends = list[str]()
        asked = asyncio.ensure_future(Budget().within(slow(ends)))
        await asyncio.sleep(0.01)
        asked.cancel()
        await asyncio.sleep(0.4)
        assert asked.cancelled()
        assert ends == ["put away"]

    asyncio.run(run())
