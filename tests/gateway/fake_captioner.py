"""A captioner's worker that speaks the contract: the caption of a picture of a word is "a picture of" that word."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import orjson
from PIL import Image
from starlette.responses import Response, StreamingResponse

from clip_core.errors import BadText, ClipServeError, InferenceFailed, InvalidRequest, Overloaded, WorkerLost
from gateway.reranking.quality.canaries import canary_groups

CONTEXT = 77


@dataclass
class FakeCaptioner:
    """`endpoints` are registered; `says`: all captions; `dies_after`: so many pieces, and a stream breaks off."""

    endpoints: set[str] = field(default_factory=lambda: {"clip_caption"})
    fingerprint: str = "fp-captioner"
    token_s: float = 0.0
    full: bool = False
    dies_after: int | None = None
    fails_after: int | None = None
    dead: bool = False
    waits: bool = False
    says: str = ""
    drafts: dict[str, Any] = field(default_factory=lambda: {"drafted": 9, "accepted": 6, "passes": 2, "guarded": 0})
    orders_canaries: bool = True  # as a good captioner does
    calls_left: int | None = None  # of scores of several pictures, before the worker ends
    scores_s: float = 0.0
    bodies: list[Any] = field(default_factory=list)
    under_way: int = 0
    busiest: int = 0
    left: int = 0  # streams whose client went before their end

    async def answer(self, body: Any, word: str, model: str) -> Response:
        self.bodies.append(body)
        if self.full:
            raise Overloaded("the captioner's queue is full; try again in a moment")
        if "score" in body:
            return _json(
                {"scores": [self._score(text, word, n) for n, text in enumerate(body["score"])]} | self._named(model)
            )
        self._check(body["caption"])
        if body["stream"]:
            return StreamingResponse(self._lines(body["caption"], word, model), media_type="application/json")
        self.under_way += 1
        self.busiest = max(self.busiest, self.under_way)
        try:
            await asyncio.sleep(self.token_s * 5)
            while self.waits:
                await asyncio.sleep(0.005)
        finally:
            self.under_way -= 1
        return _json(self._whole(body["caption"], word, model))

    async def pictures(self, body: Any, model: str) -> Response:
        """Scores of several pictures of one colour each, by whether a text names it; of canaries, in their order."""
        self.bodies.append(body)
        if self.full:
            raise Overloaded("the captioner's queue is full; try again in a moment")
        await asyncio.sleep(self.scores_s)
        canaries = {picture for group in canary_groups() for picture in group.pictures}
        if self.calls_left is not None and not canaries.intersection(body["pictures"]):
            if self.calls_left <= 0:
                raise WorkerLost("the worker ended")
            self.calls_left -= 1
        firsts = {group.pictures[0] for group in canary_groups()} if self.orders_canaries else set()
        cost = sum(len(text.split()) + 1 for text in body["score"])
        tried = body.get("most_tokens", cost * len(body["pictures"])) // cost
        told: list[Any] = []
        for place, given in enumerate(body["pictures"]):
            shown = "" if given in canaries else color_of(base64.b64decode(given))
            odds = [-1.0 if given in firsts or shown in text.split() else -9.0 for text in body["score"]]
            scores = [{"logprob": p, "tokens": len(t.split()) + 1} for p, t in zip(odds, body["score"], strict=True)]
            told.append({"scores": scores} if place < tried else None)
        usage = {"text_tokens": cost * min(tried, len(told)), "pictures": len(told)}
        return _json({"pictures": told, "usage": usage} | self._named(model))

    def _check(self, settings: Any) -> None:
        if not 3 <= settings.get("max_tokens", 30) <= CONTEXT:
            raise InvalidRequest(f"`max_tokens` is from 3 to {CONTEXT}", param="max_tokens")
        if len(settings.get("prompt", "").split()) > CONTEXT - 7:
            raise BadText("the prompt fills the context", param="caption.prompt")

    def _named(self, model: str) -> dict[str, Any]:
        return {"model": model, "fingerprint": self.fingerprint}

    def _score(self, text: str, word: str, place: int) -> dict[str, Any]:
        if not text.strip():
            raise BadText("the text is empty", param=f"score[{place}]")
        return {"logprob": -0.5 if word in text.split() else -9.0, "tokens": len(text.split()) + 2}

    def _words(self, settings: Any, word: str) -> list[str]:
        said = self.says.split() or ["a", "picture", "of", *word.split()]
        return said[: settings.get("max_tokens", 30) - 2]

    def _whole(self, settings: Any, word: str, model: str) -> dict[str, Any]:
        words = self._words(settings, word)
        text = settings.get("prompt", "") + " ".join(words)
        best = {"text": text, "logprob": -0.5, "tokens": len(words), "finish": "stop"}
        others = [{**best, "text": f"{text} {n}", "logprob": -1.0 - n} for n in range(1, settings.get("n", 1))]
        usage = {
            "prompt_tokens": len(settings.get("prompt", "").split()),
            "caption_tokens": len(words),
            "image_tokens": 50,
        }
        timing = {"queue_ms": 1.5, "caption_ms": 2.5}
        drafts = {"drafts": self.drafts} if self.bodies[-1].get("drafts") else {}
        return {"captions": [best, *others], "usage": usage, "timing": timing, **self._named(model), **drafts}

    async def _lines(self, settings: Any, word: str, model: str) -> AsyncIterator[bytes]:
        self.under_way += 1
        self.busiest = max(self.busiest, self.under_way)
        ended = False
        try:
            for n, piece in enumerate(self._words(settings, word)):
                while self.waits:
                    await asyncio.sleep(0.005)
                if n == self.dies_after:
                    raise RuntimeError("the worker was killed")
                if n == self.fails_after:
                    yield orjson.dumps(InferenceFailed("the decoder failed").to_dict()) + b"\n"
                    ended = True
                    return
                await asyncio.sleep(self.token_s)
                if settings.get("method") != "beam":
                    begin = "" if n else settings.get("prompt", "")
                    yield orjson.dumps({"delta": f"{begin}{piece} "}) + b"\n"
            yield orjson.dumps({"done": True, **self._whole(settings, word, model)})
            ended = True
        finally:
            self.under_way -= 1
            self.left += not ended


def color_of(content: bytes) -> str:
    """Of the picture's middle: red, green or blue."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    pixel = image.getpixel((image.width // 2, image.height // 2))
    assert isinstance(pixel, tuple)
    return ("red", "green", "blue")[pixel.index(max(pixel))]


def refused(error: ClipServeError) -> Response:
    return _json(error.to_dict(), error.status)


def _json(body: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
