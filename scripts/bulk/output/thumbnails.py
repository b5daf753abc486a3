"""Thumbnails beside the vectors, where a gateway keeps and shows its own: its `pictures_dir` or `pictures_url`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

from clip_core.errors import ClipServeError
from gateway.pictures.bucket import BucketStore, NoFileSystem
from gateway.pictures.store import PictureStore
from gateway.pictures.thumbnails import SIZES, thumbnails
from scripts.bulk.shards.errors import BulkFailed
from scripts.sync.bucket import is_url

_MOST_PIXELS = 256_000_000
_NO_BOUND = 2**62


class Thumbnails:
    """Made on `threads` threads. A picture that has its thumbnails is not decoded again."""

    def __init__(self, address: str, storage: Mapping[str, Any], threads: int) -> None:
        """Raises BulkFailed."""
        self._threads = threads
        try:
            self._store = (
                BucketStore(address, _NO_BOUND, storage)
                if is_url(address)
                else PictureStore(Path(address), _NO_BOUND, 0)
            )
        except NoFileSystem as error:
            raise BulkFailed(str(error)) from error

    def keep(self, pictures: Iterable[bytes]) -> None:
        """What has no thumbnails all the same is left out. Raises OSError."""
        with ThreadPoolExecutor(self._threads, "thumbnails") as pool:
            for _ in pool.map(self._keep, pictures):
                pass

    def _keep(self, picture: bytes) -> None:
        digest = sha256(picture).hexdigest()
        if self._store.has(digest, SIZES):
            return
        try:
            made = thumbnails(picture, _MOST_PIXELS)
        except (ClipServeError, ValueError):  # the tower takes some pictures that WebP does not
            return
        self._store.write(digest, made)
