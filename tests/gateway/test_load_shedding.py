"""What is refused before it is parsed: only what can be nothing but texts for an endpoint that turns texts away."""

from __future__ import annotations

from typing import Any

import pytest

from clip_core.errors import Overloaded
from gateway.middleware.load_shedding import LoadShedding

TEXT = b'{"input": "a picture"}'


class Refusing:
    """As an Admission while its queue stands."""

    sheds = True

    def check(self, *_: object) -> None:
        raise Overloaded("no")


async def send_through(body: bytes, path: str = "/v1/embeddings", method: str = "POST", *, sheds: bool = True) -> bytes:
    """What the app reads."""
    read: list[bytes] = []

    async def app(_: Any, receive: Any, __: Any) -> None:
        read.append((await receive())["body"])

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    texts = Refusing()
    texts.sheds = sheds
    await LoadShedding(app, texts)({"type": "http", "path": path, "method": method}, receive, None)  # type: ignore[arg-type]
    return read[0]


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/search", "/v1/rank", "/v2/embed"])
async def test_texts_are_refused(path):
    with pytest.raises(Overloaded):
        await send_through(TEXT, path)


@pytest.mark.parametrize(
    "body",
    [
        b'{"image": "aGk="}',
        b'{"input": [{"image_url": {"url": "data:,"}}]}',
        b'{"modality": "image", "input": "aGk="}',
        b'{"collection": "demo", "vector": [1, 2]}',
        b'{"query": [{"like": "a"}]}',
        b'{"input": "%s"}' % (b"a" * 10_000),
    ],
)
async def test_what_may_be_more_than_texts_goes_on(body):
    assert await send_through(body) == body


@pytest.mark.parametrize(("path", "method"), [("/v1/collections/demo/items/delete", "POST"), ("/v1/search", "PUT")])
async def test_what_is_not_encoded_goes_on(path, method):
    assert await send_through(TEXT, path, method) == TEXT


async def test_nothing_is_refused_in_calm():
    assert await send_through(TEXT, sheds=False) == TEXT
