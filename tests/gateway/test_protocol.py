"""What a connection may carry: offers of other protocols, bytes that are no body, requests behind one another."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from gateway.connections.connection_limit import ConnectionLimit
from gateway.connections.protocol import guarded
from tests.gateway.fakes import serving
from tests.waiting import until

HELD = threading.Event()
SEEN: list[tuple[str, str]] = []


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body, and with the names of headers; `/early` answers before the body."""
    SEEN.append((scope["method"], scope["path"]))
    body, more = b"", scope["path"] != "/early"
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    while scope["path"] == "/held" and not HELD.is_set():
        await asyncio.sleep(0.01)
    names = json.dumps([name.decode() for name, _ in scope["headers"]]).encode()
    content = names if scope["path"] == "/names" else body
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(content))]})
    await send({"type": "http.response.body", "body": content})


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    with serving(echo, http=guarded(5, 1024)) as url:
        parts = urlsplit(url)
        yield str(parts.hostname), int(parts.port or 0)


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    SEEN.clear()
    HELD.clear()
    yield
    HELD.set()


def talk(address: tuple[str, int], *parts: bytes) -> bytes:
    """Everything that comes back when these parts are sent and no more."""
    with socket.create_connection(address, timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):
            for place, part in enumerate(parts):
                if place:
                    time.sleep(0.003)
                connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
        return read(connection)


def read(connection: socket.socket) -> bytes:
    got = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        while piece := connection.recv(65536):
            got += piece
    return got


def bodies(answer: bytes) -> list[bytes]:
    """Of answers that all have a Content-Length."""
    found = []
    while answer:
        head, _, rest = answer.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        found.append(rest[:length])
        answer = rest[length:]
    return found


def request(path: str = "/", *headers: str, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


OFFERS = ["h2c", "websocket", "h2c, websocket", "foo/2", "TLS/1.0"]
SMUGGLED = b"DELETE /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("offer", OFFERS)
def test_an_offer_of_another_protocol_is_ignored(address, offer):
    offered = ("Connection: Upgrade, HTTP2-Settings", f"Upgrade: {offer}", "HTTP2-Settings: AAEAAEAAAAIAAAAB")
    long = request("/", *offered, f"Content-Length: {len(SMUGGLED)}")
    chunked = request("/", *offered, "Transfer-Encoding: chunked")
    framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
    for parts in ((long + SMUGGLED,), (long, SMUGGLED), (chunked + framed,), (chunked, framed[:9], framed[9:])):
        assert bodies(talk(address, *parts)) == [SMUGGLED]
    assert bodies(talk(address, request("/", *offered, method="GET") + request("/names", method="GET")))[0] == b""
    assert ("DELETE", "/smuggled") not in SEEN


def test_the_connection_goes_on_after_an_offer(address):
    offering = request("/names", "Connection: Upgrade", "Upgrade: h2c", "Content-Length: 2") + b"ab"
    names, second = bodies(talk(address, offering + request("/", "Content-Length: 3") + b"xyz"))
    assert json.loads(names) == ["host", "connection", "content-length"]
    assert second == b"xyz"


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), b"400"),
        (b"CONNECT example.org:80 HTTP/1.1\r\nHost: example.org\r\n\r\n", b"405"),
        (b"CONNECT example.org:80 HTTP/1.1\r\nHost: example.org\r\n\r\n" + SMUGGLED, b"405"),
    ],
)
def test_what_is_no_request_for_this_server(address, start, status):
    answer = talk(address, start)
    assert answer.split()[1] == status
    assert set(json.loads(bodies(answer)[0])["error"]) == {"message", "type", "param", "code"}
    assert SEEN == []


def test_the_host_of_an_absolute_target_counts(address):
    answer = talk(address, b"GET http://other.test:81/names HTTP/1.1\r\nHost: localhost\r\nA: b\r\n\r\n")
    assert json.loads(bodies(answer)[0]) == ["host", "a"]


@pytest.mark.parametrize(
    ("target", "path"),
    [("http://a", "/"), ("http://a?x=1", "/"), ("http://a/b?x=1", "/b"), ("HTTP://a:1", "/"), ("http://[::1]", "/")],
)
def test_a_target_that_names_a_host_has_a_path(address, target, path):
    assert talk(address, request(target, method="GET")).startswith(b"HTTP/1.1 200 ")
    assert [("GET", path)] == SEEN


TOKENS = st.sampled_from(["http://", "a", ":", "/", "?", "#", "@", "[", "]", "::1", "99999999", "%", "%ff", "*", ".."])
TARGETS = st.lists(TOKENS, min_size=1, max_size=6).map("".join) | st.text(
    st.characters(min_codepoint=33, max_codepoint=255), min_size=1, max_size=20
)
HEADERS = st.tuples(
    st.sampled_from(["Host", "Upgrade", "Connection", "Content-Length", "Transfer-Encoding", "Expect", "X"]),
    st.sampled_from(["", "0", "3", "-1", "chunked", "gzip, chunked", "identity", "close", "upgrade", "h2c", "x\ty"])
    | st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=10),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["GET", "POST", "OPTIONS", "CONNECT", "M-SEARCH", "XYZ"]),
    TARGETS,
    st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9.9", "http/1.1", ""]),
    st.lists(HEADERS, max_size=4),
)
def test_any_head_gets_an_answer(address, caplog, method, target, version, headers):
    """Never a bare close; what cannot be parsed leaves no traceback."""
    lines = [f"{method} {target} {version}", *(f"{name}: {value}" for name, value in headers)]
    answer = talk(address, "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 ") or "Content-Length" in dict(headers) or "Transfer-Encoding" in dict(headers)
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize(
    "coding", ["gzip, chunked", "gzip,chunked", "deflate, chunked", "x, chunked", "identity, chunked"]
)
def test_a_body_that_was_coded_before_it_was_sent(address, coding):
    for offer in ((), ("Connection: Upgrade", "Upgrade: h2c")):
        answer = talk(address, request("/", f"Transfer-Encoding: {coding}", *offer) + b"1\r\na\r\n0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert "`chunked`" in json.loads(bodies(answer)[0])["error"]["message"]
    two = ("Transfer-Encoding: gzip", "Transfer-Encoding: chunked")
    assert talk(address, request("/", *two) + b"1\r\na\r\n0\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert SEEN == []


CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    "start",
    [
        request("/" + "x" * 120_000, method="GET"),
        request("/", "X-Long: " + "x" * 120_000, method="GET"),
        request("/", *["X-A: b"] * 20_000, method="GET"),
        request("/", CHUNKED) + b"1\r\na\r\n0\r\nX-Long: " + b"x" * 120_000,
        request("/", CHUNKED) + b"1\r\na\r\n0\r\nX-Long: " + b"x" * 120_000 + b"\r\n\r\n",
        request("/", CHUNKED) + b"1\r\na\r\n0\r\n" + b"X-A: b\r\n" * 20_000 + b"\r\n",
        request("/", CHUNKED) + b"1;" + b"x" * 120_000 + b"\r\na\r\n0\r\n\r\n",
        request("/", CHUNKED) + (b"1;" + b"x" * 1000 + b"\r\na\r\n") * 120 + b"0\r\n\r\n",
    ],
    ids=["url", "header", "many-headers", "trailer-open", "trailer", "many-trailers", "extension", "many-extensions"],
)
def test_every_byte_that_is_no_body_counts(address, start):
    """In one piece and in many."""
    step = len(start) // 20
    for parts in ([start], [start[place : place + step] for place in range(0, len(start), step)]):
        answer = talk(address, *parts)
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert json.loads(bodies(answer)[0])["error"]["code"] == "headers_too_large"


@pytest.mark.parametrize(
    "behind",
    [
        request("/", "Content-Length: 900000000"),
        request("/", CHUNKED) + b"1\r\na\r\n0\r\nX-Long: ",
        b"GET /",
        b"GET / HTTP/1.1\r\nX-Long: ",
    ],
    ids=["body", "trailers", "url", "header"],
)
def test_bytes_behind_a_request_that_is_not_answered_yet(address, behind):
    """None of them is taken in without end, and the request gets its answer."""
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(request("/held", "Content-Length: 1") + b"a" + behind)
        until(lambda: SEEN)
        connection.settimeout(0.3)
        sent = 0
        with contextlib.suppress(ConnectionError, TimeoutError):
            while sent < 64_000_000:
                sent += connection.send(b"x" * 1_000_000)
        HELD.set()
        with contextlib.suppress(ConnectionError):
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
    assert sent < 64_000_000


def test_small_trailers_do_not_add_up(address):
    one = request("/", CHUNKED) + b"1;a=" + b"b" * 500 + b"\r\na\r\n0\r\nX-A: " + b"b" * 500 + b"\r\n\r\n"
    with socket.create_connection(address, timeout=10) as connection:
        for _ in range(200):
            connection.sendall(one)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_trailers_are_no_headers(address):
    trailers = b"1\r\na\r\n0\r\nX-API-Key: late\r\n\r\n"
    assert bodies(talk(address, request("/names", CHUNKED) + trailers)) == [b'["host", "transfer-encoding"]']


def test_small_chunks_are_no_headers(address):
    """200,000 chunks of a byte, in pieces as they come."""
    content = b"1\r\na\r\n" * 200_000 + b"0\r\n\r\n"
    assert bodies(talk(address, request("/", CHUNKED), content)) == [b"a" * 200_000]


def test_requests_behind_one_another(address):
    many = b"".join(request(f"/{place}", "Content-Length: 3") + b"%03d" % place for place in range(50))
    assert bodies(talk(address, many)) == [b"%03d" % place for place in range(50)]
    answered = bodies(talk(address, request("/", method="GET") * 5000))
    assert 60 < len(answered) < 70
    assert len(SEEN) < 50 + 70


def test_a_senseless_request_behind_a_good_one(address):
    """The good one gets its own answer, and nothing else follows."""
    assert bodies(talk(address, request("/", "Content-Length: 1") + b"a" + b"\x00\x01\x02\r\n\r\n")) == [b"a"]
    two = request("/", "Content-Length: 1") + b"a" + request("/", "Content-Length: 1") + b"b"
    assert bodies(talk(address, two + bytes(100_000))) == [b"a", b"b"]
    behind = request("/early", CHUNKED) + b"zz\r\n"
    assert bodies(talk(address, request("/", "Content-Length: 1") + b"a" + behind)) == [b"a"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(st.binary(min_size=1, max_size=300), max_size=5),
    cuts=st.lists(st.integers(0, 400), max_size=3),
    offer=st.sampled_from(["", *OFFERS]),
    framed=st.booleans(),
    trailers=st.lists(st.sampled_from([b"A: b", b"Upgrade: h2c", b"Connection: upgrade"]), max_size=2),
)
def test_a_body_arrives_as_it_was_sent(address, pieces, cuts, offer, framed, trailers):
    """However it is framed and cut, with an offer or without; and so does that of the next request."""
    offered = ["Connection: keep-alive, Upgrade", f"Upgrade: {offer}"] if offer else []
    body = b"".join(pieces)
    if framed:
        lines = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        sent = request("/", *offered, CHUNKED) + lines + b"0\r\n" + b"".join(t + b"\r\n" for t in trailers) + b"\r\n"
    else:
        sent = request("/", *offered, f"Content-Length: {len(body)}") + body
    sent += request("/", "Content-Length: 4") + b"next"
    assert bodies(talk(address, *cut(sent, cuts))) == [body, b"next"]


def cut(sent: bytes, cuts: Sequence[int]) -> list[bytes]:
    places = [0, *sorted({place for place in cuts if 0 < place < len(sent)}), len(sent)]
    return [sent[a:b] for a, b in itertools.pairwise(places)]


def test_more_clients_than_there_may_be():
    """The oldest idle connection makes room; where none is idle, the answer says so."""
    crowded = type("Crowded", (guarded(5, 4),), {"connection_limit": ConnectionLimit(4, rested_s=0)})
    with serving(echo, http=crowded) as url:
        parts = urlsplit(url)
        address = (str(parts.hostname), int(parts.port or 0))
        idle = [socket.create_connection(address, timeout=10) for _ in range(20)]
        assert bodies(talk(address, request("/", "Content-Length: 1") + b"a")) == [b"a"]
        assert sum(read(connection) == b"" for connection in idle[:10]) == 10
        for connection in idle:
            connection.close()
        busy = [socket.create_connection(address, timeout=10) for _ in range(4)]
        for connection in busy:
            connection.sendall(request("/held", method="GET"))
        until(lambda: SEEN.count(("GET", "/held")) == 4)
        for number in range(10):
            answer = talk(address, request("/", "Content-Length: 1") + b"a")
            assert answer.startswith(b"HTTP/1.1 503 "), number
            assert json.loads(bodies(answer)[0])["error"]["code"] == "unavailable"
        HELD.set()
        assert [connection.recv(15) for connection in busy] == [b"HTTP/1.1 200 OK"] * 4
        for connection in busy:
            connection.close()


def test_an_early_answer_reaches_a_client_that_sends_first(address):
    """And the connection goes on behind the rest of the body."""
    body = bytes(30_000_000)
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(request("/early", f"Content-Length: {len(body)}") + body)
        connection.sendall(request("/", "Content-Length: 1") + b"a")
        connection.shutdown(socket.SHUT_WR)
        assert bodies(read(connection)) == [b"", b"a"]


@pytest.mark.parametrize("connection_header", ["Connection: close", "Connection: keep-alive"])
def test_the_rest_of_a_body_is_not_read_without_end(connection_header):
    hasty = type("Hasty", (guarded(5, 64),), {"linger_bytes": 1_000_000})
    with serving(echo, http=hasty) as url:
        parts = urlsplit(url)
        with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=10) as connection:
            connection.sendall(request("/early", "Content-Length: 900000000", connection_header))
            sent = 0
            with contextlib.suppress(ConnectionError):
                while sent < 64_000_000:
                    sent += connection.send(bytes(100_000))
        assert sent < 64_000_000


def test_the_rest_of_a_body_is_not_waited_for_without_end():
    hasty = type("Hasty", (guarded(5, 64),), {"linger_s": 0.2})
    with serving(echo, http=hasty) as url:
        parts = urlsplit(url)
        for header in ("Connection: close", "Connection: keep-alive"):
            with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=10) as connection:
                connection.sendall(request("/early", "Content-Length: 900", header))
                assert bodies(read(connection)) == [b""]


def test_a_client_that_waits_for_100_continue_and_is_refused(address):
    """It sends no body, and what it sends next would be taken for one."""
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(request("/early", "Expect: 100-continue", "Content-Length: 50"))
        assert bodies(read(connection)) == [b""]
