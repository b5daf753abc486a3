"""How many tokens a picture costs, by the two rules that OpenAI documents (platform.openai.com/docs/guides/images).

Tiles: a base, and as much again for each tile of 512 pixels, after fitting into 2048 × 2048 and a short side of 768.
Patches: one token for each 32 × 32 pixels, at most 1536, times the model's multiplier.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from gateway.assistant.provider.prompt import Detail, ShownPicture

_TILE, _PATCH = 512, 32
_LARGEST, _SHORT_SIDE, _MOST_PATCHES = 2048, 768, 1536


@dataclass(frozen=True)
class ImageRule:
    """`base` and `tile` are tokens, `multiplier` is of patches."""

    kind: Literal["tiles", "patches"] = "tiles"
    base: int = 85
    tile: int = 170
    multiplier: float = 1.0

    def tokens(self, picture: ShownPicture) -> int:
        """Of one picture as it is sent."""
        if self.kind == "patches":
            return math.ceil(_patches(picture.width, picture.height) * self.multiplier)
        if picture.detail == "low":
            return self.base
        return self.base + self.tile * _tiles(picture.width, picture.height)

    def side(self, detail: Detail) -> int:
        """Pixels of the longer side at which a picture is sent: as many as cost nothing more."""
        if detail == "high":
            return _SHORT_SIDE
        return _TILE if self.kind == "tiles" else _TILE // 2


def _tiles(width: int, height: int) -> int:
    scale = min(1.0, _LARGEST / max(width, height))
    scale = min(scale, _SHORT_SIDE / min(width, height))
    return math.ceil(round(width * scale) / _TILE) * math.ceil(round(height * scale) / _TILE)


def _patches(width: int, height: int) -> int:
    """A larger picture is scaled down until it has no more than the most."""
    patches = math.ceil(width / _PATCH) * math.ceil(height / _PATCH)
    if patches <= _MOST_PATCHES:
        return patches
    scale = math.sqrt(_MOST_PATCHES * _PATCH**2 / (width * height))
    wide, high = width * scale / _PATCH, height * scale / _PATCH
    scale *= min(math.floor(wide) / wide, math.floor(high) / high)
    return min(_MOST_PATCHES, math.ceil(width * scale / _PATCH) * math.ceil(height * scale / _PATCH))
