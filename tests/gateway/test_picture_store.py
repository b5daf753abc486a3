"""The folder of kept pictures."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading

import pytest

from clip_core.errors import StorageFull, UnknownPicture
from gateway.pictures.folders import PictureFolders
from gateway.pictures.pictures import Pictures
from gateway.pictures.store import ORIGINAL, PictureStore
from tests.gateway.made_pictures import DIGEST, MOST, store_of


async def test_a_store_that_hangs_holds_up_nothing_but_pictures(tmp_path, monkeypatch):
    store, go_on = store_of(tmp_path), threading.Event()
    monkeypatch.setattr(store, "read", lambda *_: go_on.wait(30) and None)
    pictures = Pictures(store, PictureFolders(tmp_path, {}), "thumbnails", MOST)
    item = {"id": "a", "metadata": {"digest": DIGEST}}
    waiting = [asyncio.create_task(pictures.thumbnail("demo", item, 256)) for _ in range(64)]
    await asyncio.sleep(0.05)
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "elsewhere"), 5) == "elsewhere"
    go_on.set()
    assert all(isinstance(each, UnknownPicture) for each in await asyncio.gather(*waiting, return_exceptions=True))
    await pictures.stop()


def test_files_are_whole_and_counted(tmp_path):
    store = store_of(tmp_path)
    store.write(DIGEST, {256: b"x" * 10, ORIGINAL: b"y" * 5})
    store.write(DIGEST, {256: b"z" * 12})
    assert (store.read(DIGEST, 256), store.bytes) == (b"z" * 12, 17)
    again = store_of(tmp_path)
    folder = tmp_path / "pictures" / "thumbnails" / "ab"
    for name in ("left.part", "being-written.part"):
        (folder / name).write_bytes(b"half")
    os.utime(folder / "left.part", (1, 1))
    again.measure()
    assert again.bytes == 17
    assert [path.name for path in folder.glob("*.part")] == ["being-written.part"]


def test_what_is_written_while_files_are_counted_counts(tmp_path):
    store_of(tmp_path).write(DIGEST, {256: b"x" * 10})

    class Writing(PictureStore):
        def _files(self):
            yield from super()._files()
            self.write("cd" * 32, {256: b"y" * 5})

    store = Writing(tmp_path / "pictures", 10**9, 0)
    store.measure()
    assert store.bytes == 15


def test_a_walk_over_the_files_ends_when_the_gateway_stops(tmp_path):
    """Threads are waited for when the process ends, and there may be a million files on a slow disk."""
    store, looked_at = store_of(tmp_path), []
    store.write(DIGEST, {256: b"x", 768: b"y", ORIGINAL: b"z"})

    def stops(name):
        store.close()
        looked_at.append(name)
        return True

    store.remove_unused(stops, 0)
    assert looked_at == [DIGEST]


def test_no_more_than_the_bound(tmp_path):
    store = store_of(tmp_path, most=20)
    store.write(DIGEST, {256: b"x" * 15})
    with pytest.raises(StorageFull):
        store.write("cd" * 32, {256: b"x" * 15})
    with pytest.raises(StorageFull):
        store_of(tmp_path, free=2**52).write("cd" * 32, {256: b"x"})
    assert store.read("cd" * 32, 256) is None


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    store = store_of(tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        store.write(DIGEST, {256: b"x"})
    assert not [path for path in (tmp_path / "pictures").rglob("*") if path.is_file()]
    assert store.bytes == 0


def test_many_writers_of_one_picture(tmp_path):
    store = store_of(tmp_path)
    writers = [threading.Thread(target=store.write, args=(DIGEST, {256: b"x" * 1000})) for _ in range(8)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    assert (store.read(DIGEST, 256), store.bytes) == (b"x" * 1000, 1000)


def test_a_folder_that_was_deleted_is_made_again(tmp_path):
    store = store_of(tmp_path)
    store.write(DIGEST, {256: b"x"})
    shutil.rmtree(tmp_path / "pictures")
    assert store.read(DIGEST, 256) is None
    assert not store.has(DIGEST, (256,))
    store.write(DIGEST, {256: b"x"})
    assert store.read(DIGEST, 256) == b"x"


def test_what_is_wanted_again_is_not_removed(tmp_path):
    store = store_of(tmp_path)
    for digest in (DIGEST, "cd" * 32, "ef" * 32):
        store.write(digest, {256: b"x"})
        os.utime(store.path(digest, 256), (1, 1))
    assert store.has(DIGEST, (256,))
    assert store.remove_unused(lambda digest: digest.startswith("cd"), 60) == 1
    assert [store.read(each, 256) for each in (DIGEST, "cd" * 32, "ef" * 32)] == [b"x", b"x", None]
    assert store.bytes == 2
