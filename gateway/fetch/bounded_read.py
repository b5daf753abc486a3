"""Reading an answer's body without ever holding more of it than the limit, compressed or not."""

from __future__ import annotations

import zlib

import aiohttp

from clip_core.errors import FetchFailed, ImageTooLarge

_CHUNK = 64 * 1024
_GZIP_OR_ZLIB = 47  # zlib's window bits for "gzip or zlib, whichever the header says"


async def read_bounded(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """The decompressed body. Raises ImageTooLarge as soon as either count passes the limit, else FetchFailed."""
    if (response.content_length or 0) > max_bytes:
        raise too_large(max_bytes)
    unpack = _unpacker(response.headers.get("Content-Encoding", "identity"), max_bytes)
    content, received = bytearray(), 0
    async for chunk in response.content.iter_chunked(_CHUNK):
        received += len(chunk)
        content += unpack.feed(chunk, max_bytes - len(content) + 1)
        if max(received, len(content)) > max_bytes:
            raise too_large(max_bytes)
    return bytes(content)


def too_large(max_bytes: int) -> ImageTooLarge:
    return ImageTooLarge(f"the image at the URL is larger than {max_bytes} bytes")


class _Plain:
    def feed(self, chunk: bytes, room: int) -> bytes:
        return chunk[:room]


class _Packed:
    def __init__(self, max_bytes: int) -> None:
        self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._max_bytes = max_bytes

    def feed(self, chunk: bytes, room: int) -> bytes:
        """At most `room` bytes; more that wait inside mean that the limit is passed."""
        try:
            content = self._stream.decompress(chunk, room)
        except zlib.error as error:
            raise FetchFailed("the compressed answer of the image's URL is damaged") from error
        if self._stream.unconsumed_tail:
            raise too_large(self._max_bytes)
        return content


def _unpacker(encoding: str, max_bytes: int) -> _Plain | _Packed:
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return _Plain()
    if name in ("gzip", "x-gzip", "deflate"):
        return _Packed(max_bytes)
    raise FetchFailed("the image's URL answered in an encoding that was not asked for")
