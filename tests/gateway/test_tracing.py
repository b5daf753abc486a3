"""A request's trace through the gateway: its spans, what is sent on, and where callers see its id."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from clip_core.tracing.trace_context import read_traceparent
from tests.clip_core.test_tracing import BAD, PARENT
from tests.tracing import KeptSpans, kept_spans
from tests.waiting import until

SEARCH = {"collection": "demo", "text": "cat", "k": 1}


@pytest.fixture
def kept() -> Iterator[KeptSpans]:
    with kept_spans() as kept:
        yield kept


def test_a_search_is_one_trace(stack_of: Any, kept: KeptSpans) -> None:
    stack = stack_of()
    stack.fill("cat", "dog")
    kept.spans.clear()
    assert stack.post("/v1/search", SEARCH, headers={"traceparent": PARENT}).status_code == 200
    until(lambda: kept.named("POST /v1/search"))
    request, call = kept.one("POST /v1/search"), kept.one("embeddings clip_text")
    assert request.parent == read_traceparent(PARENT)
    assert call.parent == request.context
    read, answer = kept.one("read"), kept.one("answer")
    assert {read.parent, answer.parent} == {request.context}
    assert request.started_ns == read.started_ns <= read.ended_ns <= call.started_ns
    assert call.ended_ns <= answer.started_ns <= answer.ended_ns == request.ended_ns
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["http.route"] == "/v1/search"
    (_, body) = stack.torchserve.calls[-1]
    assert body["traceparent"] == [call.context.traceparent()]
    assert abs(body["sent"] * 1e9 - call.started_ns) < 1e9


@pytest.mark.parametrize(
    "value", [each for each in BAD if isinstance(each, str) and each.isascii() and each == each.strip()]
)
def test_a_bad_traceparent_begins_a_new_trace(stack_of: Any, kept: KeptSpans, value: str) -> None:
    stack = stack_of()
    answer = stack.post("/v1/embeddings", {"input": "cat"}, headers={"traceparent": value})
    assert answer.status_code == 200
    until(lambda: kept.named("POST /v1/embeddings"))
    assert kept.one("POST /v1/embeddings").parent is None


def test_two_traceparents_are_none(stack_of: Any, kept: KeptSpans) -> None:
    stack = stack_of()
    headers = [("traceparent", PARENT), ("traceparent", PARENT)]
    assert stack.client.post("/v1/embeddings", json={"input": "cat"}, headers=headers).status_code == 200
    until(lambda: kept.named("POST /v1/embeddings"))
    assert kept.one("POST /v1/embeddings").parent is None


def test_the_index_service_is_told_too(stack_of: Any, kept: KeptSpans) -> None:
    stack = stack_of()
    stack.fill("cat")
    until(lambda: kept.named("POST /v1/collections/{name}/items"))
    request = kept.one("POST /v1/collections/{name}/items")
    assert {"POST the index service", "embeddings clip_text"} <= {span.name for span in kept.under(request)}


def test_callers_who_share_a_request_have_a_span_each(stack_of: Any, kept: KeptSpans) -> None:
    stack = stack_of(coalesce_min_in_flight=1)
    stack.torchserve.lets_pass = 0
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(stack.post, "/v1/embeddings", {"input": "a"})
        until(lambda: stack.torchserve.calls)
        others = [pool.submit(stack.post, "/v1/embeddings", {"input": word}) for word in "bc"]
        waiting = stack.client.get  # the two are in the queue when the gateway says that three are in flight
        until(lambda: "clipserve_gateway_requests_in_flight 4.0" in waiting("/metrics").text)
        stack.torchserve.lets_pass = None
        assert {future.result().status_code for future in (first, *others)} == {200}
    until(lambda: len(kept.named("POST /v1/embeddings")) == 3)
    calls = kept.named("embeddings clip_text")
    assert len({span.context.trace_id for span in calls}) == 3
    shared = [body["traceparent"] for _, body in stack.torchserve.calls if len(body["input"]) == 2]
    assert len(shared) <= 1
    for bodies in shared:
        assert {read_traceparent(each) for each in bodies} <= {span.context for span in calls}
        assert {span.attributes["clipserve.sharing"] for span in calls} == {1, 2}


def test_an_error_says_its_trace(stack_of: Any, kept: KeptSpans) -> None:
    stack = stack_of()
    answer = stack.post("/v1/search", {**SEARCH, "k": 0}, headers={"traceparent": PARENT})
    assert answer.status_code == 400
    assert answer.json()["error"]["trace_id"] == PARENT[3:35]
    assert kept.share == 1


def test_without_traces_an_error_has_the_callers_only(stack_of: Any) -> None:
    stack = stack_of()
    assert "trace_id" not in stack.post("/v1/search", {**SEARCH, "k": 0}).json()["error"]
    given = stack.post("/v1/search", {**SEARCH, "k": 0}, headers={"traceparent": PARENT})
    assert given.json()["error"]["trace_id"] == PARENT[3:35]
    assert stack.post("/v1/embeddings", {"input": "cat"}).status_code == 200
    assert "traceparent" not in stack.torchserve.calls[-1][1]


def test_what_is_not_sampled_is_not_sampled_further_on(stack_of: Any) -> None:
    stack = stack_of()
    with kept_spans(share=0) as kept:
        assert stack.post("/v1/embeddings", {"input": "cat"}).status_code == 200
    (sent,) = stack.torchserve.calls[-1][1]["traceparent"]
    assert sent.endswith("-00")
    assert not kept.spans


def test_what_has_no_trace_here_begins_none_further_on(stack_of: Any, kept: KeptSpans) -> None:
    stack = stack_of()
    assert stack.client.get("/readyz").status_code == 200
    assert not kept.spans
    assert all(sent.endswith("-00") for sent in stack.torchserve.traceparents)
    assert stack.torchserve.traceparents


def test_probes_make_no_spans(stack_of: Any, kept: KeptSpans) -> None:
    stack = stack_of()
    for path in ("/healthz", "/metrics"):
        assert stack.client.get(path).status_code == 200
    assert not kept.spans
