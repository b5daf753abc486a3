"""The captioner of a served model, as an answer asks it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import pybase64

from clip_core.errors import ClipServeError
from gateway.captions.captioning import Captioning
from gateway.captions.wanted import CaptionWork
from gateway.inputs.source import Source
from gateway.models.captioners import Captioners, no_captioner
from gateway.models.registry import RegisteredModel
from gateway.upstream.caption_replies import CaptionReply

Json = dict[str, Any]


class CaptionReader:
    """Of one `model`; without it of the default, where that has a captioner, else of the first that has one."""

    def __init__(self, captioning: Captioning, captioners: Captioners, model: RegisteredModel | None = None) -> None:
        self._captioning, self._captioners, self._own = captioning, captioners, model

    async def of(self, name: str) -> CaptionReader:
        """That of a served model. Raises UnknownModel, NoCaptioner."""
        model = await self._captioners.models.find(name)
        await self._captioners.endpoint(model)
        return CaptionReader(self._captioning, self._captioners, model)

    async def ready(self) -> bool:
        return self._own is not None or bool(await self._captioners.all())

    async def caption(self, picture: bytes, prompt: str = "") -> str:
        """Raises ClipServeError."""
        reply = await self._reply(picture, CaptionWork(_settings(prompt)))
        captions = reply.get("captions") or [{}]
        return captions[0].get("text", "")

    async def stream(self, picture: bytes, prompt: str = "") -> AsyncIterator[str]:
        """Raises ClipServeError."""
        model, source = await self._model(), _source(picture)
        if prompt:
            yield prompt
        async with aclosing(self._captioning.events(model, [source], CaptionWork(_settings(prompt)))) as events:
            async for event in events:
                if isinstance(event.told, ClipServeError):
                    raise event.told
                if delta := event.told.get("delta"):
                    yield delta

    async def scores(self, picture: bytes, texts: Sequence[str]) -> list[float]:
        """Raises ClipServeError."""
        reply = await self._reply(picture, CaptionWork(texts=list(texts)))
        return [float(each.get("logprob") or 0.0) for each in reply.get("scores") or []]

    async def _reply(self, picture: bytes, work: CaptionWork) -> CaptionReply:
        captioned = await self._captioning.run(await self._model(), [_source(picture)], work)
        outcome = captioned.outcomes[0]
        if isinstance(outcome, ClipServeError):
            raise outcome
        return outcome

    async def _model(self) -> RegisteredModel:
        """Raises NoCaptioner, NoModel."""
        if self._own is not None:
            return self._own
        default = self._captioners.models.default()
        if await self._captioners.has(default):
            return default
        others = await self._captioners.all()
        if not others:
            raise no_captioner(default.encoder.name, [])
        return others[0]


def _settings(prompt: str) -> Json:
    return {"method": "greedy", **({"prompt": prompt} if prompt else {})}


def _source(picture: bytes) -> Source:
    return Source("image", pybase64.b64encode_as_string(picture), "image")
