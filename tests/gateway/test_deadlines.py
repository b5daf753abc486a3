"""Deadlines, clients that leave, and bodies that do not come."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from gateway.models.registry import Models, RegisteredModel
from gateway.models.rows import ModelRow
from gateway.readiness import Readiness
from gateway.settings import GatewaySettings
from gateway.trace import Trace, current_trace, set_current_trace
from tests.waiting import settled, until


@pytest.fixture
def slow(stack_of):
    stack = stack_of(
        fan_out_texts=1, fan_out_concurrency=1, read_timeout_s=0.5, body_timeout_s=1.0, stall_timeout_s=1.5
    )
    stack.torchserve.delay_s = 0.2
    return stack


def test_a_deadline_is_kept_and_stops_what_has_not_started(slow):
    answer = slow.post("/v1/embeddings", {"input": ["a"] * 50}, headers={"X-Request-Timeout": "0.5"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert settled(lambda: len(slow.torchserve.calls), quiet_s=0.5) <= 10


def test_a_deadline_within_one_call_is_no_outage(slow):
    slow.torchserve.delay_s = 1.2
    for _ in range(10):  # whichever of the timers goes off first
        answer = slow.post("/v1/embeddings", {"input": "a"}, headers={"X-Request-Timeout": "0.06"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")


def test_a_deadline_that_is_met_changes_nothing(slow):
    answer = slow.post("/v1/embeddings", {"input": "a"}, headers={"X-Request-Timeout": "5"})
    assert answer.status_code == 200


@pytest.mark.parametrize("given", ["", "soon", "0", "-1", "nan", "inf", "1e9"])
def test_deadlines_that_are_none(stack, given):
    answer = stack.post("/v1/embeddings", {"input": "a"}, headers={"X-Request-Timeout": given})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "X-Request-Timeout")


def test_a_client_that_leaves_stops_what_has_not_started(slow):
    body = b'{"input": [%s]}' % b", ".join([b'"a"'] * 50)
    with connect(slow.url) as connection:
        head = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        until(lambda: slow.torchserve.calls)
    assert settled(lambda: len(slow.torchserve.calls), quiet_s=0.5) <= 10
    slow.torchserve.delay_s = 0.0
    assert slow.post("/v1/embeddings", {"input": "a"}).status_code == 200


def test_a_request_that_stalls_is_ended(slow):
    slow.torchserve.delay_s = 5.0
    assert slow.post("/v1/embeddings", {"input": "a"}).status_code == 504  # and not 200 after five seconds


def test_a_list_that_makes_progress_does_not_stall(slow):
    slow.torchserve.delay_s = 0.4
    answer = slow.client.post("/v1/embeddings", json={"input": [f"text {n}" for n in range(6)]}, timeout=60)
    assert answer.status_code == 200  # after 2.4 s


def connect(url: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=5)


def rest(connection: socket.socket) -> bytes:
    """All that still comes until the peer closes."""
    content = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            content += piece
    return content


def test_half_a_body_is_not_waited_for(slow):
    with connect(slow.url) as connection:
        connection.sendall(b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        answer = rest(connection)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"request_timeout" in answer
    assert b"connection: close" in answer.lower()


def test_a_stream_may_wait_for_what_came_before(stack_of):
    """Lines as fast as they are taken: the time in which the model works is not the client's."""
    stack = stack_of(job_batch=1, read_timeout_s=0.3)
    stack.fill("a")
    stack.torchserve.delay_s = 0.2
    lines = b"".join(b'{"id": "%d", "text": "w%d %s"}\n' % (n, n, b"x" * 40_000) for n in range(10))
    answer = stack.client.post("/v1/collections/demo/items/stream", content=lines, timeout=20)
    assert (answer.status_code, answer.json()["added"]) == (200, 10)


def test_a_dripping_body_is_not_waited_for(slow):
    started = time.perf_counter()
    with connect(slow.url) as connection:
        connection.sendall(b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
        with contextlib.suppress(ConnectionError):
            for _ in range(40):
                connection.sendall(b" ")
                time.sleep(0.1)
        assert rest(connection)[:12] in (b"HTTP/1.1 408", b"")
    assert time.perf_counter() - started < 15
    assert slow.post("/v1/embeddings", {"input": "a"}).status_code == 200


def test_patience_is_a_setting():
    timeouts = GatewaySettings(read_timeout_s=1, body_timeout_s=2, stall_timeout_s=3).client_timeouts()
    assert (timeouts.pause_s, timeouts.body_s, timeouts.stall_s) == (1, 2, 3)


class Asked:
    """Stands where an encoder and the index service stand; notes the time that each question had."""

    def __init__(self):
        self.left, self.name, self.served = [], "a", None

    async def describe(self):
        self.left.append(current_trace().seconds_left())

    async def ready(self, *, timeout_s):
        assert timeout_s > 0
        self.left.append(current_trace().seconds_left())


async def test_what_callers_ask_together_has_no_callers_deadline():
    asked = Asked()
    models = Models([ModelRow(name="a")], lambda row: RegisteredModel(row, asked, None))
    set_current_trace(Trace(deadline=0.0))  # past
    await models.ask()
    assert await Readiness(GatewaySettings(), Models([], None), asked).report() == ({"index": "ok"}, {})
    assert asked.left == [None, None]
