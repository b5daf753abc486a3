"""Searches while the index service is away for a moment."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from clip_core.errors import IndexUnavailable
from clipserve_client import Client, NewItem
from gateway.search.index_wait import IndexWait
from gateway.trace import Trace, set_current_trace
from tests.waiting import until


class ScriptedIndex:
    """Ready after so many probes; None: never."""

    def __init__(self, probes: int | None) -> None:
        self.left, self.asked = probes, 0

    async def ready(self, *, timeout_s: float) -> None:
        assert timeout_s > 0
        self.asked += 1
        if self.left is None or self.asked <= self.left:
            raise IndexUnavailable("away")


def wait(probes: int | None, wait_s: float) -> tuple[IndexWait, ScriptedIndex]:
    index = ScriptedIndex(probes)
    return IndexWait(index, wait_s), index  # type: ignore[arg-type]


async def test_all_who_wait_share_a_probe() -> None:
    waiting, index = wait(1, 30)
    assert await asyncio.gather(*(waiting.back() for _ in range(5))) == [True] * 5
    assert index.asked == 2


async def test_the_wait_ends() -> None:
    waiting, index = wait(None, 0.05)
    assert not await waiting.back()
    assert index.asked >= 1


async def test_without_a_wait_nobody_is_asked() -> None:
    waiting, index = wait(0, 0)
    assert not await waiting.back()
    assert index.asked == 0


async def test_a_deadline_ends_one_wait_and_no_other() -> None:
    waiting, _ = wait(3, 30)

    async def hurried() -> bool:
        set_current_trace(Trace(deadline=0.0))  # past
        return await waiting.back()

    first, second = await asyncio.gather(asyncio.create_task(hurried()), asyncio.create_task(waiting.back()))
    assert (first, second) == (False, True)


SEARCHES = [{"text": "red"}, {"vector": [1.0] * 16}]


@pytest.mark.parametrize("search", SEARCHES, ids=["by text", "by vector"])
def test_a_search_waits_for_the_index(stack_of: Any, search: dict[str, Any]) -> None:
    stack = stack_of(index_wait_s=30)
    stack.fill("red", "blue")
    stack.index.down = True
    with ThreadPoolExecutor() as pool:
        searched = pool.submit(stack.post, "/v1/search", {"collection": "demo", "k": 1, **search})
        until(lambda: any(path == "/readyz" for _, path, _ in stack.index.calls))
        stack.index.down = False
        answer = searched.result()
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["hits"]) == 1


def test_a_write_does_not_wait(stack_of: Any) -> None:
    stack = stack_of(index_wait_s=30)
    stack.fill("red")
    stack.index.down = True
    answer = stack.post("/v1/collections/demo/items", {"items": [{"id": "a", "text": "a"}]})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert not [path for _, path, _ in stack.index.calls if path == "/readyz"]


def test_the_client_sends_a_write_again(stack_of: Any) -> None:
    stack = stack_of(index_wait_s=30)
    stack.fill("red")
    stack.index.down = True
    before = len(stack.index.calls)
    with ThreadPoolExecutor() as pool, Client(stack.url) as client:
        adding = pool.submit(client.add, "demo", [NewItem("a", text="a")])
        until(lambda: len(stack.index.calls) > before)
        stack.index.down = False
        (added,) = adding.result()
    assert added.ok
