"""Thumbnails that were shown lately, in memory: named by digest, they are never stale."""

from __future__ import annotations

import threading
from collections import OrderedDict

_MOST_BYTES = 32 * 1024 * 1024


class RecentThumbnails:
    """At most `most_bytes` of contents; what was asked for longest ago goes first. Any thread may use it."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, digest: str, size: int) -> bytes | None:
        with self._lock:
            content = self._kept.get((digest, size))
            if content is not None:
                self._kept.move_to_end((digest, size))
            return content

    def put(self, digest: str, size: int, content: bytes) -> None:
        with self._lock:
            self._bytes += len(content) - len(self._kept.pop((digest, size), b""))
            self._kept[digest, size] = content
            while self._bytes > self._most_bytes:
                self._bytes -= len(self._kept.popitem(last=False)[1])
