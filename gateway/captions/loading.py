"""Pictures as the captioner takes them: those of items from where they are kept, those by URL fetched."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pybase64

from clip_core.errors import ClipServeError, ImageTooLarge, UnknownPicture
from gateway.captions.wanted import GivenPicture, StoredPicture
from gateway.fetch.url_images import Fetched, UrlImageLoader
from gateway.inputs.source import Source
from gateway.pictures.pictures import Pictures
from gateway.pictures.thumbnails import SIZES
from gateway.upstream.index_service import IndexServiceClient


class PictureLoader:
    """A failure belongs to its own picture. Without `url_images` no URL is fetched."""

    def __init__(
        self, index: IndexServiceClient, pictures: Pictures, url_images: UrlImageLoader | None, max_bytes: int
    ) -> None:
        self._index, self._pictures, self._url_images = index, pictures, url_images
        self._max_bytes = max_bytes

    async def load(self, given: Sequence[GivenPicture]) -> list[Fetched]:
        """In order: each as base64, or its error."""
        stored = await asyncio.gather(*map(self._known, given))
        sources = [each for each in stored if isinstance(each, Source)]
        fetched = iter(await self._url_images.load(sources) if self._url_images is not None else sources)
        return [next(fetched) if isinstance(each, Source) else each for each in stored]

    async def _known(self, given: GivenPicture) -> Source | ClipServeError:
        if not isinstance(given, StoredPicture):
            return given
        try:
            content = await self._content(given)
        except ClipServeError as error:
            error.param = given.param
            return error
        return Source("image", pybase64.b64encode_as_string(content), given.param)

    async def _content(self, given: StoredPicture) -> bytes:
        """The original, where it is here and not too large; else the largest thumbnail. Raises UnknownPicture."""
        item = await self._index.item(given.collection, given.id, {})
        try:
            original = await self._pictures.original(given.collection, item)
            content = await asyncio.to_thread(original.read)
            if len(content) > self._max_bytes:
                raise ImageTooLarge(f"the picture is larger than {self._max_bytes} bytes")
        except (UnknownPicture, ImageTooLarge, OSError):
            content = (await self._pictures.thumbnail(given.collection, item, max(SIZES))).content
        return content
