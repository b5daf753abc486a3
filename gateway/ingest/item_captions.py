"""Captions of pictures as they are ingested: into the metadata's `caption`, unless the caller gave one.

A caption that fails is a warning of its item, which goes in all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from clip_core.errors import BudgetSpent, ClipServeError, DeadlineExceeded, InvalidRequest, Overloaded
from gateway.assistant.describing.given_captions import GivenCaptions
from gateway.assistant.describing.picture_captions import ModelCaption
from gateway.captions.captioning import Captioning, CaptionOutcome
from gateway.captions.wanted import CaptionWork
from gateway.fetch.url_images import Fetched
from gateway.ingest.items import IngestItem
from gateway.inputs.source import Source
from gateway.models.registry import RegisteredModel
from gateway.trace import current_trace, ending_sooner

CAPTION, BY = "caption", "caption_by"
_PAUSES_S = (0.5, 1.0, 2.0)  # of jobs and streams, while the captioner is busy
_WORK = CaptionWork({})
_TO_STORE, _TO_STORE_S = 0.25, 5.0  # of a request's time: for pictures to be kept, and items to be stored
_GRACE_S = 0.1  # in which those that wait say so themselves, and what others have got is kept
T = TypeVar("T")
_Captions: TypeAlias = Callable[[Sequence[Source]], Awaitable[list[T | ClipServeError]]]


class ItemCaptions:
    """By the captioner of the collection's own model, or by the language model."""

    def __init__(self, captioning: Captioning, assistant: GivenCaptions) -> None:
        self._captioning, self._assistant = captioning, assistant

    async def write(self, model: RegisteredModel | None, encoded: Sequence[tuple[IngestItem, Fetched]]) -> None:
        """Into the items that want one and have none; `encoded` are sound, each with its picture."""
        wanting = [(item, source) for item, source in encoded if item.caption and CAPTION not in (item.metadata or {})]
        pictures = list[tuple[IngestItem, Source]]()
        for item, source in wanting:
            if isinstance(source, Source) and source.kind == "image" and model is not None:
                pictures.append((item, source))
            else:
                item.warning = InvalidRequest("only pictures are captioned", param=f"{item.at}.caption")
        own = [each for each in pictures if each[0].caption == "captioner"]
        if model is not None and own:
            outcomes = await _in_time([source for _, source in own], lambda some: self._by_captioner(model, some))
            for (item, _), outcome in zip(own, outcomes, strict=True):
                _note(item, outcome)
        asked = [each for each in pictures if each[0].caption == "llm"]
        told = await _in_time([source for _, source in asked], self._by_assistant)
        for (item, _), caption in zip(asked, told, strict=True):
            _note_assistants(item, caption)

    async def _by_captioner(self, model: RegisteredModel, sources: Sequence[Source]) -> list[CaptionOutcome]:
        try:
            return (await self._captioning.run(model, sources, _WORK)).outcomes
        except ClipServeError as error:
            return [error] * len(sources)

    async def _by_assistant(self, sources: Sequence[Source]) -> list[ModelCaption | ClipServeError]:
        try:
            return await self._assistant.of(sources)
        except ClipServeError as error:
            return [error] * len(sources)


async def _in_time(sources: Sequence[Source], captions: _Captions[T]) -> list[T | ClipServeError]:
    """Before the request's time is over: items go in without the captions that take too long."""
    if not sources:
        return []
    with ending_sooner(_TO_STORE, _TO_STORE_S):
        left = current_trace().seconds_left()
        try:
            return await asyncio.wait_for(_patiently(sources, captions), None if left is None else left + _GRACE_S)
        except asyncio.TimeoutError:
            return [
                DeadlineExceeded("the captions were not there when the time of this request was nearly over")
            ] * len(sources)


async def _patiently(sources: Sequence[Source], captions: _Captions[T]) -> list[T | ClipServeError]:
    """Again for those that came while whoever writes them was busy; not where a budget is spent."""
    outcomes = await captions(sources)
    for pause_s in _PAUSES_S if _may_wait() else ():
        again = [place for place, outcome in enumerate(outcomes) if _is_busy(outcome)]
        left = current_trace().seconds_left()
        if not again or (left is not None and left <= pause_s):
            break
        await asyncio.sleep(pause_s)
        for place, outcome in zip(again, await captions([sources[each] for each in again]), strict=True):
            outcomes[place] = outcome
    return outcomes


def _is_busy(outcome: object) -> bool:
    return isinstance(outcome, Overloaded) and not isinstance(outcome, BudgetSpent)


def _may_wait() -> bool:
    trace = current_trace()
    return trace.patient or not trace.caller


def _note(item: IngestItem, outcome: CaptionOutcome) -> None:
    if isinstance(outcome, ClipServeError):
        item.warning = outcome
    else:
        put_caption(item, {CAPTION: outcome["captions"][0].get("text", "")})


def _note_assistants(item: IngestItem, caption: ModelCaption | ClipServeError) -> None:
    if isinstance(caption, ClipServeError):
        item.warning = caption
    else:
        put_caption(item, {CAPTION: caption.text, BY: caption.by})


def put_caption(item: IngestItem, fields: Mapping[str, Any]) -> None:
    item.metadata, item.captioned = {**(item.metadata or {}), **fields}, True


def leave_out_caption(item: IngestItem, why: ClipServeError) -> None:
    """The one that was put in."""
    item.metadata = {name: value for name, value in item.metadata.items() if name not in (CAPTION, BY)}
    item.captioned, item.warning = False, why
