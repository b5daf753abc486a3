"""Pictures as the captioner takes them: those of items from where they are kept, those by URL fetched."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pybase64

from clip_core.errors import ClipServeError
from gateway.captions.wanted import GivenPicture, StoredPicture
from gateway.fetch.url_images import Fetched, UrlImageLoader
from gateway.inputs.source import Source
from gateway.pictures.pictures import Pictures
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
            item = await self._index.item(given.collection, given.id, {})
            content = await self._pictures.for_a_model(given.collection, item, most_bytes)
        except ClipServeError as error:
            error.param = given.param
            return error
        encoded = pybase64.b64encode_as_string(content)
        current_trace().hold(len(encoded))
        return Source("image", encoded, given.param)
