"""Names in multipart forms as clients write them, RFC 5987's `filename*=` among them; and compressed bodies."""

from __future__ import annotations

import base64
import gzip
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_multipart.multipart import parse_options_header

from gateway.inputs.forms import plain
from tests.gateway.fakes import picture


def part(disposition: bytes, content: bytes) -> bytes:
    return b"--b\r\nContent-Disposition: " + disposition + b"\r\nContent-Type: image/png\r\n\r\n" + content + b"\r\n"


def send(stack, path, *parts: bytes):
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    return stack.client.post(path, content=b"".join(parts) + b"--b--\r\n", headers=headers)


NAMES = [
    (b"form-data; name=\"images\"; filename*=UTF-8''f%C3%BCr.png", "für.png"),
    (b"form-data; name=images; filename*=utf-8'de'f%C3%BCr.png", "für.png"),
    (b'form-data; name="images"; filename="fur.png"; filename*=UTF-8\'\'f%C3%BCr.png', "für.png"),
    (b'form-data; name="images"; filename*=UTF-8\'\'f%C3%BCr.png; filename="fur.png"', "für.png"),
    (b"form-data; name=\"images\"; FILENAME*=ISO-8859-1''f%FCr.png", "für.png"),
    (b"form-data; name*=UTF-8''images; filename*=UTF-8''a%20%22b%22.png", "a %22b%22.png"),
    (b"form-data; name=\"images\"; filename*=none''a.png", "a.png"),
    ('form-data; name="images"; filename="für.png"'.encode(), "für.png"),
    (b'form-data; name="images"; filename="a*b.png"', "a*b.png"),
]


@pytest.mark.parametrize(("disposition", "name"), NAMES)
def test_the_name_of_a_picture(stack, disposition, name):
    stack.fill("cat")
    answer = send(stack, "/v1/collections/demo/items", part(disposition, picture("x")))
    assert answer.json() == {"results": [{"id": name, "status": 200}]}
    assert stack.index.collections["demo"]["items"][name]["metadata"]["file"] == name


def test_a_search_by_a_picture(stack):
    stack.fill("cat")
    collection = b'--b\r\nContent-Disposition: form-data; name="collection"\r\n\r\ndemo\r\n'
    sent = part(b"form-data; name=image; filename*=UTF-8''%E7%8C%AB.png", picture("cat"))
    assert send(stack, "/v1/search", collection, sent).json()["hits"][0]["id"] == "cat"


@pytest.mark.parametrize("kind", [b"", b"Content-Type: image/png\r\n", b"Content-Type: application/octet-stream\r\n"])
def test_a_picture_without_a_name(stack, kind):
    stack.fill("cat")
    collection = b'--b\r\nContent-Disposition: form-data; name="collection"\r\n\r\ndemo\r\n'
    head = b"--b\r\nContent-Disposition: form-data; name=image\r\n" + kind + b"\r\n"
    answer = send(stack, "/v1/search", collection, head + picture("cat") + b"\r\n")
    assert answer.json()["hits"][0]["id"] == "cat"
    if b"png" not in kind:
        answer = send(stack, "/v1/search", collection, head + base64.b64encode(picture("cat")) + b"\r\n")
        assert answer.json()["hits"][0]["id"] == "cat"


def test_a_name_that_is_sent_as_a_file(stack):
    stack.fill("cat")
    sent = part(b"form-data; name=image; filename=a", picture("cat"))
    named = part(b"form-data; name=collection; filename=c.txt", b"demo")
    assert send(stack, "/v1/search", named, sent).json()["hits"][0]["id"] == "cat"
    answer = send(stack, "/v1/search", part(b"form-data; name=collection; filename=c.txt", b"\xff"), sent)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "collection")


def test_a_text_beside_a_picture_is_not_dropped(stack):
    text = b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\na cat\r\n'
    answer = send(stack, "/v1/embeddings", text, part(b"form-data; name=image; filename=a", picture("cat")))
    assert answer.status_code == 400
    assert "`text` and `image`" in answer.json()["error"]["message"]


def test_a_byte_order_mark_before_json_is_skipped(stack):
    assert stack.client.post("/v1/embeddings", content=b'\xef\xbb\xbf{"input": "a"}').status_code == 200


def test_a_form_that_cannot_be_read(stack):
    stack.fill("cat")
    for disposition in (b"form-data; filename*=UTF-8''a.png", b"form-data", b"*", b"form-data; filename*"):
        answer = send(stack, "/v1/collections/demo/items", part(disposition, b"x"))
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "invalid_request"


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'), min_size=1))
def test_any_name_arrives(name):
    sent = f"form-data; name=\"image\"; filename*=UTF-8''{quote(name, safe='')}".encode()
    assert parse_options_header(plain(sent))[1] == {b"name": b"image", b"filename": name.encode()}


@given(st.binary())
def test_nothing_fails_on_any_bytes(disposition):
    plain(disposition)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, br", "identity, gzip", "GZIP", "\xe9"])
def test_a_compressed_body_is_refused_by_its_name(stack, encoding):
    content = gzip.compress(b'{"input": "a"}')
    answer = stack.client.post(
        "/v1/embeddings", content=content, headers={"Content-Encoding": encoding.encode("latin-1")}
    )
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unknown_encoding"
    assert encoding in answer.json()["error"]["message"]


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
def test_a_plain_body_may_say_so(stack, encoding):
    assert stack.post("/v1/embeddings", {"input": "a"}, headers={"Content-Encoding": encoding}).status_code == 200
