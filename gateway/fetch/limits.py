"""Limits of pictures by URL: settings need these without what fetches."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FetchLimits:
    """Bytes count as received and once more as decompressed; `timeout_s` spans all hops and the wait for a slot."""

    max_bytes: int = 16 * 1024 * 1024
    max_pixels: int = 64_000_000
    timeout_s: float = 10.0
    max_redirects: int = 3
    concurrency: int = 16
