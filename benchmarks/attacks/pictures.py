"""Pictures whose pixels take much more room than their files."""

from __future__ import annotations

import base64
import io
from itertools import count

from PIL import Image

from benchmarks.attacks.base import Attack, crowd

SIDE = 7745  # 60 megapixels


class GreyPictures(Attack):
    """Calls of four 16-bit grey pictures of 60 megapixels, which are new each time."""

    name = "four 16-bit greys of 60 megapixels"

    async def prepare(self) -> None:
        buffer = io.BytesIO()
        Image.new("I;16", (SIDE, SIDE)).save(buffer, "PNG", compress_level=1)
        self._png, self._calls = buffer.getvalue(), count()

    async def run(self) -> None:
        await crowd(1, self._call)

    async def _call(self) -> None:
        await self.site.public(
            "POST", "/v1/embeddings", {"modality": "image", "input": [self._new() for _ in range(4)]}
        )

    def _new(self) -> str:
        """Bytes behind the end of a PNG are ignored, and make it another file."""
        return base64.b64encode(self._png + f"{next(self._calls):08}".encode()).decode()
