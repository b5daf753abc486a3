"""Several pictures beside the same texts: each decoded once, and remembered while it is asked again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from clip_core.captions.captioner import Captioner, Memory
from clip_core.captions.memories import Memories, digest_of
from clip_core.errors import ClipServeError
from clip_core.serving.captions.answers import scores_body

Decode = Callable[[Sequence[bytes]], list[Tensor | ClipServeError]]
_AT_ONCE = 16  # pictures of a pass of the image tower: its memory grows with them


class TextScoring:
    """`decode` gives pixels (3, H, W) uint8 of each picture, or its error."""

    def __init__(self, captioner: Captioner, memories: Memories, decode: Decode) -> None:
        self._captioner, self._memories, self._decode = captioner, memories, decode

    def body(self, pictures: Sequence[bytes], texts: Sequence[str], most_tokens: int | None) -> dict[str, Any]:
        """In order: each picture's scores, its error, or null for one that `most_tokens` leaves out.

        `usage` says how many tokens the decoder read, and how many pictures it had to look at. Raises BadText.
        """
        read = self._captioner.read(texts)
        cost = sum(count - 1 for count in read.counts)
        tried = len(pictures) if most_tokens is None else min(len(pictures), most_tokens // cost)
        found, looked = self._remembered(pictures[:tried])
        known = [each for each in found if isinstance(each, Memory)]
        scores = iter(self._captioner.score_pictures(known, read) if known else [])
        told: list[dict[str, Any] | None] = [
            scores_body(next(scores), read.counts) if isinstance(each, Memory) else each.to_dict() for each in found
        ]
        told += [None] * (len(pictures) - tried)
        return {"pictures": told, "usage": {"text_tokens": cost * len(known), "pictures": looked}}

    def _remembered(self, pictures: Sequence[bytes]) -> tuple[list[Memory | ClipServeError], int]:
        digests = [digest_of(picture) for picture in pictures]
        found: dict[bytes, Memory | ClipServeError] = {}
        for digest in digests:
            if (memory := self._memories.get(digest)) is not None:
                found[digest] = memory
        new = {digest: picture for digest, picture in zip(digests, pictures, strict=True) if digest not in found}
        pixels = dict(zip(new, self._decode(list(new.values())), strict=True))
        sound = {digest: each for digest, each in pixels.items() if isinstance(each, Tensor)}
        found |= {digest: each for digest, each in pixels.items() if isinstance(each, ClipServeError)}
        names, rows = [*sound], [*sound.values()]
        for first in range(0, len(rows), _AT_ONCE):
            memories = self._captioner.remember(torch.stack(rows[first : first + _AT_ONCE]))
            for digest, memory in zip(names[first:], memories, strict=False):
                self._memories.put(digest, memory)
                found[digest] = memory
        return [found[digest] for digest in digests], len(sound)
