"""Many requests at once: each caller's begin in turn, and large bodies are read no faster than the gateway bears."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from gateway.app import build
from gateway.keys.api_key import ANONYMOUS, ApiKey
from gateway.middleware.auth import caller_of
from gateway.middleware.deadlines import DeadlineMiddleware
from gateway.middleware.request_buffering import Pace
from gateway.middleware.turns import Turns
from gateway.settings import GatewaySettings
from gateway.trace import Trace, current_trace, set_current_trace

FLOOD, CALM = "10.0.0.1", "10.0.0.2"


class Begun:
    """An app that notes whose requests begin, and in which round of the event loop."""

    def __init__(self) -> None:
        self.callers: list[str] = []
        self.rounds: list[int] = []
        self._round = 0
        self.turns = Turns(self)

    async def __call__(self, _: Any, __: Any, ___: Any) -> None:
        self.callers.append(current_trace().caller)
        self.rounds.append(self._round)

    def send(self, *callers: str) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(self._send(caller)) for caller in callers]

    async def _send(self, caller: str) -> None:
        set_current_trace(Trace(caller=caller))
        await self.turns({"type": "http"}, None, None)  # type: ignore[arg-type]

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


async def test_thousands_of_callers_hang_nothing():
    """Twice: the lanes of the first burst must not stand in the way of the second."""
    begun = Begun()
    for burst in range(2):
        await begun.all(begun.send(*(f"{burst}.{n}" for n in range(2000))))
    assert len(begun.callers) == 4000
    await begun.all(begun.send(*[FLOOD] * 20))
    assert begun.callers[-20:] == [FLOOD] * 20


async def test_rounds_go_on_after_a_failure(monkeypatch):
    begun, popped = Begun(), list[str]()

    def pop(stale: float) -> Any:
        popped.append("")
        if len(popped) == 3:
            raise RuntimeError("a fault of the queue")
        return own(stale)

    own = begun.turns._queue.pop
    monkeypatch.setattr(begun.turns._queue, "pop", pop)
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    await begun.all(begun.send(*[FLOOD] * 100))
    assert len(begun.callers) == 100


async def test_waiting_for_a_turn_takes_the_request_s_time(tmp_path):
    """Each request holds the event loop, so that later ones are past their deadline before they begin."""
    called, statuses = list[int](), list[int]()

    async def app(_: Any, __: Any, send: Any) -> None:
        time.sleep(0.03)
        called.append(1)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def receive() -> Any:
        await asyncio.get_running_loop().create_future()

    async def request(layered: Any) -> None:
        set_current_trace(Trace(caller=FLOOD))
        await layered({"type": "http", "headers": [(b"x-request-timeout", b"0.5")]}, receive, send)

    layered: Any = app
    for layer in reversed(build(GatewaySettings(data_dir=tmp_path)).user_middleware):
        if layer.cls in (DeadlineMiddleware, Turns):
            layered = layer.cls(layered, *layer.args, **layer.kwargs)
    await asyncio.gather(*(request(layered) for _ in range(40)))
    assert statuses.count(200) == len(called) >= 1
    assert statuses.count(504) == 40 - len(called) > 0


@pytest.mark.parametrize(
    ("key", "client", "caller"),
    [
        (ANONYMOUS, ("10.0.0.1", 1), "10.0.0.1"),
        (ANONYMOUS, ("2001:db8:0:7:1::1", 1), "2001:db8:0:7::/64"),
        (ANONYMOUS, ("2001:db8:0:7:2::2", 2), "2001:db8:0:7::/64"),
        (ANONYMOUS, None, "unknown"),
        (ApiKey("k1"), ("10.0.0.1", 1), "k1"),
    ],
)
def test_who_shares_turns(key, client, caller):
    assert caller_of(key, client) == caller


async def test_large_bodies_come_at_a_pace_after_a_burst():
    pace, started = Pace(1e5, 1e7), time.perf_counter()
    await asyncio.wait_for(pace.wait(10_000_000), 30)  # at that pace it takes a hundred seconds
    await asyncio.gather(*(pace.wait(10_000) for _ in range(2)))
    assert time.perf_counter() - started >= 0.19
