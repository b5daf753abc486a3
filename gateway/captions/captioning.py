"""Pictures → captions or scores, at once or as they are made: charged, fetched, and sent to the model's captioner."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from clip_core.errors import ClipServeError
from gateway.captions.drafting import Drafting
from gateway.captions.drafts import NO_DRAFTS, CaptionDrafts
from gateway.captions.loading import PictureLoader
from gateway.captions.wanted import CaptionWork, GivenPicture
from gateway.captions.worker_call import WorkerCall
from gateway.encode.results import is_untried
from gateway.fetch.url_images import Fetched
from gateway.inputs.source import Source
from gateway.keys.meter import Meter
from gateway.metrics import GatewayMetrics
from gateway.models.captioners import Captioners
from gateway.models.registry import RegisteredModel
from gateway.settings import GatewaySettings
from gateway.upstream.caption_replies import CaptionLine, CaptionReply

_MOST_WAITING = 64  # events that the caller has not read yet
_log = logging.getLogger("gateway.captions")
CaptionOutcome: TypeAlias = CaptionReply | ClipServeError


@dataclass(frozen=True)
class Captioned:
    """One outcome a picture, in order; times in milliseconds are of the slowest."""

    outcomes: list[CaptionOutcome]
    queue_ms: float
    caption_ms: float
    drafts: Sequence[CaptionDrafts] = ()


@dataclass(frozen=True)
class PictureEvent:
    """What is new of the picture at `index`: a line of its stream, or its error, which is its last event."""

    index: int
    told: CaptionLine | ClipServeError
    drafts: CaptionDrafts = NO_DRAFTS

    @property
    def last(self) -> bool:
        return isinstance(self.told, ClipServeError) or bool(self.told.get("done"))


class Captioning:
    """Each picture costs its key an item, and so does each text to be scored; what was not tried is given back."""

    def __init__(
        self,
        captioners: Captioners,
        settings: GatewaySettings,
        meter: Meter,
        loader: PictureLoader,
        metrics: GatewayMetrics,
        drafting: Drafting | None = None,
    ) -> None:
        """Without `drafting` there are no drafts."""
        self._drafting = drafting
        self._captioners, self._settings, self._meter = captioners, settings, meter
        self._loader, self._metrics = loader, metrics

    async def run(self, model: RegisteredModel, given: Sequence[GivenPicture], work: CaptionWork) -> Captioned:
        """Raises NoCaptioner, Overloaded, or RateLimited or TooLarge when the key's allowance does not reach."""
        call, sources, drafts = await self._begun(model, given, work)

        async def one(source: Fetched, own: CaptionDrafts) -> CaptionOutcome:
            if isinstance(source, ClipServeError):
                return source
            try:
                reply = await call.reply(source, own)
            except ClipServeError as error:
                await self._give_back([source], [error])
                return error
            self._learn(model, own, reply)
            return reply

        outcomes = await asyncio.gather(*map(one, sources, drafts))
        await self._give_back([Source("text", text, None) for text in work.texts], outcomes)
        return Captioned(outcomes, call.queue_ms, call.caption_ms, drafts)

    async def events(
        self, model: RegisteredModel, given: Sequence[GivenPicture], work: CaptionWork
    ) -> AsyncGenerator[PictureEvent, None]:
        """As they come, those of several pictures mixed. To be closed: then what is under way ends.

        Raises as `run` does, before the first event.
        """
        call, sources, drafts = await self._begun(model, given, work)
        queue: asyncio.Queue[PictureEvent] = asyncio.Queue(_MOST_WAITING)
        pumps = (
            self._pump(call, *each, model, queue) for each in zip(range(len(sources)), sources, drafts, strict=True)
        )
        tasks = [asyncio.create_task(pump) for pump in pumps]
        unfinished = len(tasks)
        try:
            while unfinished:
                event = await queue.get()
                unfinished -= event.last
                yield event
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump(
        self,
        call: WorkerCall,
        index: int,
        source: Fetched,
        drafts: CaptionDrafts,
        model: RegisteredModel,
        queue: asyncio.Queue[PictureEvent],
    ) -> None:
        async def tell(line: CaptionLine) -> None:
            self._learn(model, drafts, line)
            await queue.put(PictureEvent(index, line, drafts))

        error = source if isinstance(source, ClipServeError) else None
        try:
            if isinstance(source, Source):
                await call.stream(source, tell, drafts)
        except ClipServeError as failed:
            error = failed
            if isinstance(source, Source):
                await self._give_back([source], [failed])
        except Exception:
            _log.exception("a stream of captions failed")
            error = ClipServeError("the gateway failed on this picture; its log has the details")
        if error is not None:
            await queue.put(PictureEvent(index, error))

    async def _begun(
        self, model: RegisteredModel, given: Sequence[GivenPicture], work: CaptionWork
    ) -> tuple[WorkerCall, list[Fetched], Sequence[CaptionDrafts]]:
        endpoint = await self._captioners.endpoint(model)
        model.torchserve.admissions.check({endpoint})
        charged = len(given) + work.cost
        await self._meter.items(charged)
        sources = await self._loader.load(given)
        await self._meter.images([source for source in sources if isinstance(source, Source)], charged)
        drafts: Sequence[CaptionDrafts] = [NO_DRAFTS] * len(sources)
        if self._drafting is not None and work.drafts is not None:
            drafts = await self._drafting.of(model.encoder.name, given, sources, work)
        return WorkerCall(self._settings, model.torchserve, endpoint, work, self._metrics), sources, drafts

    def _learn(self, model: RegisteredModel, drafts: CaptionDrafts, reply: CaptionReply) -> None:
        if self._drafting is not None:
            self._drafting.learn(model.encoder.name, drafts, reply)

    async def _give_back(self, paid: Sequence[Source], outcomes: Sequence[CaptionOutcome]) -> None:
        """What was paid for work that was not even tried."""
        if paid and all(map(is_untried, outcomes)):
            await self._meter.give_back(paid)
