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
from gateway.fetch.url_images import Fetched
from gateway.inputs.source import Source
from gateway.key_masking import without_keys

Json = dict[str, Any]


class GivenCaptions:
    """`captions` is None without a language model."""

    def __init__(self, loader: PictureLoader, captions: PictureCaptions | None) -> None:
        self._loader, self._captions = loader, captions

    def assistant(self) -> PictureCaptions:
        """Raises NoCaptioner."""
        if self._captions is None:
            raise NoCaptioner(
                "this gateway has no language model: set CLIPSERVE_GATEWAY_ASSISTANT_URL", param="caption"
            )
        return self._captions

    async def of(self, sources: Sequence[Source]) -> list[ModelCaption | ClipServeError]:
        """In order. Raises NoCaptioner."""
        assistant = self.assistant()
        return await asyncio.gather(*(_caption(assistant, source) for source in sources))

    async def answer(self, pictures: Sequence[GivenPicture]) -> Json:
        """A caption or an error of each. Raises NoCaptioner."""
        assistant = self.assistant()
        loaded = await self._loader.load(pictures)
        told = await asyncio.gather(*(_caption(assistant, each) for each in loaded))
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
