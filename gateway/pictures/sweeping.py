"""Pictures that no item refers to any more are removed: now and then, after items were deleted."""

from __future__ import annotations

import asyncio
import logging
from array import array
from bisect import bisect_left
from collections.abc import AsyncIterator
from threading import Thread

import numpy as np

from clip_core.errors import ClipServeError, Unavailable
from gateway.pictures.bucket import BucketStore
from gateway.pictures.originals import DIGEST
from gateway.pictures.store import PictureStore, is_digest
from gateway.upstream.index_service import IndexServiceClient

_log = logging.getLogger("gateway.pictures.sweeping")
_EVERY_S = 3600.0
_PAGE = 1000
_HEX = 15  # letters of a digest that fit into a 64-bit number: a picture that shares them with a used one stays


class Sweeper:
    """Lists all items at most once in `every_s`. What was wanted in the last `every_s` stays, used or not.

    `shared`: other gateways keep pictures in the same folder, too.
    """

    def __init__(
        self,
        index: IndexServiceClient,
        store: PictureStore | BucketStore,
        every_s: float = _EVERY_S,
        *,
        shared: bool = False,
    ) -> None:
        self._index, self._store, self._every_s, self._shared = index, store, every_s, shared
        self._wanted = True  # an earlier process may have deleted items
        self._copied = False  # since the listing began
        self._task: asyncio.Task[None] | None = None

    def items_were_deleted(self) -> None:
        self._wanted = True

    def items_were_copied(self) -> None:
        """Perhaps to a collection that was listed already, to be deleted in one that is still to be listed."""
        self._copied = True
        if self._shared:
            Thread(target=self._store.note_copy, name="pictures-copied", daemon=True).start()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            if self._shared:  # what the others wrote counts, too
                await asyncio.to_thread(self._store.measure)
            if self._wanted:
                self._wanted = False
                try:
                    _log.info("removed %d files of pictures that no item has", await self.sweep(self._every_s))
                except ClipServeError as error:
                    self._wanted = True
                    _log.warning("unused pictures are not removed now: %s", error)
                except Exception:  # the next time may go well
                    self._wanted = True
                    _log.exception("unused pictures are not removed now")

    async def sweep(self, older_than_s: float) -> int:
        """The number of files removed; none where items were copied meanwhile: then it is wanted again.

        Raises what the index service raises; then, too, nothing was removed.
        """
        self._copied = False
        copied = await self._last_copy()
        used = array("Q")
        async for number in self._used():
            used.append(number)
        if self._copied or await self._last_copy() != copied:
            self._wanted = True
            return 0
        await asyncio.to_thread(np.asarray(used).sort)

        def is_used(digest: str) -> bool:
            if not is_digest(digest):
                return False
            number = int(digest[:_HEX], 16)
            place = bisect_left(used, number)
            return place < len(used) and used[place] == number

        return await asyncio.to_thread(self._store.remove_unused, is_used, older_than_s)

    async def _last_copy(self) -> int:
        """By any gateway that shares the folder."""
        return await asyncio.to_thread(self._store.last_copy) if self._shared else 0

    async def _used(self) -> AsyncIterator[int]:
        listed = await self._index.collections()
        if listed.get("incomplete"):
            raise Unavailable(f"not every collection can be listed: {listed['incomplete']}")
        milvus = [each for each in listed["collections"] if each.get("store") == "milvus"]
        for each in (*listed["collections"], *milvus):  # twice: it may not show what is just being replaced
            after = None
            while True:
                page = await self._index.items(each["name"], {"limit": _PAGE, "after": after})
                for item in page["items"]:
                    digest = (item.get("metadata") or {}).get(DIGEST)
                    if isinstance(digest, str) and is_digest(digest):
                        yield int(digest[:_HEX], 16)
                after = page["next"]
                if after is None:
                    break
