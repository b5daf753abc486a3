"""A delta that stays small is merged once nothing is written any more; and the heap gives back what was freed."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

from index_service.collection.collection import Collection
from index_service.collection.registry import Registry
from index_service.record.store import CollectionInfo, Store
from index_service.settings import IndexSettings
from tests.index_service.helpers import item, unit_rows
from tests.waiting import until

DIM, MAIN = 16, 3000
HEAP = """
import threading
import numpy as np
from clip_core.heap import frugal, give_back

def held():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon")) // 1024

def work():
    blocks = [np.ones(1 << 17) for _ in range(40)]  # of 1 MiB
    kept.append(np.ones(64))  # at the end of the heap, where it keeps what lies below
    del blocks

frugal()
kept, before = [], held()
threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
give_back()
print(held() - before)
"""
VECTORS = unit_rows(MAIN + 200, DIM)


def started(store: Store, folder: Path, quiet_s: float) -> tuple[Registry, Collection]:
    """3,000 rows in a main segment, 200 in the delta, which is too few for a merge that is due at once."""
    registry = Registry(
        store, IndexSettings(data_dir=folder, merge_min_rows=400, exact_max_rows=0, merge_idle_s=quiet_s)
    )
    registry.start()
    until(lambda: registry.ready)
    collection, _ = registry.create(CollectionInfo("c", "m", "f", DIM, engine="faiss:IVF16,SQ8"))
    for start, end in ((0, MAIN), (MAIN, MAIN + 200)):
        collection.upsert([item(f"i{row}", VECTORS[row]) for row in range(start, end)], VECTORS[start:end])
        if start == 0:
            collection.merge()
    return registry, collection


def test_a_quiet_delta_is_merged(store: Store, tmp_path: Path) -> None:
    registry, collection = started(store, tmp_path, 0.2)
    with closing(registry):
        until(lambda: len(collection.view.delta) == 0)
        assert collection.describe()["segment"]["rows"] == MAIN + 200


def test_a_delta_waits_while_there_are_writes(store: Store, tmp_path: Path) -> None:
    registry, collection = started(store, tmp_path, 3600)
    with closing(registry):
        assert not collection.idle_merge_due(3600)
        assert collection.idle_merge_due(0)
        assert not collection.merge_due()


def test_the_heap_gives_back_what_many_threads_freed() -> None:
    done = subprocess.run([sys.executable, "-c", HEAP], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 20  # of 320 MiB
