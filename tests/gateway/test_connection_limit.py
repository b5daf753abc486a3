"""More connections than there may be: those without a whole request make room, the address with the most first."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connections.connection_limit import ConnectionLimit, network_of
from gateway.connections.protocol import guarded
from tests.gateway.fakes import serving
from tests.gateway.test_protocol import HELD, SEEN, bodies, echo, read, request, talk
from tests.waiting import until

MOST = 20
HALVES = {
    "nothing": b"",
    "a whole request": request("/", "Content-Length: 1") + b"a",
    "half a line": b"POST /half HTT",
    "half a head": b"POST /half HTTP/1.1\r\nHost: x\r\nX-Half: ",
    "half a body": request("/half", "Content-Length: 9") + b"abc",
    "half a chunk": request("/half", "Transfer-Encoding: chunked") + b"5\r\nab",
    "no body": request("/half", "Content-Length: 9"),
    "an early answer": request("/early", "Content-Length: 9"),
    "half a second head": request("/", "Content-Length: 1") + b"a" + b"POST /half HTT",
    "half a second body": request("/", "Content-Length: 1") + b"a" + request("/half", "Content-Length: 9") + b"abc",
}


class Client:
    """A connection to a connection_limit, which knows how it ended."""

    def __init__(self, address: str = "a") -> None:
        self.address, self.ended = address, ""

    def make_room(self) -> None:
        self.ended = "gently"

    def abort(self) -> None:
        self.ended = "aborted"


def clients(connection_limit: ConnectionLimit, number: int, address: str = "a", now: float = 0) -> list[Client]:
    found = [Client(address) for _ in range(number)]
    assert all(connection_limit.admit(client, now) for client in found)
    return found


def test_the_oldest_idle_one_goes_first():
    connection_limit = ConnectionLimit(3)
    first, second, half = (clients(connection_limit, 1, address)[0] for address in "abc")
    connection_limit.awaits_body(half, 0)
    connection_limit.rests(first, 1)
    connection_limit.rests(second, 5)
    assert connection_limit.admit(Client("b"), 5)
    assert (first.ended, second.ended, half.ended) == ("gently", "", "")


def test_then_half_a_head_and_then_half_a_body():
    connection_limit = ConnectionLimit(4)
    working, body, head, rested = (clients(connection_limit, 1, address)[0] for address in "abcd")
    connection_limit.works(working)
    connection_limit.awaits_body(body, 0)
    connection_limit.rests(rested, 5)
    for gone in (head, body):
        newcomer = Client("e")
        assert connection_limit.admit(newcomer, 5.5)
        assert gone.ended
        connection_limit.works(newcomer)
    assert not connection_limit.admit(Client("c"), 5.5)
    assert (working.ended, rested.ended) == ("", "")


def test_who_has_the_most_goes_before_idle_ones_of_others():
    connection_limit = ConnectionLimit(10)
    other = clients(connection_limit, 2, "b")
    connection_limit.rests(other[0], 0)
    many = clients(connection_limit, 8)
    for client in many:
        connection_limit.awaits_body(client, 1)
    connection_limit.awaits_body(many[0], 2)
    assert connection_limit.admit(Client("c"), 10)
    assert [client.ended for client in other] == ["", ""]
    assert [place for place, client in enumerate(many) if client.ended] == [1]


def test_an_address_with_half_of_all_gives_way_to_itself_too():
    """Also with connections that were just answered; those of a small address stay."""
    connection_limit = ConnectionLimit(4)
    for client in (idle := clients(connection_limit, 4)):
        connection_limit.rests(client, 1)
    assert connection_limit.admit(Client("a"), 1.1)
    assert [client.ended for client in idle] == ["gently", "", "", ""]


def test_those_that_leave_are_as_many_at_most():
    connection_limit = ConnectionLimit(2)
    working = clients(connection_limit, 2)
    for client in working:
        connection_limit.works(client)
    turned = [Client() for _ in range(5)]
    assert not any(connection_limit.admit(client, 0) for client in turned)
    assert [client.ended for client in turned] == ["aborted"] * 3 + ["", ""]
    connection_limit.leaves(working[0], 0)
    assert connection_limit.admit(Client(), 0)
    connection_limit.left(working[0])
    connection_limit.leaves(working[0], 0)
    assert turned[3].ended == "aborted"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["comes", "rests", "awaits_head", "awaits_body", "works", "leaves", "left"]),
        st.integers(0, 7),
        st.sampled_from("abc"),
    ),
    max_size=60,
)


@given(STEPS)
def test_a_client_that_is_worked_for_stays(steps):
    """Whatever happens; and never are there more than there may be."""
    connection_limit, present, working = ConnectionLimit(4), [], set()
    for now, (step, place, address) in enumerate(steps):
        if step == "comes":
            client = Client(address)
            if connection_limit.admit(client, now):
                present.append(client)
            else:
                assert present
        elif place < len(present):
            client = present[place]
            getattr(connection_limit, step)(*((client,) if step in ("works", "left") else (client, now)))
            (working.add if step == "works" else working.discard)(client)
            if step in ("leaves", "left"):
                present.remove(client)
        assert not any(client.ended for client in working)
        present = [client for client in present if not client.ended]
        assert len(present) <= 4


def test_one_customer_of_ipv6_is_a_network():
    assert network_of("10.0.0.1") == network_of("::ffff:10.0.0.1") == "10.0.0.1"
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") != network_of("2001:db8:0:1::1")
    assert network_of("fe80::1%eth0") == network_of("fe80::2")
    assert network_of("") == ""


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    with serving(echo, http=guarded(20, MOST)) as url:
        parts = urlsplit(url)
        yield str(parts.hostname), int(parts.port or 0)


@pytest.mark.parametrize("half", HALVES)
def test_half_sent_requests_shut_nobody_out(address, half):
    """Three times as many as may connect, from one address: each newcomer is served, and so is who is worked for."""
    SEEN.clear()
    HELD.clear()
    with contextlib.ExitStack() as stack:
        held = stack.enter_context(socket.create_connection(address, timeout=20))
        held.sendall(request("/held", method="GET"))
        until(lambda: ("GET", "/held") in SEEN)
        many = [stack.enter_context(socket.create_connection(address, timeout=20)) for _ in range(3 * MOST)]
        for connection in many:
            with contextlib.suppress(ConnectionError):
                connection.sendall(HALVES[half])
        for number in range(MOST):
            answer = talk(address, request("/", "Content-Length: 1") + b"a")
            assert bodies(answer) == [b"a"], number
        HELD.set()
        assert held.recv(15) == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize("half", ["half a line", "half a head", "half a body", "half a chunk", "no body"])
def test_who_makes_room_is_told(address, half):
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(socket.create_connection(address, timeout=20))
        first.sendall(HALVES[half])
        for _ in range(2 * MOST):
            connection = stack.enter_context(socket.create_connection(address, timeout=20))
            connection.sendall(HALVES[half])
        answer = read(first)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(bodies(answer)[0])["error"]["code"] == "request_timeout"
