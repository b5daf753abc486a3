"""Kept thumbnails in object storage, by the same names as in a folder: `…/thumbnails/ab/ab12….256.webp`.

Several gateways may share it, and `clipserve bulk --thumbnails` fills it. fsspec reads and writes it; credentials come
from where its file systems look for them.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from clip_core.errors import StorageFull
from gateway.pictures.store import ORIGINAL

_log = logging.getLogger("gateway.pictures.bucket")
_THUMBNAILS, _COPIED = "thumbnails", "copied"
_WRITTEN_AGAIN_S = 1800.0  # objects have no time of last use: what is wanted again is written again once it is so old
_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
}
_TIMES = ("LastModified", "last_modified", "mtime", "updated", "created")


class NoFileSystem(Exception):
    """The address is of no kind that is installed here."""


class BucketStore:
    """The same calls as `PictureStore`; originals are not kept in it. At most `max_bytes`.

    What goes wrong with the bucket is an OSError where something is written; what can't be read is not there.
    """

    threads = 16  # that write and ask at once: each mostly waits for the store

    def __init__(self, address: str, max_bytes: int, storage: Mapping[str, Any] | None = None) -> None:
        """Raises NoFileSystem. Nothing is asked of the bucket yet."""
        self._fs, root = _opened(address, storage or {})
        self._root, self._max_bytes = root.rstrip("/"), max_bytes
        self._lock, self._closed = threading.Lock(), False
        self.bytes = 0

    def close(self) -> None:
        self._closed = True

    def original(self, digest: str) -> Path | None:  # noqa: ARG002
        return None

    def read(self, digest: str, size: int) -> bytes | None:
        try:
            content: bytes = self._fs.cat_file(self._path(digest, size))
        except FileNotFoundError:
            return None
        except Exception as error:  # each file system has errors of its own
            _log.warning("a thumbnail can't be read: %s", error)
            return None
        return content or None

    def has(self, digest: str, sizes: tuple[int, ...]) -> bool:
        """They count as new from now on. Raises OSError."""
        with _failures():
            try:
                paths = (self._path(digest, size) for size in sizes if size != ORIGINAL)
                old = [path for path in paths if self._age_s(path) > _WRITTEN_AGAIN_S]
                for path in old:
                    self._fs.pipe_file(path, self._fs.cat_file(path))
            except FileNotFoundError:
                return False
        return True

    def want(self, digests: Sequence[str], sizes: tuple[int, ...]) -> None:
        """What is there of them counts as new. Raises OSError."""
        with ThreadPoolExecutor(self.threads, "wanted") as pool:
            for _ in pool.map(lambda digest: [self.has(digest, (size,)) for size in sizes], digests):
                pass

    def write(self, digest: str, contents: Mapping[int, bytes]) -> None:
        """Raises StorageFull, OSError."""
        needed = sum(map(len, contents.values()))
        if self.bytes + needed > self._max_bytes:
            raise StorageFull(f"the pictures take the {self._max_bytes} bytes that they may")
        with _failures():
            for size, content in contents.items():
                self._fs.pipe_file(self._path(digest, size), content)
        with self._lock:
            self.bytes += needed

    def measure(self) -> None:
        known = self.bytes
        try:
            found = sum(int(about.get("size") or 0) for about in self._files())
        except Exception as error:  # each file system has errors of its own
            _log.warning("the kept pictures can't be counted now: %s", error)
            return
        with self._lock:
            self.bytes += found - known

    def note_copy(self) -> None:
        with suppress(OSError), _failures():
            self._fs.pipe_file(f"{self._root}/{_COPIED}", uuid.uuid4().hex.encode())

    def last_copy(self) -> int:
        """Raises OSError: nothing is to be removed by a gateway that can't know."""
        with _failures():
            try:
                return int.from_bytes(hashlib.sha256(self._fs.cat_file(f"{self._root}/{_COPIED}")).digest()[:8], "big")
            except FileNotFoundError:
                return 0

    def remove_unused(self, is_used: Callable[[str], bool], older_than_s: float) -> int:
        """Raises OSError."""
        removed = 0
        with _failures():
            for about in self._files():
                path = str(about["name"])
                if is_used(path.rpartition("/")[2][:64]) or _age_s(about) <= older_than_s:
                    continue
                with suppress(FileNotFoundError):
                    self._fs.rm_file(path)
                    removed += 1
                    with self._lock:
                        self.bytes -= int(about.get("size") or 0)
        return removed

    def _path(self, digest: str, size: int) -> str:
        return f"{self._root}/{_THUMBNAILS}/{digest[:2]}/{digest}.{size}.webp"

    def _age_s(self, path: str) -> float:
        return _age_s(self._fs.info(path))

    def _files(self) -> Iterator[Mapping[str, Any]]:
        """Folder by folder: a listing of all would hold millions of objects."""
        for number in range(256):
            try:
                found = self._fs.ls(f"{self._root}/{_THUMBNAILS}/{number:02x}", detail=True)
            except FileNotFoundError:
                continue
            for about in found:
                if self._closed:
                    return
                if about.get("type") != "directory":
                    yield about


def _opened(address: str, storage: Mapping[str, Any]) -> tuple[Any, str]:
    """A file system and the path there. Raises NoFileSystem."""
    scheme, _, place = address.partition("://")
    if not place.strip("/"):
        raise NoFileSystem(f"{address} names no bucket: write it as s3://bucket/prefix")
    try:
        from fsspec.core import url_to_fs

        options = {"use_listings_cache": False, "skip_instance_cache": True, **_patience(address), **storage}
        return url_to_fs(address, **options)  # type: ignore[no-any-return]
    except ImportError as error:
        package = _PACKAGES.get(scheme, "'clipserve[sync]'")
        raise NoFileSystem(f"{address}: {error}: pip install {package}; the gateway's image has s3fs only") from error
    except Exception as error:  # each file system has errors of its own
        raise NoFileSystem(f"{address} can't be opened: {error}") from error


def _patience(address: str) -> Mapping[str, Any]:
    """A page waits for thumbnails: S3's client would wait a minute for each try."""
    if not address.startswith(("s3://", "s3a://")):
        return {}
    return {"config_kwargs": {"connect_timeout": 5, "read_timeout": 20, "retries": {"max_attempts": 2}}}


def _age_s(about: Mapping[str, Any]) -> float:
    """0 where the store tells no time."""
    told = next((about[name] for name in _TIMES if about.get(name)), None)
    if isinstance(told, str):
        with suppress(ValueError):
            told = datetime.fromisoformat(told.replace("Z", "+00:00"))
    if isinstance(told, datetime):
        return time.time() - told.timestamp()
    return time.time() - told if isinstance(told, int | float) else 0.0


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # each file system has errors of its own
        raise OSError(f"the bucket of pictures can't be reached: {error}") from error
