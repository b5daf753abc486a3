"""Requests that share one to TorchServe: alone they leave at once, together each gets its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from clip_core.errors import ClipServeError, InferenceFailed, Overloaded, Unavailable
from gateway.encode.request_coalescing import RequestCoalescer
from gateway.trace import Trace, current_trace, set_current_trace
from tests.gateway.fakes import embed


@dataclass
class Words:
    words: list[str]
    key: tuple[str, bytes] = ("text", b"")

    @property
    def bytes(self) -> int:
        return sum(map(len, self.words))

    @property
    def weight(self) -> int:
        return len(self.words)

    def __len__(self) -> int:
        return len(self.words)


class Server:
    """Answers with the words in capitals, once `gate` is open; "bad" fails its whole request."""

    def __init__(self, failure: ClipServeError | None = None) -> None:
        self.gate = asyncio.Event()
        self.failure = failure
        self.sent: list[list[str]] = []
        self.deadlines: list[float | None] = []

    async def send(self, parts: Sequence[Words]) -> dict[str, Any]:
        words = [word for part in parts for word in part.words]
        self.sent.append(words)
        self.deadlines.append(current_trace().deadline)
        await self.gate.wait()
        if self.failure is not None and "bad" in words:
            raise self.failure
        return {"model": "m", "data": [word.upper() for word in words]}

    def sharing(self, in_flight: int = 1, most: int = 4) -> RequestCoalescer:
        return RequestCoalescer(self.send, in_flight, lambda number, _, part: number + len(part) <= most)


async def begin(sharing: RequestCoalescer, *parts: Words) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.create_task(sharing.answer(part)) for part in parts]
    await asyncio.sleep(0)
    return tasks


async def test_who_waits_shares_and_gets_its_own() -> None:
    server = Server()
    tasks = await begin(server.sharing(), Words(["a"]), Words(["b", "c"]), Words(["d"]), Words(["e", "f"]))
    assert server.sent == [["a"]]
    server.gate.set()
    answers = await asyncio.gather(*tasks)
    assert server.sent == [["a"], ["b", "c", "d"], ["e", "f"]]
    assert [answer["data"] for answer in answers] == [["A"], ["B", "C"], ["D"], ["E", "F"]]


async def test_kinds_do_not_mix_and_leave_nothing_behind() -> None:
    server = Server()
    sharing = server.sharing()
    other = ("image", b"")
    tasks = await begin(sharing, Words(["a"]), Words(["b"], other), Words(["c"]), Words(["d"], other))
    assert server.sent == [["a"], ["b"]]
    server.gate.set()
    await asyncio.gather(*tasks)
    assert sorted(server.sent[2:]) == [["c"], ["d"]]
    assert not sharing._lanes


async def test_who_has_left_is_not_sent() -> None:
    server = Server()
    tasks = await begin(server.sharing(), Words(["a"]), Words(["b"]), Words(["c"]))
    tasks[1].cancel()
    await asyncio.sleep(0)
    server.gate.set()
    assert (await tasks[2])["data"] == ["C"]
    assert server.sent == [["a"], ["c"]]


async def test_the_first_to_leave_lets_the_others_go() -> None:
    server = Server()
    tasks = await begin(server.sharing(), Words(["a"]), Words(["b"]))
    tasks[0].cancel()
    server.gate.set()
    assert (await tasks[1])["data"] == ["B"]


async def test_one_bad_part_stays_alone_with_its_error() -> None:
    server = Server(InferenceFailed("no"))
    tasks = await begin(server.sharing(), Words(["a"]), Words(["b"]), Words(["bad"]), Words(["c"]))
    server.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [dict, dict, InferenceFailed, dict]


async def test_an_outage_is_everybodys_and_is_not_asked_again() -> None:
    server = Server(Overloaded("full"))
    tasks = await begin(server.sharing(), Words(["a"]), Words(["b"]), Words(["bad"]))
    server.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [dict, Overloaded, Overloaded]
    assert len(server.sent) == 2


@pytest.mark.parametrize(("deadlines", "kept"), [((3.0, 5.0), 5.0), ((3.0, None), None)])
async def test_nobody_loses_time_to_a_shorter_deadline(deadlines, kept) -> None:
    server = Server()
    sharing = server.sharing()

    async def ask(word: str, deadline: float | None) -> Any:
        set_current_trace(Trace(word, deadline=deadline))
        return await sharing.answer(Words([word]))

    words = zip("abc", (1.0, *deadlines), strict=True)
    tasks = [asyncio.create_task(ask(word, deadline)) for word, deadline in words]
    await asyncio.sleep(0)
    server.gate.set()
    await asyncio.gather(*tasks)
    assert server.deadlines == [1.0, kept]


async def test_when_nobody_answers_all_who_wait_hear_it_at_once() -> None:
    server = Server(Unavailable("down"))
    tasks = await begin(server.sharing(most=2), *[Words(["bad"])] * 7)
    server.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable] * 7
    assert len(server.sent) == 1


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/search"])
def test_many_clients_through_the_gateway(stack_of, path):
    stack = stack_of(coalesce_min_in_flight=1)
    stack.fill(*(f"w{n}" for n in range(40)))
    stack.torchserve.delay_s = 0.05

    def ask(n):
        if path == "/v1/search":
            body = {"collection": "demo", "text": f"w{n}", "k": 1}
            return stack.post(path, body).json()["hits"][0]["id"] == f"w{n}"
        return np.array_equal(
            np.float32(stack.post(path, {"input": f"w{n}"}).json()["data"][0]["embedding"]), embed(f"w{n}")
        )

    with ThreadPoolExecutor(20) as pool:
        assert all(pool.map(ask, range(40)))
    sizes = [len(body["input"]) for _, body in stack.torchserve.calls]
    assert sum(sizes) == 40
    assert len(sizes) < 20
