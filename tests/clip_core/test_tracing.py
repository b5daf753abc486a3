"""Trace contexts, spans made by hand, and their export."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_core.errors import BadInput
from clip_core.logs import JsonFormatter
from clip_core.tracing.configure import traced_process
from clip_core.tracing.settings import doubts, wants_traces
from clip_core.tracing.spans import Span, begin, carried, enter, here, leave, recording, root, stage, trace_id
from clip_core.tracing.trace_context import NO_CALLERS, Callers, TraceContext, read_traceparent
from tests.tracing import collecting, kept_spans

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
BAD = [
    "",
    PARENT.upper(),
    PARENT + ", " + PARENT,
    PARENT + "-x",
    " " + PARENT[1:],
    "ff" + PARENT[2:],
    "01" + PARENT[2:] + "x",
    "01" + PARENT[2:] + "-" + "x" * 600,
    "00-" + "0" * 32 + PARENT[35:],
    PARENT[:36] + "0" * 16 + "-01",
    PARENT[:-1] + "g",
    "x" * 10_000,
    PARENT.replace("a", "\N{ARABIC-INDIC DIGIT ONE}"),
    {"filename": PARENT},
    PARENT.encode(),
    None,
    7,
]


@pytest.mark.parametrize("value", BAD)
def test_what_is_no_traceparent_is_none(value: object) -> None:
    assert read_traceparent(value) is None
    assert Callers.read(value) is NO_CALLERS
    assert Callers.read([value, PARENT]).contexts == (read_traceparent(PARENT),)


@pytest.mark.parametrize("ending", ["", "-", "-what-comes"])
def test_a_later_version_is_read_as_far_as_it_is_known(ending: str) -> None:
    assert read_traceparent("cc" + PARENT[2:] + ending) == read_traceparent(PARENT)


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_a_context_is_read_as_it_was_written(trace: int, span: int, sampled: bool) -> None:
    context = TraceContext(trace, span, sampled)
    assert read_traceparent(context.traceparent()) == context


@pytest.mark.parametrize("sent", [None, "1", True, float("nan"), float("inf"), -1, 10**400, [1]])
def test_a_strange_time_of_sending_is_left_out(sent: object) -> None:
    assert Callers.read(PARENT, sent).sent_s == 0


def test_without_a_sink_nothing_is_recorded_and_a_callers_trace_goes_on() -> None:
    parent = read_traceparent(PARENT)
    assert not recording()
    assert begin("request") is None
    token = enter(begin("request", parent))
    try:
        with stage("part") as span:
            assert span is None
        assert here() is parent
        assert trace_id() == PARENT[3:35]
    finally:
        leave(token)


def test_stages_are_children_of_what_is_around_them() -> None:
    with kept_spans() as kept, root("job"):
        with stage("outer"), stage("inner", attributes={"n": 1}):
            pass
        with stage("short", least_ns=10**12):
            pass
    outer, inner, job = kept.one("outer"), kept.one("inner"), kept.one("job")
    assert (job.parent, outer.parent, inner.parent) == (None, job.context, outer.context)
    assert inner.attributes == {"n": 1}
    assert not kept.named("short")
    assert job.started_ns <= outer.started_ns <= inner.started_ns <= inner.ended_ns <= outer.ended_ns <= job.ended_ns


def test_a_trace_that_is_not_sampled_says_so_to_its_neighbours() -> None:
    with kept_spans(share=0) as kept:
        place = begin("request")
        assert isinstance(place, TraceContext)
        assert not place.sampled
        token = enter(place)
        try:
            with stage("part"):
                pass
        finally:
            leave(token)
    assert not kept.spans


def test_an_error_is_noted_by_its_code() -> None:
    with kept_spans() as kept, pytest.raises(BadInput), root("job"), stage("part"):
        raise BadInput("a secret text")
    assert [(span.error, span.attributes["error.type"]) for span in kept.spans] == [("bad_input", "bad_input")] * 2


def test_work_in_a_thread_stays_in_its_trace() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with kept_spans(), ThreadPoolExecutor(1) as pool:
        with root("job") as job:
            assert pool.submit(carried(here)).result() is job
        assert pool.submit(here).result() is None


def test_every_log_line_of_a_trace_has_its_id() -> None:
    record = logging.makeLogRecord({"msg": "hello", "colour": "red"})
    formatter = JsonFormatter("test")
    assert "trace_id" not in json.loads(formatter.format(record))
    token = enter(read_traceparent(PARENT))
    try:
        assert json.loads(formatter.format(record))["trace_id"] == PARENT[3:35]
    finally:
        leave(token)


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "console, otlp"}, True),
    ],
)
def test_the_standard_variables_switch_traces_on(environ: dict[str, str], wanted: bool) -> None:
    assert wants_traces(environ) is wanted


def test_spans_reach_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as (collector, url):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        with traced_process("clipserve-test"):
            made = begin("request", read_traceparent(PARENT), kind="server", attributes={"a": None, "b": 2})
            assert isinstance(made, Span)
            made.links = (TraceContext(7, 8, True),)
            made.fail("500")
            made.end()
        assert not recording()
    (span,) = collector.wait(1)
    assert span.trace_id.hex() == PARENT[3:35]
    assert span.parent_span_id.hex() == PARENT[36:52]
    assert [link.span_id for link in span.links] == [bytes(7) + b"\x08"]
    assert {each.key for each in span.attributes} == {"b", "error.type"}
    assert span.status.message == "500"
    assert collector.services[span.span_id] == "clipserve-test"


@pytest.mark.parametrize(("flag", "count"), [("01", 1), ("00", 0)])
def test_a_callers_decision_holds(monkeypatch: pytest.MonkeyPatch, flag: str, count: int) -> None:
    with collecting() as (collector, url):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
        with traced_process("clipserve-test"):
            assert not isinstance(begin("request"), Span)
            made = begin("request", read_traceparent(PARENT[:-2] + flag))
            if isinstance(made, Span):
                made.end()
    assert len(collector.wait(count)) == count


PROGRAM = """
import time
from clip_core.tracing.configure import traced_process
from clip_core.tracing.spans import root
with traced_process("test"):
    with root("work"):
        pass
    started = time.monotonic()
print(time.monotonic() - started)
"""


@pytest.mark.parametrize("collector", ["hangs", "refuses", "fails", "never answers"])
def test_a_collector_that_is_down_holds_up_no_stop(collector: str) -> None:
    """The process ends by itself, within the patience that it has, whatever the SDK waits for."""
    with socket.create_server(("127.0.0.1", 0)) as silent, collecting() as (failing, url):
        if collector == "never answers":
            failing.answers.clear()
        else:
            failing.status = 500
        port = silent.getsockname()[1]
        if collector == "refuses":
            silent.close()
        address = url if collector in ("fails", "never answers") else f"http://127.0.0.1:{port}"
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, timeout=60, check=True
        )
    assert float(done.stdout) < 3


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "not by grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "not by http/json"),
        ("OTEL_TRACES_EXPORTER", "console", "console"),
        ("OTEL_TRACES_EXPORTER", "otlp,zipkin", "zipkin"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318", "no address"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://", "no address"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/none/here.pem", "no such file"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization: Bearer secret", "name=value"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=b,secret", "name=value"),
    ],
)
def test_what_can_not_work_is_said_without_secrets(name: str, value: str, word: str) -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", name: value}
    (doubt,) = doubts(env)
    assert doubt.startswith(name)
    assert word in doubt
    assert "secret" not in doubt


@pytest.mark.parametrize(
    "env",
    [
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},  # no traces are wanted
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "HTTPS://c", "OTEL_EXPORTER_OTLP_CERTIFICATE": __file__},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"},
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c",
            "OTEL_EXPORTER_OTLP_HEADERS": "a=b%20c, d = e=,Authorization=Bearer x",
        },
    ],
)
def test_what_is_well_raises_no_doubt(env: dict[str, str]) -> None:
    assert list(doubts(env)) == []


def test_a_header_that_can_not_be_read_is_not_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization: Bearer secret")
    with traced_process("t"):
        assert recording()
    assert "OTEL_EXPORTER_OTLP_HEADERS" in caplog.text
    assert "secret" not in caplog.text


def test_nothing_of_the_sdk_is_imported_without_an_endpoint() -> None:
    program = (
        "import sys; from clip_core.tracing.configure import configure_tracing; configure_tracing('t'); "
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": str(Path(__file__).parents[2])}, check=True)
