"""What an answer needs of a captioner."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol


class PictureReader(Protocol):
    """A captioner. Pictures are encoded bytes. Its methods raise ClipServeError."""

    async def ready(self) -> bool:
        """Whether it is served now."""

    async def caption(self, picture: bytes, prompt: str = "") -> str:
        """The best caption that begins with `prompt`."""

    def stream(self, picture: bytes, prompt: str = "") -> AsyncIterator[str]:
        """The same in pieces."""

    async def scores(self, picture: bytes, texts: Sequence[str]) -> list[float]:
        """log P(text | picture) of each."""
