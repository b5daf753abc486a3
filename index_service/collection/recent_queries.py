"""What a collection was asked last, to measure recall on: each query once, however popular it is."""

from __future__ import annotations

import threading

import numpy as np

from clip_core.wire import FloatArray


class RecentQueries:
    """The last `most` different queries, (D,) each; any thread may add to them.

    A few popular queries, were they kept as often as they come, would leave a sample of themselves, and a setting that
    suits them alone.
    """

    def __init__(self, most: int = 256) -> None:
        self._most, self._lock = most, threading.Lock()
        self._kept: dict[bytes, None] = {}  # the least recent first

    def note(self, query: FloatArray) -> None:
        """Remember a copy of `query`."""
        key = query.astype(np.float32, copy=False).tobytes()
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = None
            if len(self._kept) > self._most:
                del self._kept[next(iter(self._kept))]

    def stacked(self) -> FloatArray | None:
        """(Q, D), the most recent last; None where there are none."""
        with self._lock:
            kept = list(self._kept)
        return np.frombuffer(b"".join(kept), np.float32).reshape(len(kept), -1) if kept else None
