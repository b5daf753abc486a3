"""A TorchServe that speaks the contract over real HTTP, deterministically, in a thread, and asks the fake index."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.lib.serving import serving as serving
from clip_core.errors import (
    BadImage,
    BadText,
    ClipServeError,
    Conflict,
)
from clip_core.wire import decode_vector, encode_vector, unit
from tests.gateway.fake_captioner import FakeCaptioner, refused
from tests.gateway.fake_index import DIM as DIM
from tests.gateway.fake_index import FakeIndex, answer

MODEL = "demo"
PNG = b"\x89PNG\r\n\x1a\n"
OTHERS = (b"\xff\xd8\xff", b"RIFF", b"P6")  # JPEG, WebP and PPM, as clients send them


def picture(name: str) -> bytes:
    """Bytes that the fake takes for a picture of `name`."""
    return PNG + name.encode()


def picture_uri(name: str) -> str:
    return "data:image/png;base64," + base64.b64encode(picture(name)).decode()


def embed(word: str) -> np.ndarray:
    """A picture of a word and the word itself have the same vector."""
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
    return unit(np.random.default_rng(seed).standard_normal(DIM).astype(np.float32))


@dataclass
class Load:
    """How many calls are inside, and how many were at most."""

    busy: int = 0
    busiest: int = 0


@dataclass
class FakeTorchServe:
    """The three endpoints, and the captioner's. `failure` is one of the ways in which TorchServe itself fails."""

    index: FakeIndex
    fingerprint: str = "fp-demo"
    fingerprints: dict[str, str] = field(default_factory=dict)
    model: str = MODEL
    models: dict[str, str] = field(default_factory=dict)  # by endpoint, where it isn't `model`
    facts: dict[str, Any] = field(default_factory=dict)
    matryoshka_dimensions: tuple[int, ...] = ()
    head: dict[str, float] = field(default_factory=dict)  # logit_scale and logit_bias, of archives that tell them
    failure: str | None = None
    failing_endpoint: str | None = None
    failures_left: int | None = None  # calls that fail; None: all
    workers: str = "READY"
    wanted: int = 1
    worker_pid: int = 0
    metrics: str = ""
    delay_s: float = 0.0
    lets_pass: int | None = None  # how many more calls are answered before the next ones wait; None: all
    calls: list[tuple[str, Any]] = field(default_factory=list)
    request_ids: list[str | None] = field(default_factory=list)
    traceparents: list[str] = field(default_factory=list)
    load: Load = field(default_factory=Load)
    captioner: FakeCaptioner = field(default_factory=FakeCaptioner)

    @property
    def busy(self) -> int:
        return self.load.busy

    @property
    def busiest(self) -> int:
        return self.load.busiest

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/predictions/{endpoint}", self._predict, methods=["POST"]),
                Route("/models/{endpoint}", self._models),
                Route("/metrics", lambda _: Response(self.metrics, media_type="text/plain")),
            ]
        )

    def _models(self, request: Request) -> Response:
        name = request.path_params["endpoint"]
        if name.endswith("_caption") and name not in self.captioner.endpoints:
            return answer({"code": 404, "type": "ModelNotFoundException", "message": "not found"}, 404)
        return answer(
            [
                {
                    "modelName": name,
                    "minWorkers": self.wanted,
                    "workers": [{"id": "9000", "status": self.workers, "pid": self.worker_pid}],
                }
            ]
        )

    async def _predict(self, request: Request) -> Response:
        endpoint, body = request.path_params["endpoint"], orjson.loads(await request.body())
        self.calls.append((endpoint, body))
        self.request_ids.append(request.headers.get("x-request-id"))
        self.traceparents += request.headers.getlist("traceparent")
        load = self.load  # of this test: a call that the test before left behind ends in its own
        load.busy += 1
        load.busiest = max(load.busiest, load.busy)
        try:
            await sleep(self.delay_s)
            await self._let_pass()
            failed = self._failed(endpoint)
            if failed is None and endpoint in self.captioner.endpoints:
                return await self._caption(endpoint, body)
            return failed or self._answer(endpoint, body)
        finally:
            load.busy -= 1

    async def _caption(self, endpoint: str, body: Any) -> Response:
        try:
            if "pictures" in body:
                return await self.captioner.pictures(body, self.models.get(endpoint, self.model))
            word = _word(body["image"])
            return await self.captioner.answer(body, word, self.models.get(endpoint, self.model))
        except ClipServeError as error:
            error.param = "image" if isinstance(error, BadImage) else error.param
            return refused(error)

    async def _let_pass(self) -> None:
        while self.lets_pass is not None and self.lets_pass <= 0:
            await asyncio.sleep(0.005)
        if self.lets_pass is not None:
            self.lets_pass -= 1

    def serve(self, model: str, fingerprint: str) -> None:
        """A second model, on endpoints that are named after it."""
        for kind in ("text", "image", "multimodal"):
            self.models[f"{model}_{kind}"] = model
            self.fingerprints[f"{model}_{kind}"] = fingerprint

    def _failed(self, endpoint: str) -> Response | None:
        if self.failure is None or self.failing_endpoint not in (None, endpoint):
            return None
        if self.failures_left is not None:
            if not self.failures_left:
                return None
            self.failures_left -= 1
        status, kind, message = FAILURES[self.failure]
        if not kind:
            return Response(message, status)
        return answer({"code": status, "type": kind, "message": message}, status)

    def _answer(self, endpoint: str, body: Any) -> Response:
        search = body.get("search")
        data = [{"index": i, **self._entry(item, endpoint, search)} for i, item in enumerate(body["input"])]
        timing = {"encode_ms": 1.5, "search_ms": 0.5} if search else {"encode_ms": 1.5}
        named: dict[str, Any] = {
            "model": self.models.get(endpoint, self.model),
            "fingerprint": self._fingerprint(endpoint),
            "matryoshka_dimensions": self.matryoshka_dimensions,
            **self.head,
        }
        if body.get("describe"):
            named["facts"] = self.facts
        return answer({**named, "dim": DIM, "data": data, "timing": timing})

    def _entry(self, item: Any, endpoint: str, search: Any) -> dict[str, Any]:
        try:
            vector, tokens = self._vector(item, endpoint)
        except ClipServeError as error:
            return {"status": error.status, **error.to_dict()}
        counted = {"tokens": tokens} if tokens else {}
        if search is None:
            return {"status": 200, "embedding": encode_vector(vector), **counted}
        if self.index.down:
            return {"status": 503, "error": {"message": "the index is down", "code": "index_unavailable"}}
        return {**self.index.search_one(search, self._fingerprint(endpoint), vector), **counted}

    def _fingerprint(self, endpoint: str) -> str:
        return self.fingerprints.get(endpoint, self.fingerprint)

    def _vector(self, item: Any, endpoint: str) -> tuple[np.ndarray, int]:
        if "query" in item:
            parts = [(self._vector(part, endpoint), part["weight"]) for part in item["query"]]
            return unit(sum(vector * weight for (vector, _), weight in parts)), 0
        if "text" in item:
            if endpoint == "clip_image":
                raise Conflict("text sent to the image endpoint")
            if not item["text"].strip():
                raise BadText("the text is empty", param="input[0].text")
            return embed(item["text"]), len(item["text"].split()) + 2
        if "image" in item:
            if endpoint == "clip_text":
                raise Conflict("an image sent to the text endpoint")
            return embed(_word(item["image"])), 0
        return decode_vector(item["vector"], DIM), 0


def _word(encoded: str) -> str:
    try:
        content = base64.b64decode(encoded, validate=True)
    except ValueError:
        content = b""
    if not content.startswith((PNG, *OTHERS)):
        raise BadImage("this is not an image that we can read", param="input[0].image")
    return content.removeprefix(PNG).decode("latin-1")


async def sleep(seconds: float) -> None:
    if seconds:
        await asyncio.sleep(seconds)


_NO_WORKER = 'Model "clip_text" has no worker to serve inference request. Please use scale workers API'
FAILURES = {
    "queue_full": (503, "ServiceUnavailableException", _NO_WORKER),
    "batch_failed": (503, "InternalServerException", "Prediction failed"),
    "worker_died": (500, "InternalServerException", "Worker died."),
    "worker_507": (507, "InternalServerException", "Worker died."),
    "unregistered": (404, "ModelNotFoundException", "Model not found: clip_text"),
    "too_large": (413, "", ""),
    "nonsense": (200, "", "<html>not ours</html>"),
}
