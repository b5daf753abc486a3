"""A captioner's worker that speaks the contract: the caption of a picture of a word is "a picture of" that word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.responses import Response, StreamingResponse

from clip_core.errors import BadText, ClipServeError, InferenceFailed, InvalidRequest, Overloaded

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
        return {"captions": [best, *others], "usage": usage, "timing": timing, **self._named(model)}

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
                    yield orjson.dumps({"delta": f"{piece} "}) + b"\n"
            yield orjson.dumps({"done": True, **self._whole(settings, word, model)})
            ended = True
        finally:
            self.under_way -= 1
            self.left += not ended


def refused(error: ClipServeError) -> Response:
    return _json(error.to_dict(), error.status)


def _json(body: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
