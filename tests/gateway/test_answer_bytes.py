"""Searches that may bring much: in requests whose answers stay small, and up to a limit for a call."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_core.wire import SearchPart
from gateway.upstream.answer_bytes import answer_bytes
from tests.gateway.fakes import DIM
from tests.waiting import until

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


@pytest.mark.parametrize("max_large_answers", [1, 2])
def test_as_many_large_answers_are_under_way_as_the_setting_says(stack_of, max_large_answers):
    """One for each worker: TorchServe's requests wait until so many are there."""
    stack = stack_of(fan_out_answer_bytes=MOST * 20, max_large_answers=max_large_answers)
    stack.fill("a")
    stack.torchserve.load.busiest = 0
    stack.torchserve.lets_pass = 0
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(stack.post, "/v1/search/batch", searches("text", 32))
        until(lambda: stack.torchserve.busy == max_large_answers)
        stack.torchserve.lets_pass = None
        assert {result["status"] for result in answer.result().json()["results"]} == {200}
    assert stack.torchserve.busiest == max_large_answers


def test_searches_with_large_answers_are_refused_after_the_wait_for_bursts(stack_of):
    stack = stack_of(fan_out_answer_bytes=1000, admission_timeout_s=0.05)
    stack.fill("a")
    stack.torchserve.lets_pass = 0
    large = searches("text", 1)["searches"][0]
    with ThreadPoolExecutor() as pool:
        first = pool.submit(stack.post, "/v1/search", large)
        until(lambda: stack.torchserve.busy)
        second = stack.post("/v1/search", large)
        assert (second.status_code, second.json()["error"]["code"]) == (429, "overloaded")
        assert "large answers" in second.json()["error"]["message"]
        assert "Retry-After" in second.headers
        assert stack.client.get("/metrics").text.count('endpoint="clip_text"')
        stack.torchserve.lets_pass = None
        assert first.result().status_code == 200


@pytest.mark.parametrize("kind", ["text", "vector"])
def test_a_call_is_answered_up_to_a_limit(stack_of, kind):
    """A call of many gets what fits; each of them alone is answered."""
    stack = stack_of(max_answer_bytes=MOST, fan_out_answer_bytes=1000, fan_out_concurrency=1)
    stack.fill(*(f"w{n}" for n in range(200)))
    k = 10_000  # whose answer the index would have to itself
    results = stack.post("/v1/search/batch", searches(kind, 20, k=k)).json()["results"]
    statuses = [result["status"] for result in results]
    assert set(statuses) == {200, 413}
    refused = results[statuses.index(413)]["error"]
    assert (refused["code"], refused["param"]) == ("request_too_large", "k")
    alone = searches(kind, 1, k=k)["searches"][0]
    assert stack.post("/v1/search", alone).status_code == 200
