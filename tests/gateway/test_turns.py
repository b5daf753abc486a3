"""Many requests at once: each caller's begin in turn, and large bodies are read no faster than the gateway bears."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from gateway.middleware.request_buffering import Pace
from gateway.middleware.turns import Turns

FLOOD, CALM = ("10.0.0.1", 1), ("10.0.0.2", 1)


class Begun:
    """An app that notes whose requests begin, and in which round of the event loop."""

    def __init__(self) -> None:
        self.callers: list[Any] = []
        self.rounds: list[int] = []
        self._round = 0
        self.turns = Turns(self)

    async def __call__(self, scope: Any, _: Any, __: Any) -> None:
        self.callers.append(scope["client"])
        self.rounds.append(self._round)

    def send(self, *clients: tuple[str, int]) -> list[asyncio.Task[None]]:
        scopes = [{"type": "http", "client": client} for client in clients]
        return [asyncio.create_task(self.turns(scope, None, None)) for scope in scopes]  # type: ignore[arg-type]

    async def all(self, tasks: list[asyncio.Task[None]]) -> None:
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            self._round += 1


async def test_a_flood_begins_a_few_at_a_time_and_others_go_ahead():
    begun = Begun()
    await begun.all(begun.send(*[FLOOD] * 100, CALM))
    assert len(begun.callers) == 101
    assert max(map(begun.rounds.count, begun.rounds)) <= 8
    assert begun.callers.index(CALM) < 12


async def test_a_request_alone_begins_at_once():
    begun = Begun()
    (task,) = begun.send(CALM)
    await asyncio.sleep(0)
    assert task.done()


async def test_who_leaves_before_the_turn_takes_none():
    begun = Begun()
    tasks = begun.send(*[FLOOD] * 40)
    await asyncio.sleep(0)
    for task in tasks[10:30]:
        task.cancel()
    await begun.all(tasks)
    assert len(begun.callers) == 20
    await begun.all(begun.send(CALM))
    assert begun.callers[-1] == CALM


async def test_large_bodies_come_at_a_pace_after_a_burst():
    pace, started = Pace(1e6, 1e5), time.perf_counter()
    await pace.wait(100_000)
    assert time.perf_counter() - started < 0.05
    await asyncio.gather(*(pace.wait(100_000) for _ in range(2)))
    assert time.perf_counter() - started >= 0.19
