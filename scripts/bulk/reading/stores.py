"""The file systems of buckets, opened once: opening one takes longer than reading a picture from it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from scripts.sync.bucket import opened


class Stores:
    """From several threads. `storage`: options of the file systems."""

    def __init__(self, storage: Mapping[str, Any]) -> None:
        self._storage, self._lock = storage, threading.Lock()
        self._opened: dict[str, Any] = {}

    def opened(self, url: str) -> tuple[Any, str]:
        """fsspec's file system, and the path there. Raises SourceError."""
        if "::" in url:  # a file in an archive: each archive is a file system
            return opened(url, self._storage)
        bucket = "/".join(url.split("/", 3)[:3])
        with self._lock:
            if bucket not in self._opened:
                self._opened[bucket], path = opened(url, self._storage)
                return self._opened[bucket], path
        fs = self._opened[bucket]
        return fs, fs._strip_protocol(url)
