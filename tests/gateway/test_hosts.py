"""DNS rebinding: a page whose own name leads to a gateway without keys."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.middleware.allowed_hosts import PROBES, HostList

GOOD = [
    "127.0.0.1",
    "127.0.0.1:8000",
    "127.9.9.9:1",
    "localhost",
    "LOCALHOST:8000",
    "localhost.",
    "localhost.:8000",
    "[::1]",
    "[::1]:8000",
    "localhost:",
]
BAD = [
    "",
    "evil.test",
    "evil.test:8000",
    "localhost.evil.test",
    "evil.test.",
    "127.0.0.1.evil.test",
    "evil@localhost",
    "localhost:evil",
    "localhost:8000:8000",
    "localhost, evil.test",
    "localhost evil.test",
    "[::1",
    "::1",
    "[::1]evil",
    "[evil.test]",
    "127.1",
    "2130706433",
    "0x7f.0.0.1",
    "0.0.0.0:8000",
    "[::]",
    "192.168.0.5:8000",
    "localhost..",
    "l\xf6calhost",
    "localhost\x00",
]


@pytest.mark.parametrize("host", GOOD)
def test_loopback_is_allowed(host):
    assert HostList().allows(host.encode())


@pytest.mark.parametrize("host", BAD)
def test_nothing_else_is(host):
    assert not HostList().allows(host.encode("latin-1"))


def test_names_that_are_given():
    hosts = HostList(("Search.LAN", "*.home", "10.0.0.5", "fd00::5"))
    for host in ("search.lan:8000", "search.lan.", "a.home", "A.b.HOME:1", "10.0.0.5:8000", "[fd00::5]:8000"):
        assert hosts.allows(host.encode()), host
    for host in ("evil.search.lan", "home", "evilhome", "home.evil.test", "10.0.0.50", "search.lan.evil.test"):
        assert not hosts.allows(host.encode()), host
    assert HostList(("*",)).allows(b"evil.test")


@given(st.binary(max_size=40))
def test_whatever_the_bytes(host):
    """Nobody's page is at a host without a letter or digit, so only loopback may pass."""
    name = host.decode("latin-1").lower()
    assert not HostList().allows(host) or "localhost" in name or "127." in name or "::1" in name


def ask(url: str, method: str, target: str, *headers: tuple[str, str]) -> tuple[int, Any]:
    """With exactly these headers."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    for header in headers:
        connection.putheader(*header)
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


PATHS = ["/", "/ui/app.js", "/docs", "/openapi.json", "/favicon.ico", "/v1/models", "/v1/collections", "/none"]
EVIL = ("Host", "evil.test:8000")


@pytest.mark.parametrize("path", PATHS)
def test_no_path_answers_to_another_name(stack, path):
    """Reading, writing, and asking for what may be done: none of it gets further than the door."""
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
        status, content = ask(stack.url, method, path, EVIL)
        assert status == 403
        if method != "HEAD":
            error = json.loads(content)["error"]
            assert error["code"] == "host_not_allowed"
            assert "CLIPSERVE_GATEWAY_ALLOWED_HOSTS" in error["message"]
    assert stack.index.calls == stack.torchserve.calls == []


def test_ways_to_name_two_hosts(stack):
    local = ("Host", stack.url.removeprefix("http://"))
    assert ask(stack.url, "GET", "/v1/collections", local)[0] == 200
    for headers in ([], [local, EVIL], [EVIL, local], [local, local]):
        assert ask(stack.url, "GET", "/v1/collections", *headers)[0] == 403
    assert ask(stack.url, "GET", "http://evil.test/v1/collections", local)[0] == 403
    assert ask(stack.url, "GET", "http://[::1]:80/v1/collections", local)[0] == 200


@pytest.mark.parametrize("origin", ["null", "http://evil.test:8000", "http://127.0.0.1:1", "http://[", ""])
def test_pages_of_others_write_nothing(stack, origin):
    local = ("Host", stack.url.removeprefix("http://"))
    assert ask(stack.url, "DELETE", "/v1/collections/demo", local, ("Origin", origin))[0] == 403
    assert ask(stack.url, "DELETE", "/v1/collections/demo", local, ("Origin", stack.url))[0] == 404
    assert ask(stack.url, "DELETE", "/v1/collections/demo", local, ("Origin", stack.url), ("Origin", origin))[0] == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("site", ["cross-site", "same-site", "Cross-Site", "", "another"])
def test_pages_without_an_origin_write_nothing(stack, method, site):
    local = ("Host", stack.url.removeprefix("http://"))
    status, content = ask(stack.url, method, "/v1/collections/demo", local, ("Sec-Fetch-Site", site))
    assert (status, json.loads(content)["error"]["code"]) == (403, "cross_origin")
    assert stack.index.calls == []
    for own in ("same-origin", "none"):
        assert ask(stack.url, method, "/v1/collections/demo", local, ("Sec-Fetch-Site", own))[0] != 403


def test_a_page_of_another_site_may_ask_but_not_read(stack):
    local = ("Host", stack.url.removeprefix("http://"))
    for header in (("Origin", "http://evil.test"), ("Sec-Fetch-Site", "cross-site")):
        assert ask(stack.url, "GET", "/v1/models", local, header)[0] == 200
    answer = stack.client.get("/v1/models", headers={"Origin": "http://evil.test"})
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", sorted(PROBES))
def test_probes_call_by_address(stack, path):
    assert ask(stack.url, "GET", path, ("Host", "10.1.2.3:8000"))[0] == 200


def test_with_keys_or_a_list_any_name_will_do(stack_of):
    key = ("X-API-Key", "k")
    stack = stack_of(api_keys="k")
    assert ask(stack.url, "GET", "/", EVIL)[0] == 200
    assert ask(stack.url, "GET", "/v1/collections", EVIL)[0] == 401
    assert ask(stack.url, "GET", "/v1/collections", EVIL, key)[0] == 200
    assert ask(stack_of(allowed_hosts="evil.test").url, "GET", "/v1/collections", EVIL)[0] == 200
