"""Captions by the language model of pictures that callers send, or of items."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from clip_core.errors import AssistantFailed, ClipServeError, NoCaptioner
from clip_core.inputs.images import from_reference
from gateway.assistant.describing.picture_captions import ModelCaption, PictureCaptions
from gateway.captions.loading import PictureLoader
from gateway.captions.wanted import GivenPicture
from gateway.encode.results import is_untried
from gateway.fetch.url_images import Fetched
from gateway.inputs.source import Source
from gateway.key_masking import without_keys
from gateway.keys.meter import Meter

Json = dict[str, Any]


class GivenCaptions:
    """`captions` is None without a language model."""

    def __init__(self, loader: PictureLoader, captions: PictureCaptions | None, meter: Meter) -> None:
        self._loader, self._captions, self._meter = loader, captions, meter

    def assistant(self) -> PictureCaptions:
        """Raises NoCaptioner."""
        if self._captions is None:
            raise NoCaptioner("this gateway has no language model: set CLIPSERVE_GATEWAY_LLM_URL", param="caption")
        return self._captions

    async def of(self, sources: Sequence[Source]) -> list[ModelCaption | ClipServeError]:
        """In order, of pictures that are paid for. Raises NoCaptioner."""
        assistant = self.assistant()
        return await asyncio.gather(*(_caption(assistant, source) for source in sources))

    async def answer(self, pictures: Sequence[GivenPicture]) -> Json:
        """A caption or an error of each, which costs the key an item. Raises NoCaptioner, RateLimited or TooLarge."""
        assistant = self.assistant()
        await self._meter.items(len(pictures))
        loaded = await self._loader.load(pictures)
        await self._meter.images([each for each in loaded if isinstance(each, Source)], len(pictures))
        told = await asyncio.gather(*(_caption(assistant, each) for each in loaded))
        ended = [(source, each) for source, each in zip(loaded, told, strict=True) if isinstance(source, Source)]
        await self._meter.give_back([source for source, each in ended if is_untried(each)])
        cost = sum(each.cost_usd or 0.0 for each in told if isinstance(each, ModelCaption | AssistantFailed))
        data = [_told(place, each) for place, each in enumerate(told)]
        return {"object": "list", "by": assistant.name, "data": data, "cost_usd": cost}


async def _caption(assistant: PictureCaptions, source: Fetched) -> ModelCaption | ClipServeError:
    if isinstance(source, ClipServeError):
        return source
    try:
        return await assistant.caption(from_reference(source.value))
    except ClipServeError as error:
        return error


def _told(place: int, caption: ModelCaption | ClipServeError) -> Json:
    if isinstance(caption, ClipServeError):
        caption.message = without_keys(caption.message)
        return {"object": "error", "index": place, **caption.to_dict()}
    return {"object": "caption", "index": place, "text": caption.text, "by": caption.by, "cost_usd": caption.cost_usd}
