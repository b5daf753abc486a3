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
from gateway.trace import current_trace
from gateway.upstream.index_service import IndexServiceClient


class PictureLoader:
    """A failure belongs to its own picture. Without `url_images` no URL is fetched.

    Originals have at most `max_bytes` each, and those of one call `max_call_bytes` together.
    """

    def __init__(
        self,
        index: IndexServiceClient,
        pictures: Pictures,
        url_images: UrlImageLoader | None,
        max_bytes: int,
        max_call_bytes: int,
    ) -> None:
        self._index, self._pictures, self._url_images = index, pictures, url_images
        self._max_bytes, self._max_call_bytes = max_bytes, max_call_bytes

    async def load(self, given: Sequence[GivenPicture]) -> list[Fetched]:
        """In order: each as base64, or its error."""
        share = self._max_call_bytes // max(1, sum(isinstance(each, StoredPicture) for each in given))
        most = min(self._max_bytes, share)
        stored = await asyncio.gather(*(self._known(each, most) for each in given))
        sources = [each for each in stored if isinstance(each, Source)]
        fetched = iter(await self._url_images.load(sources) if self._url_images is not None else sources)
        return [next(fetched) if isinstance(each, Source) else each for each in stored]

    async def _known(self, given: GivenPicture, most_bytes: int) -> Source | ClipServeError:
        if not isinstance(given, StoredPicture):
            return given
        try:
            content = await self._content(given, most_bytes)
        except ClipServeError as error:
            error.param = given.param
            return error
        encoded = pybase64.b64encode_as_string(content)
        current_trace().hold(len(encoded))
        return Source("image", encoded, given.param)

    async def _content(self, given: StoredPicture, most_bytes: int) -> bytes:
        """The original, where it is here and not too large; else the largest thumbnail. Raises UnknownPicture."""
        item = await self._index.item(given.collection, given.id, {})
        try:
            original = await self._pictures.original(given.collection, item)
            return await asyncio.to_thread(original.read, most_bytes)
        except (UnknownPicture, ImageTooLarge, OSError):
            return (await self._pictures.thumbnail(given.collection, item, max(SIZES))).content
