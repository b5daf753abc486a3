"""Clients that write their whole body before they read get the answer to a refused one, not a reset."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

BODY = b'{"input": "' + b"a" * 6_000_000 + b'"}'


def pieces() -> Iterator[bytes]:
    for place in range(0, len(BODY), 100_000):
        yield BODY[place : place + 100_000]


@pytest.mark.parametrize(
    ("settings", "headers", "status"),
    [
        ({"max_body_bytes": 1000}, {}, 413),
        ({"api_keys": "k"}, {}, 401),
        ({"api_keys": "k", "requests_per_minute": 1}, {"X-API-Key": "k"}, 429),
        ({}, {"Origin": "http://evil.test"}, 403),
        ({}, {"X-Request-Timeout": "soon"}, 400),
    ],
)
def test_the_answer_arrives(stack_of, settings, headers, status):
    stack = stack_of(**settings)
    stack.client.get("/v1/models", headers=headers)  # the one request of a minute
    for content in (BODY, pieces()):
        asked = urllib.request.Request(f"{stack.url}/v1/embeddings", content, headers, method="POST")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(asked, timeout=10)
        assert refused.value.code == status
        assert json.load(refused.value)["error"]["message"]


def test_the_connection_goes_on(stack_of):
    stack = stack_of(api_keys="k")
    connection = http.client.HTTPConnection(stack.url.removeprefix("http://"), timeout=10)
    for key, status in (("wrong", 401), ("k", 200), ("wrong", 401)):
        body = BODY if key == "wrong" else b'{"input": "a"}'
        connection.request("POST", "/v1/embeddings", body, {"X-API-Key": key})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
    connection.close()
