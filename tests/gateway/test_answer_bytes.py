"""Searches that may bring much: in requests whose answers stay small, and up to a limit for a call."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_core.wire import SearchPart
from gateway.upstream.answer_bytes import AnswerRoom, answer_bytes
from tests.gateway.fakes import DIM

MOST = 100_000
LARGE = {"collection": "demo", "k": 640, "include": ["metadata", "vector"]}


@given(st.integers(1, 10_000), st.sampled_from([64, 512, 1152]))
@settings(max_examples=30, deadline=None)
def test_more_hits_and_more_fields_are_more_bytes(k, dim):
    sizes = [answer_bytes(SearchPart("demo", k, include=include), dim) for include in ((), ("metadata",), ("vector",))]
    assert sizes[0] < min(sizes[1:])
    assert sizes[2] >= k * 4 * math.ceil(dim * 4 / 3)
    assert answer_bytes(SearchPart("demo", k + 1), dim) > answer_bytes(SearchPart("demo", k), dim)


def searches(kind: str, number: int, **search) -> dict:
    query = (lambda n: {"vector": [1.0] + [0.1 * n] * 15}) if kind == "vector" else (lambda n: {"text": f"w{n}"})
    return {"searches": [{**LARGE, **search, **query(n)} for n in range(number)]}


def test_no_torchserve_request_asks_for_more_than_its_answer_may_hold(stack_of):
    stack = stack_of(fan_out_answer_bytes=MOST * 20)
    stack.fill("a")
    answer = stack.post("/v1/search/batch", searches("text", 64)).json()
    assert {result["status"] for result in answer["results"]} == {200}
    a_search = answer_bytes(SearchPart("demo", 640, include=("metadata", "vector")), DIM)
    sizes = [len(body["input"]) for _, body in stack.torchserve.calls]
    assert sum(sizes) == 64
    assert max(sizes) == MOST * 20 // a_search


def test_usual_searches_travel_together(stack_of):
    stack = stack_of()
    stack.fill("a")
    body = {"searches": [{"collection": "demo", "text": f"w{n}"} for n in range(64)]}
    assert stack.post("/v1/search/batch", body).status_code == 200
    assert [len(body["input"]) for _, body in stack.torchserve.calls] == [32, 32]


def test_searches_that_are_large_alone_go_one_after_the_other(stack_of):
    stack = stack_of(fan_out_answer_bytes=1000)
    stack.fill("a")
    stack.torchserve.delay_s = 0.01
    stack.torchserve.load.busiest = 0
    answer = stack.post("/v1/search/batch", searches("text", 8)).json()
    assert {result["status"] for result in answer["results"]} == {200}
    assert stack.torchserve.busiest == 1


def test_large_answers_share_the_room_of_one_request(stack_of):
    stack = stack_of(fan_out_answer_bytes=MOST * 20)
    stack.fill("a")
    stack.torchserve.delay_s = 0.01
    stack.torchserve.load.busiest = 0
    answer = stack.post("/v1/search/batch", searches("text", 32)).json()
    assert {result["status"] for result in answer["results"]} == {200}
    assert stack.torchserve.busiest == 1


async def test_a_room_is_taken_in_turn_and_not_by_small_answers():
    room, inside = AnswerRoom(1600), list[str]()

    async def stay(name: str, size: int, until: asyncio.Event) -> None:
        async with room.taken(size):
            inside.append(name)
            await until.wait()

    first, other = asyncio.Event(), asyncio.Event()
    tasks = [asyncio.create_task(stay(*each)) for each in (("a", 1000, first), ("left", 1000, other))]
    await asyncio.sleep(0.01)
    tasks += [
        asyncio.create_task(stay(*each)) for each in (("b", 5000, other), ("c", 600, other), ("small", 100, other))
    ]
    await asyncio.sleep(0.01)
    assert inside == ["a", "small"]
    tasks[1].cancel()
    first.set()
    await asyncio.sleep(0.01)
    assert inside == ["a", "small", "b"]
    other.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert inside[3:] == ["c"]


@pytest.mark.parametrize("kind", ["text", "vector"])
def test_a_call_is_answered_up_to_a_limit(stack_of, kind):
    """A call of many gets what fits; each of them alone is answered."""
    stack = stack_of(max_answer_bytes=MOST, fan_out_answer_bytes=1000, fan_out_width=1)
    stack.fill(*(f"w{n}" for n in range(200)))
    k = 10_000  # whose answer the index would have to itself
    results = stack.post("/v1/search/batch", searches(kind, 20, k=k)).json()["results"]
    statuses = [result["status"] for result in results]
    assert set(statuses) == {200, 413}
    refused = results[statuses.index(413)]["error"]
    assert (refused["code"], refused["param"]) == ("request_too_large", "k")
    alone = searches(kind, 1, k=k)["searches"][0]
    assert stack.post("/v1/search", alone).status_code == 200
