"""Pictures that nobody refers to are removed, and no others."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tracemalloc

import pytest

from clip_core.errors import Unavailable
from gateway.pictures.store import ORIGINAL
from gateway.pictures.sweeping import Sweeper
from gateway.pictures.thumbnails import SIZES
from tests.gateway.made_pictures import DIGEST, store_of


class Listing:
    """Of an index service: pages of two items."""

    def __init__(self, **collections: list[str]) -> None:
        self.collections_, self.names = collections, list(collections)

    async def collections(self):
        return {"collections": [{"name": name} for name in self.names]}

    async def items(self, name, query):
        digests = self.collections_[name]
        start = query["after"] or 0
        items = [{"metadata": {"digest": each}} for each in digests[start : start + 2]]
        return {"items": items, "next": start + 2 if start + 2 < len(digests) else None}


async def test_unused_pictures_are_removed(tmp_path):
    store = store_of(tmp_path)
    digests = [hashlib.sha256(bytes([n])).hexdigest() for n in range(6)]
    for digest in digests:
        store.write(digest, {256: b"x", 768: b"y"})
        for size in SIZES:
            os.utime(store.path(digest, size), (1, 1))
    index = Listing(one=digests[:3], two=[digests[4], "no digest", None])
    assert await Sweeper(index, store).sweep(60) == 4
    assert [n for n, digest in enumerate(digests) if store.read(digest, 256)] == [0, 1, 2, 4]


async def test_none_is_removed_while_collections_may_be_missing(tmp_path):
    store = store_of(tmp_path)
    store.write(DIGEST, {ORIGINAL: b"x"})
    os.utime(store.path(DIGEST, ORIGINAL), (1, 1))

    class Away(Listing):
        async def collections(self):
            return {**await super().collections(), "incomplete": "Milvus can't be reached"}

    with pytest.raises(Unavailable, match="Milvus"):
        await Sweeper(Away(one=[]), store).sweep(60)
    assert store.read(DIGEST, ORIGINAL) == b"x"


async def test_looking_for_unused_pictures_takes_eight_bytes_an_item(tmp_path):
    class Endless(Listing):
        async def items(self, _, query):
            start = query["after"] or 0
            items = [{"metadata": {"digest": f"{n:064x}"[::-1]}} for n in range(start, start + 1000)]
            return {"items": items, "next": start + 1000 if start < 50_000 else None}

    tracemalloc.start()
    await Sweeper(Endless(one=[]), store_of(tmp_path)).sweep(60)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


async def test_the_picture_of_an_item_that_is_moved_meanwhile_stays(tmp_path):
    """To a collection that was listed already, from one that is still to be listed."""
    store = store_of(tmp_path)
    store.write(DIGEST, {ORIGINAL: b"x"})
    os.utime(store.path(DIGEST, ORIGINAL), (1, 1))

    class Moving(Listing):
        async def items(self, name, query):
            page = await super().items(name, query)
            if name == "one":
                sweeper.items_were_copied()
                self.collections_ = {"one": [DIGEST], "two": []}
            return page

    sweeper = Sweeper(Moving(one=[], two=[DIGEST]), store)
    assert await sweeper.sweep(60) == 0
    assert store.read(DIGEST, ORIGINAL) == b"x"
    assert await Sweeper(Listing(one=[], two=[]), store).sweep(60) == 1


async def test_a_copy_by_another_gateway_keeps_pictures_too(tmp_path):
    store, other = store_of(tmp_path), store_of(tmp_path)
    store.write(DIGEST, {ORIGINAL: b"x"})
    os.utime(store.path(DIGEST, ORIGINAL), (1, 1))

    class Moving(Listing):
        async def items(self, name, query):
            other.note_copy()
            return await super().items(name, query)

    assert await Sweeper(Moving(one=["0" * 64]), store, shared=True).sweep(60) == 0
    assert await Sweeper(Listing(one=["0" * 64]), store, shared=True).sweep(60) == 1


def test_what_another_gateway_kept_counts_once_it_is_measured_again(tmp_path):
    store, other = store_of(tmp_path), store_of(tmp_path)
    store.write(DIGEST, {256: b"x"})
    other.write("cd" * 32, {256: b"yy"})
    store.measure()
    store.measure()
    assert store.bytes == 3


async def test_a_listing_that_fails_removes_nothing(tmp_path):
    store = store_of(tmp_path)
    store.write(DIGEST, {256: b"x"})
    os.utime(store.path(DIGEST, 256), (1, 1))
    index = Listing(one=[])
    del index.collections_["one"]  # meanwhile
    with pytest.raises(KeyError):
        await Sweeper(index, store).sweep(60)
    assert store.read(DIGEST, 256) == b"x"


async def test_the_sweeper_goes_on_after_a_failure():
    class Failing:
        calls = 0
        again = asyncio.Event()

        async def collections(self):
            self.calls += 1
            if self.calls > 1:
                self.again.set()
            raise OSError("a full disk")

    sweeper = Sweeper(Failing(), None, every_s=0.001)
    await sweeper.start()
    await asyncio.wait_for(Failing.again.wait(), 30)
    await sweeper.stop()
