"""The pictures of items: kept when they are ingested, shown as thumbnails and originals."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from PIL import Image, UnidentifiedImageError

from clip_core.cores import available_cores
from clip_core.errors import ClipServeError, ImageTooLarge, StorageFull, UnknownPicture
from clip_core.inputs.images import FORMATS, from_reference
from gateway.pictures.bucket import BucketStore
from gateway.pictures.folders import PictureFolders
from gateway.pictures.originals import DIGEST, original_of
from gateway.pictures.recent import RecentThumbnails
from gateway.pictures.store import ORIGINAL, PictureStore, is_digest
from gateway.pictures.thumbnails import SIZES, can_be_made, thumbnails

T = TypeVar("T")
Json = dict[str, Any]
Mode = Literal["in_place", "thumbnails", "copy"]
_FEWEST_THREADS, _READERS = 2, 4
_log = logging.getLogger("gateway.pictures")


@dataclass(frozen=True)
class Sent:
    """The picture of an item, in base64."""

    item_id: str
    metadata: Mapping[str, Any] | None
    image: str


@dataclass(frozen=True)
class Shown:
    """`version` changes with the picture; it is the item's digest where the content is surely of that."""

    content: bytes
    version: str


@dataclass(frozen=True)
class OriginalFile:
    """The file at `path` is of the type `media_type`; its bytes have the SHA-256 `digest`, where one is known."""

    path: Path
    media_type: str
    version: str
    digest: str | None = None

    def read(self, most_bytes: int | None = None) -> bytes:
        """Raises ImageTooLarge for more, and OSError, also for a file that was replaced meanwhile."""
        with self.path.open("rb") as file:
            content = file.read(-1 if most_bytes is None else most_bytes + 1)
        if most_bytes is not None and len(content) > most_bytes:
            raise ImageTooLarge(f"the picture is larger than {most_bytes} bytes")
        if self.digest is not None and hashlib.sha256(content).hexdigest() != self.digest:
            raise FileNotFoundError(errno.ENOENT, "it was replaced meanwhile")
        return content


class Pictures:
    """`threads` make thumbnails, so that they never hold up the event loop, nor take more cores than these. Others read
    what is kept: a bucket or a network's folder that hangs holds up nothing but pictures.

    `count` is told what became of each picture: kept, known, full or failed.
    """

    def __init__(
        self,
        store: PictureStore | BucketStore,
        folders: PictureFolders,
        mode: Mode,
        max_pixels: int,
        *,
        threads: int = 0,
        count: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.store, self.folders = store, folders
        self._mode, self._max_pixels, self._count = mode, max_pixels, count
        width = threads or max(_FEWEST_THREADS, available_cores() // 2, store.threads)
        self._pool = ThreadPoolExecutor(width, thread_name_prefix="pictures")
        self._readers = ThreadPoolExecutor(max(_READERS, store.threads), thread_name_prefix="pictures-read")
        self._recent = RecentThumbnails()
        self._was_full = False

    async def start(self) -> None:
        await asyncio.to_thread(self.folders.load)
        self._pool.submit(self.store.measure)

    async def stop(self) -> None:
        self.store.close()
        for pool in (self._pool, self._readers):
            pool.shutdown(wait=False, cancel_futures=True)

    async def keep(self, collection: str, pictures: Sequence[Sent]) -> list[str | None]:
        """Their digests, in order. What can't be kept is counted and logged, and no error."""
        return list(await asyncio.gather(*(self._in(self._pool, self._keep, collection, each) for each in pictures)))

    async def want(self, digests: Sequence[object]) -> None:
        """Items that refer to these pictures are about to be written: they are not to be removed now."""
        known = [each for each in digests if isinstance(each, str) and is_digest(each)]
        if known:
            with suppress(OSError):  # of a bucket that is away
                await self._in(self._readers, self.store.want, known, SIZES)

    async def thumbnail(self, collection: str, item: Json, size: int) -> Shown:
        """`size` is one of SIZES. Raises UnknownPicture."""
        digest = _metadata(item).get(DIGEST)
        recent = self._recent.get(digest, size) if isinstance(digest, str) else None
        if recent is not None:
            return Shown(recent, str(digest))
        kept = await self._in(self._readers, self._kept, item, size)
        return kept if kept is not None else await self._in(self._pool, self._made, collection, item, size)

    async def original(self, collection: str, item: Json) -> OriginalFile:
        """Raises UnknownPicture."""
        return await self._in(self._readers, self._original, collection, item)

    async def for_a_model(self, collection: str, item: Json, most_bytes: int) -> bytes:
        """The original where it is here, not too large and of a format that models read; else the largest thumbnail.

        Raises UnknownPicture.
        """
        content = await self._in(self._readers, self._for_a_model, collection, item, most_bytes)
        return content if content is not None else (await self.thumbnail(collection, item, max(SIZES))).content

    @staticmethod
    async def _in(pool: ThreadPoolExecutor, work: Callable[..., T], *given: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, work, *given)

    def _keep(self, collection: str, sent: Sent) -> str | None:
        try:
            data = from_reference(sent.image)
        except ClipServeError:
            return None
        digest = hashlib.sha256(data).hexdigest()
        if self._mode != "in_place" or not self._is_in_place(collection, sent, digest):
            self._count(self._outcome(digest, data))
        return digest

    def _is_in_place(self, collection: str, sent: Sent, digest: str) -> bool:
        """Whether thumbnails can be made later: not of what a client sent converted or scaled down."""
        found = self.folders.find(collection, sent.item_id, original_of({**(sent.metadata or {}), DIGEST: digest}))
        return found is not None and can_be_made(found, self._max_pixels)

    def _outcome(self, digest: str, data: bytes) -> str:
        sizes = (*SIZES, ORIGINAL) if self._mode == "copy" else SIZES
        try:
            if self.store.has(digest, sizes):
                return "known"
            self._write(digest, data)
            self._was_full = False
        except (StorageFull, OSError) as error:
            self._log_full(error)
            return "full"
        except Exception as error:  # of Pillow, which raises whatever it stumbles over: the item goes in all the same
            _log.warning("no thumbnails of the picture %s: %s", digest, error)
            return "failed"
        return "kept"

    def _write(self, digest: str, data: bytes) -> None:
        original = {ORIGINAL: data} if self._mode == "copy" else {}
        self.store.write(digest, {**thumbnails(data, self._max_pixels), **original})

    def _log_full(self, error: Exception) -> None:
        if not self._was_full:
            _log.warning("items go in without their pictures: %s", error)
        self._was_full = True

    def _kept(self, item: Json, size: int) -> Shown | None:
        digest = _metadata(item).get(DIGEST)
        content = self.store.read(digest, size) if isinstance(digest, str) and is_digest(digest) else None
        if content is None:
            return None
        self._recent.put(str(digest), size, content)
        return Shown(content, str(digest))

    def _made(self, collection: str, item: Json, size: int) -> Shown:
        """From the original; kept for the next time, where there is room. Raises UnknownPicture."""
        original = self._original(collection, item)
        told = _metadata(item).get(DIGEST)
        version = told if isinstance(told, str) and is_digest(told) else original.version
        content = self.store.read(version, size)
        if content is None:
            try:
                made = thumbnails(original.read(), self._max_pixels)
            except Exception as error:  # of Pillow, which raises whatever it stumbles over
                self._count("failed")
                raise _unreadable(item, error) from error
            content = made[size]
            with suppress(StorageFull, OSError):
                self.store.write(version, made)
        return Shown(content, version)

    def _for_a_model(self, collection: str, item: Json, most_bytes: int) -> bytes | None:
        try:
            original = self._original(collection, item)
            return original.read(most_bytes) if can_be_made(original.path, self._max_pixels) else None
        except (UnknownPicture, ImageTooLarge, OSError):
            return None

    def _original(self, collection: str, item: Json) -> OriginalFile:
        metadata = _metadata(item)
        digest, wanted = metadata.get(DIGEST), original_of(metadata)
        try:
            if isinstance(digest, str) and is_digest(digest):
                path = self.store.original(digest)
                if path is not None:
                    return OriginalFile(path, _media_type(path), digest, digest)
            found = self.folders.find(collection, item["id"], wanted)
            if found is not None:
                return OriginalFile(found, _media_type(found), wanted.digest or _version(found), wanted.digest)
        except Exception as error:  # of Pillow, too
            raise _unreadable(item, error) from error
        raise UnknownPicture(f"the picture that {item['id']!r} was made from is not here", param="id")


def _unreadable(item: Json, error: Exception) -> UnknownPicture:
    """Without the path of the file, which callers are not to know."""
    why = error.strerror if isinstance(error, OSError) else str(error)
    return UnknownPicture(f"the picture of {item['id']!r} can't be read: {why or 'it is damaged'}", param="id")


def _metadata(item: Json) -> Mapping[str, Any]:
    metadata = item.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _media_type(path: Path) -> str:
    """By its content, whatever it is named: nothing but a picture is ever shown. Raises what Pillow raises."""
    try:
        with Image.open(path, formats=(*FORMATS, "AVIF")) as image:
            return image.get_format_mimetype() or "application/octet-stream"
    except UnidentifiedImageError as error:
        raise ValueError("its format is unknown") from error


def _version(path: Path) -> str:
    """Of a file that may change at any time: another one whenever it does."""
    about = os.stat(path)
    return hashlib.sha256(
        f"{path}\0{about.st_size}\0{about.st_mtime_ns}".encode("utf-8", "surrogateescape")
    ).hexdigest()
