"""Fetches the images that a call's inputs name by URL, before anything is encoded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pybase64

from clip_core.errors import BadInput, ClipServeError, TooLarge
from gateway.fetch.image_fetcher import ImageFetcher
from gateway.inputs.source import Source
from gateway.inputs.urls import is_http_url
from gateway.trace import current_trace

Fetched = Source | ClipServeError
_WIDTH = 4


class UrlImageLoader:
    """Fetches all URLs of a call at the same time, each different URL once. A failure belongs to its own input."""

    def __init__(self, fetcher: ImageFetcher, max_bytes: int) -> None:
        """`max_bytes` bounds the bytes that are fetched for one call."""
        self._fetcher = fetcher
        self._max_bytes = max_bytes

    async def load(self, sources: Sequence[Source]) -> list[Fetched]:
        """In order: each input with its images as base64, or the error that names its place in the request."""
        urls = list(dict.fromkeys(url for source in sources for url in _urls(source)))
        if not urls:
            return list(sources)
        budget = _Budget(self._max_bytes)
        images = await asyncio.gather(*(self._one(url, budget) for url in urls))
        filled = dict(zip(urls, images, strict=True))
        return [_filled(source, filled) for source in sources]

    async def _one(self, url: str, budget: _Budget) -> str | BadInput:
        """One URL; `_WIDTH` keeps one call from taking every slot of the fetcher."""
        async with budget.width:
            try:
                budget.check()
                content = await self._fetcher.fetch(url)
                budget.spent += len(content)
                budget.check()
            except BadInput as error:
                return error
        encoded = pybase64.b64encode_as_string(content)
        current_trace().hold(len(encoded))
        return encoded


class _Budget:
    """The bytes and concurrent fetches of one call."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.spent = 0
        self.width = asyncio.Semaphore(_WIDTH)

    def check(self) -> None:
        if self.spent > self.max_bytes:
            raise TooLarge(f"the images of one call, fetched, are larger than {self.max_bytes} bytes")


def _urls(source: Source) -> list[str]:
    return [image for image in source.images() if is_http_url(image)]


def _filled(source: Source, images: dict[str, str | BadInput]) -> Fetched:
    failed = next((error for error in map(images.get, _urls(source)) if isinstance(error, BadInput)), None)
    if failed is not None:
        return type(failed)(failed.message, param=source.param)
    if source.kind == "image":
        return replace(source, value=images.get(source.value, source.value))
    if source.kind == "query":
        return replace(source, value=[_filled_part(part, images) for part in source.value])
    return source


def _filled_part(part: dict[str, Any], images: dict[str, str | BadInput]) -> dict[str, Any]:
    return {**part, "image": images.get(part["image"], part["image"])} if "image" in part else part
