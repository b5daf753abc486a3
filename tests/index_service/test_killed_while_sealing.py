"""A process that is killed while it seals a snapshot: nothing of it counts, and the collection is whole."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from index_service.collection.collection import Collection
from index_service.collection.registry import Registry
from index_service.record.store import CollectionInfo, Store
from index_service.settings import IndexSettings
from index_service.snapshots import seals
from index_service.snapshots.snapshot_files import Snapshots
from tests.index_service.helpers import item, unit_rows

DIM, ROWS = 16, 50
VECTORS = unit_rows(ROWS, DIM)


def opened(folder: Path) -> tuple[Collection, Snapshots]:
    store = Store(folder / "index.sqlite3")
    registry = Registry(store, IndexSettings(data_dir=folder))
    registry.load()
    collection, _ = registry.create(CollectionInfo("c", "m", "f", DIM))
    return collection, Snapshots(folder / "snapshots", store, registry)


def killed(folder: Path, moment: str) -> None:
    """Write, then die in the middle of the first snapshot's seal: at this function of `seals`."""
    collection, snapshots = opened(folder)
    collection.upsert([item(f"i{n}", VECTORS[n], {"n": n}) for n in range(ROWS)], VECTORS)
    setattr(seals, moment, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    snapshots.create(collection)


@pytest.mark.parametrize("moment", ["_footer_start", "_digest"])
def test_no_snapshot_is_left_and_the_next_one_is_whole(tmp_path: Path, moment: str) -> None:
    process = multiprocessing.get_context("forkserver").Process(target=killed, args=(tmp_path, moment))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert list((tmp_path / "snapshots").glob("*.part"))
    collection, snapshots = opened(tmp_path)
    assert (snapshots.all(), list((tmp_path / "snapshots").iterdir())) == ([], [])
    assert collection.view.live == ROWS
    made = snapshots.create(collection)["name"]
    assert seals.sealed(snapshots.path(made))
    assert snapshots.restore("copy", made).view.live == ROWS
