"""Answers of a provider that have an end: one that sends and sends must not fill the gateway's memory.

Imported only after the `openai` package, which brings this HTTP client.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from httpx2 import AsyncByteStream, Response

from clip_core.errors import AssistantFailed

_MOST_BYTES = 64 * 1024 * 1024  # an answer that comes a character at a time takes 250 bytes for each


async def bound_answer(response: Response) -> None:
    """A hook on responses. Reading one that is larger raises AssistantFailed."""
    if isinstance(response.stream, AsyncByteStream):
        response.stream = _Bounded(response.stream)


class _Bounded(AsyncByteStream):
    def __init__(self, stream: AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        come = 0
        async for piece in self._stream:
            come += len(piece)
            if come > _MOST_BYTES:
                raise AssistantFailed("the language model's answer does not end")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()
