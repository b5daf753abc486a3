"""What the captioner's decoder needs of pictures, kept by their content: a picture that comes again costs no pass."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from clip_core.captions.captioner import Memory


class Memories:
    """The least recently used go first; at most `most_bytes`, 0 keeps none."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes, self._kept = most_bytes, OrderedDict[bytes, Memory]()
        self.bytes = 0

    def get(self, digest: bytes) -> Memory | None:
        memory = self._kept.get(digest)
        if memory is not None:
            self._kept.move_to_end(digest)
        return memory

    def put(self, digest: bytes, memory: Memory) -> None:
        size = memory.cross.nbytes
        if digest in self._kept or size > self._most_bytes:
            return
        self._kept[digest] = memory
        self.bytes += size
        while self.bytes > self._most_bytes:
            _, oldest = self._kept.popitem(last=False)
            self.bytes -= oldest.cross.nbytes


def digest_of(picture: bytes) -> bytes:
    """Of a picture's encoded bytes."""
    return hashlib.sha256(picture).digest()
