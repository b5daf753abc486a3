"""What a request costs its key: one request, the items that it names, and the pixels of its images. Pure ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from clip_core.errors import BadInput, RateLimited
from clip_core.wire import decode_base64
from gateway.auth import is_open
from gateway.counts import Counts
from gateway.inputs import Source
from gateway.keys import ApiKey, current_key
from gateway.quotas import Quotas
from gateway.sniffing import pixels_of
from gateway.urls import is_http_url


class Meter:
    """Charges the key of the request at hand; called before any work is done."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas

    async def items(self, number: int) -> None:
        """Texts, images and vectors, those in a mix each. Raises RateLimited or TooLarge."""
        await self._quotas.spend(current_key(), "items", number)

    async def give_back(self, sources: Sequence[Source]) -> None:
        """What `items` and `images` took for these, on which no work was done."""
        key = current_key()
        await self._quotas.give_back(key, "items", sum(source.parts() for source in sources))
        if self._quotas.limits_of(key).megapixels_per_minute is not None:
            pixels = await asyncio.to_thread(_pixels, sources)
            await self._quotas.give_back(key, "megapixels", pixels / 1e6)

    async def images(self, sources: Sequence[Source]) -> None:
        """Megapixels, by the images' own headers. Raises RateLimited or TooLarge."""
        key = current_key()
        if self._quotas.limits_of(key).megapixels_per_minute is not None:
            pixels = await asyncio.to_thread(_pixels, sources)
            await self._quotas.spend(key, "megapixels", pixels / 1e6)


class MeterMiddleware:
    """Charges one request, and holds the key to its number of requests at the same time. Below DeadlineMiddleware,
    which answers what is raised here.
    """

    def __init__(self, app: ASGIApp, quotas: Quotas, open_paths: frozenset[str]) -> None:
        self.app = app
        self.quotas = quotas
        self.open_paths = open_paths
        self.under_way = Counts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_open(scope["path"], self.open_paths):
            await self.app(scope, receive, send)
            return
        key = current_key()
        self._enter(key)
        try:
            await self.quotas.spend(key, "requests", 1)
            await self.app(scope, receive, send)
        finally:
            self.under_way.add(key.id, -1)

    def _enter(self, key: ApiKey) -> None:
        """Raises RateLimited. Nothing else runs between the check and the count, so that no two take the last place."""
        most = self.quotas.limits_of(key).concurrency
        if most is not None and self.under_way.get(key.id, 0) >= most:
            raise RateLimited(f"this API key has {most} requests under way, which is all that it may")
        self.under_way.add(key.id, 1)


def _pixels(sources: Sequence[Source]) -> int:
    images = [value for source in sources for value in source.images() if not is_http_url(value)]
    return sum(map(_pixels_of, images))


def _pixels_of(encoded: str) -> int:
    """0 for what is no image: the encoder refuses it and says why."""
    try:
        return pixels_of(decode_base64(encoded))
    except (BadInput, ValueError):
        return 0
