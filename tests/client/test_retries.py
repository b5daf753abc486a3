"""Errors, retries and deadlines, against a server that fails on purpose."""

from __future__ import annotations

import socket
import threading
import time
from email.utils import formatdate

import pytest

from clip_core.errors import ClipServeError, _tree
from clipserve_client import AsyncClient, CallTimedOut, Client, ConnectionFailed, NewItem, Retries, errors
from clipserve_client.retries import retry_after
from tests.client.answering import answering, failure
from tests.client.conftest import QUICK

OK = (200, {"collections": []}, {})
BUSY = (429, failure("overloaded"), {"Retry-After": "0"})
DOWN = (503, failure("index_unavailable"), {})
ITEMS = [NewItem("a", text="a")]


def test_the_tree_is_the_gateways() -> None:
    ours = {cls.known_code: cls for cls in errors._tree(errors.ApiError)}
    theirs = {cls.code: cls for cls in _tree(ClipServeError)}
    assert ours.keys() == theirs.keys()
    for code, cls in theirs.items():
        assert f"{cls.status} {code}" in (errors.__doc__ or "") or cls is ClipServeError
        error = errors.api_error(cls.status, cls("x").to_dict())
        assert (type(error), error.status, error.code) == (ours[code], cls.status, code)
        assert {base.code for base in cls.__mro__ if hasattr(base, "code")} == {
            base.known_code for base in ours[code].__mro__ if hasattr(base, "known_code")
        }


@pytest.mark.parametrize("answer", [BUSY, DOWN, (502, "<html>proxy</html>", {})])
def test_reads_and_writes_with_ids_are_sent_again(answer) -> None:
    with answering(answer, answer, OK) as server, Client(server.url, retries=QUICK) as client:
        assert client.collections() == []
        server.answers[:] = [answer, (200, {"results": [{"id": "a", "status": 200}]}, {})]
        assert client.add("demo", ITEMS)[0].ok
        assert len(server.requests) == 5


def test_what_may_not_happen_twice_is_sent_again_only_where_nothing_was_done() -> None:
    begun = (
        202,
        {
            "id": "j",
            "collection": "d",
            "state": "queued",
            "progress": dict.fromkeys(("processed", "added", "failed"), 0),
        },
        {},
    )
    with answering(BUSY, begun) as server, Client(server.url, retries=QUICK) as client:
        assert client.begin_job("demo", {"folder": "x"}).id == "j"
        server.answers[:] = [DOWN, begun]
        with pytest.raises(errors.IndexUnavailable):
            client.begin_job("demo", {"folder": "x"})
        assert len(server.requests) == 3
        server.answers[:] = [DOWN, (200, {"deleted": 0}, {})]
        with pytest.raises(errors.IndexUnavailable):  # a second try would count none of those the first one deleted
            client.delete_items("demo", ["a"])


def test_other_errors_are_not_sent_again() -> None:
    with answering((404, failure("not_found"), {"X-Request-Id": "r7"})) as server, Client(server.url) as client:
        with pytest.raises(errors.NotFound) as caught:
            client.collections()
        assert (len(server.requests), caught.value.request_id) == (1, "r7")


def test_tries_end() -> None:
    with answering(BUSY) as server, Client(server.url, retries=Retries(2, 0.001)) as client:
        with pytest.raises(errors.Overloaded):
            client.collections()
        assert len(server.requests) == 3


def test_retry_after_is_waited_for_or_is_too_late() -> None:
    with answering((429, failure("rate_limited"), {"Retry-After": "1"}), OK) as server:
        with Client(server.url, retries=QUICK) as client:
            began = time.monotonic()
            client.collections()
            assert time.monotonic() - began >= 1
        server.answers[:] = [(429, failure("rate_limited"), {"Retry-After": "30"})]
        with Client(server.url, retries=QUICK, timeout_s=5) as client:
            began = time.monotonic()
            with pytest.raises(errors.RateLimited) as caught:
                client.collections()
            assert time.monotonic() - began < 1
            assert caught.value.retry_after == 30


def test_retry_after_is_read_in_both_forms() -> None:
    assert retry_after("3") == 3
    assert 50 < (retry_after(formatdate(time.time() + 60, usegmt=True)) or 0) <= 60
    assert [retry_after(each) for each in (None, "soon", "", "-1")] == [None] * 4


def test_a_gateway_that_is_not_there_is_named_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}", retries=QUICK) as client:
        with pytest.raises(ConnectionFailed, match=f"127.0.0.1:{port} does not answer.*clipserve up") as caught:
            client.collections()
        assert not caught.value.sent


def test_a_gateway_that_comes_back_is_found_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    client = Client(f"http://127.0.0.1:{port}", retries=Retries(20, 0.05, 0.1))

    def later() -> None:
        time.sleep(0.3)
        with socket.create_server(("127.0.0.1", port)) as late:
            connection, _ = late.accept()
            connection.recv(65536)
            body = b'{"collections": []}'
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)
            )
            connection.close()

    thread = threading.Thread(target=later)
    thread.start()
    assert client.collections() == []
    thread.join()
    client.close()


def test_a_call_ends_with_its_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Client(url, retries=QUICK, timeout_s=0.3) as client:
            began = time.monotonic()
            with pytest.raises(CallTimedOut):
                client.collections()
            assert time.monotonic() - began < 2


def test_the_gateway_is_told_how_long_it_is_waited_for() -> None:
    with answering(OK) as server, Client(server.url, timeout_s=7, api_key="k") as client:
        client.collections()
        (request,) = server.requests
        assert 6 < float(request.headers["X-Request-Timeout"]) <= 7
        assert request.headers["Authorization"] == "Bearer k"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("<html>hello</html>", "it is no JSON (<html>hello"),
        ({}, "`collections` is missing"),
        ({"collections": 1}, "a value is of another kind than it should be"),
    ],
)
def test_an_answer_of_something_else_is_an_error(body: object, why: str) -> None:
    with answering((200, body, {})) as server, Client(server.url) as client:
        with pytest.raises(errors.ApiError, match="not as a gateway does") as caught:
            client.collections()
        assert (caught.value.code, why in caught.value.message) == ("unreadable_answer", True), caught.value


def test_an_error_of_something_else_is_shown_as_it_came() -> None:
    assert '{"detail": "no"}' in errors.api_error(404, {"detail": "no"}).message


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x", "http://", "http://a:b:c"])
def test_addresses_are_checked(url: str) -> None:
    with pytest.raises(errors.BadAddress, match="no address of a gateway"):
        Client(url)


def test_the_environment_names_the_gateway_and_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPSERVE_URL", "http://search.lan:9000/")
    monkeypatch.setenv("CLIPSERVE_API_KEY", "secret")
    client = Client()
    assert (client.target.url, client.target.api_key) == ("http://search.lan:9000", "secret")
    assert "secret" not in repr(client.target)
    client.close()


async def test_the_async_client_tries_again_too() -> None:
    with answering(BUSY, DOWN, OK) as server:
        async with AsyncClient(server.url, retries=QUICK) as client:
            assert await client.collections() == []


def test_a_pause_after_many_tries_is_the_longest() -> None:
    """The client is a wheel of its own, and so has its own doubling pause."""
    error = ConnectionFailed("away", sent=False)
    for tries in (0, 10, 10_000):
        assert 0 <= Retries(max_backoff_s=15.0).pause(tries, error) <= min(15.0, 0.25 * 2.0 ** min(tries, 64))
