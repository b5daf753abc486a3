"""Captions of pictures as they are ingested: into the metadata's `caption`, unless the caller gave one.

A caption that fails is a warning of its item, which goes in all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from clip_core.errors import ClipServeError, InvalidRequest, Overloaded
from gateway.captions.captioning import Captioning, CaptionOutcome
from gateway.captions.wanted import CaptionWork
from gateway.fetch.url_images import Fetched
from gateway.ingest.items import IngestItem
from gateway.inputs.source import Source
from gateway.models.registry import RegisteredModel
from gateway.trace import current_trace

CAPTION = "caption"
_PAUSES_S = (0.5, 1.0, 2.0)  # of jobs and streams, while the captioner is busy
_WORK = CaptionWork({})


class ItemCaptions:
    """By the captioner of the collection's own model."""

    def __init__(self, captioning: Captioning) -> None:
        self._captioning = captioning

    async def write(self, model: RegisteredModel | None, encoded: Sequence[tuple[IngestItem, Fetched]]) -> None:
        """Into the items that want one and have none; `encoded` are sound, each with its picture."""
        wanting = [(item, source) for item, source in encoded if item.caption and CAPTION not in (item.metadata or {})]
        pictures = list[tuple[IngestItem, Source]]()
        for item, source in wanting:
            if isinstance(source, Source) and source.kind == "image" and model is not None:
                pictures.append((item, source))
            else:
                item.warning = InvalidRequest("only pictures are captioned", param=f"{item.at}.caption")
        if model is not None and pictures:
            outcomes = await self._outcomes(model, [source for _, source in pictures])
            for (item, _), outcome in zip(pictures, outcomes, strict=True):
                _note(item, outcome)

    async def _outcomes(self, model: RegisteredModel, sources: Sequence[Source]) -> list[CaptionOutcome]:
        outcomes = await self._try(model, sources)
        for pause_s in _PAUSES_S if _may_wait() else ():
            again = [place for place, outcome in enumerate(outcomes) if isinstance(outcome, Overloaded)]
            if not again:
                break
            await asyncio.sleep(pause_s)
            for place, outcome in zip(again, await self._try(model, [sources[each] for each in again]), strict=True):
                outcomes[place] = outcome
        return outcomes

    async def _try(self, model: RegisteredModel, sources: Sequence[Source]) -> list[CaptionOutcome]:
        try:
            return (await self._captioning.run(model, sources, _WORK)).outcomes
        except ClipServeError as error:
            return [error] * len(sources)


def _may_wait() -> bool:
    trace = current_trace()
    return trace.patient or not trace.caller


def _note(item: IngestItem, outcome: CaptionOutcome) -> None:
    if isinstance(outcome, ClipServeError):
        item.warning = outcome
    else:
        item.metadata = {**(item.metadata or {}), CAPTION: outcome["captions"][0].get("text", "")}
