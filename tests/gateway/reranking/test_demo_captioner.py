"""The demo's captioner behind a gateway, by the worker's own code: drawn pictures, their thumbnails, the canaries."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Iterator
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.responses import Response

from benchmarks.rerank.queries import KnownQuery, attribute, relation
from clip_core.captions.captioner import Captioner
from clip_core.captions.scheduler import Scheduler
from clip_core.endpoint_config import EndpointConfig
from clip_core.serving.captions.batch import CaptionBatch
from clip_core.serving.captions.request import CaptionCall, parse_caption_row
from scripts.demo.captioner.evaluate import ARCHIVE
from scripts.demo.render import render
from tests.gateway.conftest import Stack

QUERIES = [relation(Random(3)), relation(Random(5)), attribute(Random(7))]


@pytest.fixture(scope="module")
def worker() -> CaptionBatch:
    captioner = Captioner.load(ARCHIVE)
    spec: Any = SimpleNamespace(name="demo", fingerprint=captioner.fingerprint)
    return CaptionBatch("clip_caption", spec, Scheduler(captioner), EndpointConfig())


@pytest.fixture
def filled(stack_of: Any, worker: CaptionBatch) -> Iterator[Stack]:
    stack: Stack = stack_of()
    lock = asyncio.Lock()

    async def answered(_: str, body: Any) -> Response:
        parsed = parse_caption_row({"body": body}, "application/json", 256)
        assert isinstance(parsed, CaptionCall)
        async with lock:
            pieces = await asyncio.to_thread(worker.call, {"request": parsed})
        answer = pieces["request"].answer
        return Response(answer.body, answer.status, media_type="application/json")

    stack.torchserve._caption = answered  # type: ignore[method-assign, assignment]
    assert stack.client.put("/v1/collections/demo", json={}).status_code == 201
    for place, query in enumerate(QUERIES):
        items = [{"id": f"q{place}-{n}", "image": encoded(scene)} for n, scene in enumerate(query.scenes)]
        results = stack.post("/v1/collections/demo/items", {"items": items}).json()["results"]
        assert [each["status"] for each in results] == [200] * len(items)
    yield stack
    del stack.torchserve._caption


def encoded(scene: Any) -> str:
    file = io.BytesIO()
    render(scene, 320, 240).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize(("place", "query"), list(enumerate(QUERIES)), ids=lambda each: str(getattr(each, "kind", "")))
def test_the_right_picture_comes_first(filled: Stack, place: int, query: KnownQuery) -> None:
    body = {"collection": "demo", "text": query.text, "rerank": {"by": "tree", "explain": True}}
    answer = filled.post("/v1/search", body).json()
    told = answer["rerank"]
    assert (told["note"], told["scored"], told["without_picture"]) == (None, 18, 0)
    assert told["quality"]["captioner"] > 0.9
    assert answer["hits"][0]["id"] == f"q{place}-0", query.text
    again = filled.post("/v1/search", body).json()["rerank"]
    assert (again["pictures"], again["tokens"]) == (0, told["tokens"]), "they are remembered"
