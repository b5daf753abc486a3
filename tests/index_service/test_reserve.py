"""A full disk can be emptied: deletions get the room that was kept for them."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from clip_core.errors import StorageFull
from index_service.collection.registry import Registry
from index_service.record import rows
from index_service.record.reserve import Reserve
from index_service.record.store import CollectionInfo, Store
from index_service.settings import IndexSettings
from tests.index_service.helpers import ROOT, item, unit_rows

VECTORS = unit_rows(60, 8)
ITEMS = [item(f"i{n}", row) for n, row in enumerate(VECTORS)]
INFO = CollectionInfo("c", "m", "f", 8)


def no_room(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_deletion_gets_the_reserve_and_upserts_wait_until_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "reserve"
    reserve = Reserve(path, 1 << 20)
    assert reserve.make()
    assert path.stat().st_size == 1 << 20
    store = Store(tmp_path / "index.sqlite3", reserve)
    key = store.add_collection(INFO)
    store.upsert(key, ITEMS)
    delete = rows.delete

    def full(*given: object) -> None:
        if path.exists():
            raise sqlite3.OperationalError("database or disk is full")
        delete(*given)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", no_room)
        patched.setattr(rows, "delete", full)
        assert len(store.delete(key, ["i1"])) == 1
        assert not path.exists()
        with pytest.raises(StorageFull):
            store.upsert(key, ITEMS[:1])
        assert len(store.delete(key, ["i2"])) == 1
        store.drop_collection(store._collections()[0].key)
    key = store.add_collection(INFO)
    store.upsert(key, ITEMS[:1])
    assert path.stat().st_size == 1 << 20
    store.close()


FULL = """
import sys, os
from pathlib import Path
folder = Path(sys.argv[1])
from clip_core.errors import StorageFull
from index_service.record.reserve import Reserve
from index_service.record.store import Store
from tests.index_service.test_reserve import INFO, ITEMS
reserve = Reserve(folder / "reserve", 20 << 20)
assert reserve.make()
store = Store(folder / "index.sqlite3", reserve)
other, key = store.add_collection(INFO), store.add_collection(INFO.__class__("d", "m", "f", 8))
store.upsert(other, ITEMS)
def fill():
    for n in range(10_000):
        try:
            long = b'{"x":"%s"}' % (b"y" * 9000)
            store.upsert(key, [one._replace(id=f"{n}.{one.id}", metadata=long) for one in ITEMS])
        except StorageFull:
            return n
assert fill() > 10
more = open(folder / "more", "wb", 0)
try:
    while True:  # until not a byte is left
        more.write(b"x" * 4096)
except OSError:
    more.close()
assert len(store.delete(other, ["i1", "i2"])) == 2
assert store.count(other) == len(ITEMS) - 2
store.drop_collection(key)
(folder / "more").unlink()
key = store.add_collection(INFO.__class__("e", "m", "f", 8))
assert fill() > 3, reserve.make()
assert store.count(other) == len(ITEMS) - 2
store.close()
print("emptied")
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs a file system of its own")
def test_a_file_system_without_a_byte_left_can_be_emptied(tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o size=40m none {tmp_path}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("user namespaces can't mount here")
    command = ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh", sys.executable, "-c", FULL, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "emptied\n"), done.stderr


def test_on_a_full_disk_aliases_are_switched_and_dropped_so_that_what_they_led_to_can_be_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = Reserve(tmp_path / "reserve", 1 << 20)
    registry = Registry(Store(tmp_path / "index.sqlite3", reserve), IndexSettings(data_dir=tmp_path))
    registry.load()
    for name in ("old", "new"):
        registry.create(replace(INFO, name=name))
    registry.set_alias("a", "old")
    registry.set_alias("b", "old")
    begin = Store._transaction

    @contextmanager
    def full(store: Store) -> Iterator[sqlite3.Connection]:
        if (tmp_path / "reserve").exists():
            raise StorageFull("the disk is full")
        with begin(store) as db:
            yield db

    monkeypatch.setattr(Store, "_transaction", full)
    for write in (
        lambda: registry.set_alias("a", "new"),
        lambda: registry.drop_alias("b"),
        lambda: registry.drop("old"),
    ):
        assert reserve.make()
        write()
    assert registry.aliases() == {"a": "new"}
    assert [info.name for info in registry.store.collections()] == ["new"]
    registry.close()


def test_a_reserve_that_was_cut_short_is_made_again(tmp_path: Path) -> None:
    """The process was killed between its making and its filling."""
    (tmp_path / "reserve").touch()
    reserve = Reserve(tmp_path / "reserve", 1 << 20)
    assert reserve.make()
    assert (tmp_path / "reserve").stat().st_size == 1 << 20
    assert reserve.release()
    assert not reserve.release()
