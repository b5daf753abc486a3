"""The spans of a batch: one for each recorded request, and one for what they share."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clip_core.errors import BadInput
from clip_core.inputs.parsing import parse_row
from clip_core.inputs.request import Accepts, Request
from clip_core.serving.batch_trace import begin_batch
from clip_core.tracing.trace_context import NO_CALLERS, TraceContext
from handlers.text_handler import TextHandler
from tests.clip_core.test_batch_handler import FakeContext, started
from tests.clip_core.test_tracing import BAD, PARENT
from tests.tracing import KeptSpans, kept_spans

ACCEPTS = Accepts(frozenset({"text", "vector"}), "text", 8)
HTTP = {"Host": "localhost", "Content-Type": "application/json"}


@pytest.fixture(scope="module")
def handler(model_dirs: dict[str, Path]) -> TextHandler:
    return started(model_dirs)


@pytest.fixture
def kept() -> Iterator[KeptSpans]:
    with kept_spans() as kept:
        yield kept


def caller(number: int, sampled: bool = True) -> TraceContext:
    return TraceContext(number, number, sampled)


def body(text: str, *callers: TraceContext) -> dict[str, Any]:
    fields = {"traceparent": [each.traceparent() for each in callers], "sent": time.time() - 0.5} if callers else {}
    return {"body": json.dumps({"input": text, **fields}).encode()}


def handle(handler: TextHandler, rows: list[dict[str, Any]], headers: dict[str, Any] = HTTP) -> None:
    context = FakeContext(Path(), [headers] * len(rows))
    handler.handle(rows, context)
    assert set(context.statuses.values()) <= {400}


def test_each_caller_has_a_span_with_its_wait_and_the_batch_links_to_all(handler: TextHandler, kept: KeptSpans) -> None:
    handle(handler, [body("a", caller(1), caller(2)), body("b", caller(3)), body("", caller(4))])
    requests, batch = kept.named("clip_text"), kept.one("batch")
    assert [span.parent for span in requests] == [caller(1), caller(2), caller(3), caller(4)]
    assert all(500 <= span.attributes["clipserve.queue_ms"] < 60_000 for span in requests)
    assert batch.parent == requests[0].context
    assert list(batch.links) == [span.context for span in requests]
    assert [list(span.links) for span in requests] == [[], *[[batch.context]] * 3]
    assert [span.error for span in requests] == [None, None, None, "invalid_text"]
    assert {"cache", "tokenize", "text tower"} <= {span.name for span in kept.under(batch)}


def test_requests_that_are_not_sampled_are_linked_and_make_no_spans(handler: TextHandler, kept: KeptSpans) -> None:
    handle(handler, [body("a", caller(1, sampled=False)), body("b", caller(2))])
    assert [span.parent for span in kept.named("clip_text")] == [caller(2)]
    assert [link.trace_id for link in kept.one("batch").links] == [1, 2]


def test_a_batch_of_none_that_is_sampled_makes_no_spans(handler: TextHandler, kept: KeptSpans) -> None:
    handle(handler, [body("a", caller(1, sampled=False))])
    assert not kept.spans


@pytest.mark.parametrize(
    "row", [{"body": b" "}, {"body": {"input": 3}}, {"body": {"admin": {"cache": "stats"}}}, body(" ")]
)
def test_a_failure_names_its_callers_trace(handler: TextHandler, row: dict[str, Any]) -> None:
    heads = [{**HTTP, "Traceparent": PARENT}, HTTP]
    given, bare = handler.handle([row, row], FakeContext(Path(), heads))
    assert json.loads(given)["error"]["trace_id"] == PARENT[3:35]
    assert "trace_id" not in json.loads(bare)["error"]


@pytest.mark.parametrize("name", ["traceparent", "Traceparent", "TRACEPARENT"])
def test_a_direct_callers_header_counts_however_it_is_written(handler: TextHandler, kept: KeptSpans, name: str) -> None:
    handle(handler, [body("a")], {**HTTP, name: PARENT})
    assert kept.one("clip_text").parent is not None


def test_a_request_of_no_trace_begins_one(handler: TextHandler, kept: KeptSpans) -> None:
    handle(handler, [body("a")])
    assert kept.one("clip_text").parent is None


@pytest.mark.parametrize("value", BAD)
def test_a_bad_traceparent_spoils_nothing(handler: TextHandler, kept: KeptSpans, value: Any) -> None:
    """A multipart field of that name is among the headers, too."""
    handle(handler, [body("a")], {**HTTP, "traceparent": value})
    assert kept.one("clip_text").parent is None


def test_the_body_carries_it_in_every_form() -> None:
    plain = {"input": "a", "traceparent": PARENT}
    v2_input = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}
    v2 = {"inputs": [v2_input], "parameters": {"traceparent": PARENT}}
    for row in ({"data": json.dumps(plain).encode()}, {"data": b"a", "traceparent": PARENT.encode()}):
        parsed = parse_row(row, None, ACCEPTS)
        assert isinstance(parsed, Request)
        assert len(parsed.callers.contexts) == 1
    parsed = parse_row({"data": json.dumps(v2).encode()}, None, ACCEPTS)
    assert isinstance(parsed, Request)
    assert len(parsed.callers.contexts) == 1
    bad = parse_row({"data": json.dumps({"input": "a", "traceparent": {"x": 1}}).encode()}, None, ACCEPTS)
    assert isinstance(bad, Request)
    assert bad.callers is NO_CALLERS


def test_without_traces_there_is_no_batch_trace() -> None:
    assert begin_batch("clip_text", [BadInput("no")], time.time_ns()) is None
