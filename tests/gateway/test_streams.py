"""Items as NDJSON streams, and many pictures in one form."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ingest.ndjson import batches
from tests.gateway.fakes import picture, picture_uri

STREAM = "/v1/collections/demo/items/stream"


def send(stack, content):
    return stack.client.post(STREAM, content=content, headers={"Content-Type": "application/x-ndjson"})


def lines(*values) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def test_a_long_stream_in_odd_pieces(stack_of):
    stack = stack_of(job_batch=16)
    stack.fill("cat")
    whole = lines(*({"id": str(n), "text": f"t{n}", "metadata": {"n": n}} for n in range(500)))

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(whole), 777):
            yield whole[start : start + 777]

    answer = send(stack, pieces())
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"received": 500, "added": 500, "failed": 0, "errors": []}
    assert len(stack.index.collections["demo"]["items"]) == 501
    assert stack.index.collections["demo"]["items"]["499"]["metadata"] == {"n": 499}
    assert max(len(body["input"]) for _, body in stack.torchserve.calls) <= 16


def test_bad_lines_are_named_and_stop_no_others(stack):
    stack.fill("cat")
    content = (
        lines({"id": "a", "text": "a"})
        + b"{\n\n\xff\n"
        + lines([1], {"id": "b", "text": " "}, {"id": "c", "image": picture_uri("c")}, {"id": 5, "text": "x"})
    )
    answer = send(stack, content.rstrip(b"\n")).json()
    assert (answer["received"], answer["added"], answer["failed"]) == (7, 2, 5)
    said = [(each["line"], each["status"], each["error"]["code"]) for each in answer["errors"]]
    assert said == [
        (2, 400, "invalid_json"),
        (4, 400, "invalid_json"),
        (5, 400, "invalid_request"),
        (6, 400, "invalid_text"),
        (8, 400, "bad_input"),
    ]
    assert set(stack.index.collections["demo"]["items"]) == {"cat", "a", "c"}


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_an_empty_stream(stack, content):
    stack.fill("cat")
    assert send(stack, content).json() == {"received": 0, "added": 0, "failed": 0, "errors": []}


def test_a_stream_may_be_larger_than_a_body_but_not_a_line(stack_of):
    stack = stack_of(max_body_bytes=2000, max_image_bytes=1000, max_stream_bytes=20_000)
    stack.fill("cat")
    assert send(stack, lines(*({"id": str(n), "text": "x" * 50} for n in range(100)))).json()["added"] == 100
    long = send(stack, lines({"id": "first", "text": "a"}, {"id": "long", "text": "x" * 2000}))
    assert (long.status_code, long.json()["error"]["param"]) == (413, "line 2")
    assert "first" in stack.index.collections["demo"]["items"], "the lines before it are in"
    assert send(stack, iter([b" " * 1000 + b"\n"] * 30)).status_code == 413
    assert stack.client.post("/v1/search", content=b"x" * 3000).status_code == 413


def test_unknown_collection(stack):
    assert send(stack, lines({"id": "a", "text": "a"})).json()["error"]["code"] == "collection_not_found"


def test_many_pictures_in_one_form(stack):
    stack.fill("cat")
    files = [("images", (f"{word}.png", picture(word))) for word in ("pear", "plum")]
    files.append(("images", ("bad.png", b"no picture")))
    answer = stack.client.post("/v1/collections/demo/items", files=files)
    assert [(each["id"], each["status"]) for each in answer.json()["results"]] == [
        ("pear.png", 200),
        ("plum.png", 200),
        ("bad.png", 400),
    ]
    assert stack.index.collections["demo"]["items"]["plum.png"]["metadata"]["file"] == "plum.png"


class Pieces:
    """A request of which only the stream is looked at."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    async def stream(self):
        for piece in self._pieces:
            yield piece


async def test_a_long_line_in_small_pieces_is_read_at_once():
    """80,000 pieces of one line: copied anew with each, they would take minutes."""
    started = time.monotonic()
    request = Pieces(b'{"id": "', *[b"x" * 200] * 80_000, b'"}\n{"id": "b"}')
    found = [line.value["id"] async for batch in batches(request, 10, 20_000_000) for line in batch]
    assert [len(each) for each in found] == [16_000_000, 1]
    assert time.monotonic() - started < 20


@given(st.lists(st.sampled_from([b"1", b"\n", b"2\n", b"\r\n", b"\n\n3", b""])))
async def test_lines_are_those_of_the_whole(pieces):
    found = [(line.number, line.value) async for batch in batches(Pieces(*pieces), 3, 100) for line in batch]
    whole = b"".join(pieces).split(b"\n")
    assert found == [(number, int(text)) for number, text in enumerate(whole, 1) if text.strip()]
