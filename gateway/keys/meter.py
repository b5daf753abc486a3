"""What a call costs its key: the items that it names, and the pixels of its images."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from clip_core.errors import BadInput, RateLimited, TooLarge
from clip_core.wire import decode_base64
from gateway.inputs.sniffing import pixels_of
from gateway.inputs.source import Source
from gateway.inputs.urls import is_http_url
from gateway.keys.api_key import current_key
from gateway.keys.quotas import Quotas


class Meter:
    """Charges the key of the request at hand; called before any work is done."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas

    async def items(self, number: int) -> None:
        """Texts, images and vectors, those in a mix each. Raises RateLimited or TooLarge."""
        await self._quotas.spend(current_key(), "items", number)

    async def items_back(self, number: int) -> None:
        """What `items` took for these, on which no work was done."""
        await self._quotas.give_back(current_key(), "items", number)

    async def give_back(self, sources: Sequence[Source]) -> None:
        """What `items` and `images` took for these, on which no work was done."""
        key = current_key()
        await self._quotas.give_back(key, "items", sum(source.parts() for source in sources))
        if self._quotas.limits_of(key).megapixels_per_minute is not None:
            pixels = await asyncio.to_thread(_pixels, sources)
            await self._quotas.give_back(key, "megapixels", pixels / 1e6)

    async def images(self, sources: Sequence[Source], items: int) -> None:
        """Megapixels, by the images' own headers.

        Raises RateLimited or TooLarge, and then gives back the `items` that the call has paid.
        """
        key = current_key()
        if self._quotas.limits_of(key).megapixels_per_minute is None:
            return
        pixels = await asyncio.to_thread(_pixels, sources)
        try:
            await self._quotas.spend(key, "megapixels", pixels / 1e6)
        except (RateLimited, TooLarge):
            await self._quotas.give_back(key, "items", items)
            raise


def _pixels(sources: Sequence[Source]) -> int:
    images = [value for source in sources for value in source.images() if not is_http_url(value)]
    return sum(map(_pixels_of, images))


def _pixels_of(encoded: str) -> int:
    """0 for what is no image: the encoder refuses it and says why."""
    try:
        return pixels_of(decode_base64(encoded))
    except (BadInput, ValueError):
        return 0
