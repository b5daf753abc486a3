"""A collection that is dropped while calls wait or a merge is under way: 404, and nothing is logged as a failure."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clip_core.errors import UnknownCollection
from index_service.collection.collection import Collection
from index_service.collection.registry import Registry
from index_service.http.items_api import _listed, _listed_since
from index_service.http.pages import PageLimits
from index_service.record.store import CollectionInfo, Store
from index_service.segments.merge_job import MergeJob
from index_service.segments.segment_files import SegmentFiles, SegmentWriter
from index_service.settings import IndexSettings
from index_service.snapshots.snapshot_files import Snapshots
from tests.index_service.helpers import item, unit_rows

VECTORS = unit_rows(300, 8)
ITEMS = [item(f"i{n}", row) for n, row in enumerate(VECTORS)]
LIMITS = PageLimits(10, 1 << 20)


@pytest.fixture
def collection(registry: Registry) -> Collection:
    collection, _ = registry.create(CollectionInfo("c", "m", "f", 8, engine="faiss:IVF4,SQ8"))
    collection.upsert(ITEMS, VECTORS)
    return collection


@pytest.mark.parametrize(
    "call",
    [
        lambda collection, _: _listed(collection, None, "", LIMITS),
        lambda collection, _: _listed_since(collection, 0, LIMITS, []),
        lambda collection, _: collection.get("i1"),
        lambda collection, _: collection.delete(["i1"]),
        lambda collection, _: collection.upsert(ITEMS[:1], VECTORS[:1]),
        lambda collection, snapshots: snapshots.create(collection),
    ],
)
def test_calls_that_waited_are_404(
    tmp_path: Path,
    store: Store,
    registry: Registry,
    collection: Collection,
    call: Callable[[Collection, Snapshots], Any],
) -> None:
    snapshots = Snapshots(tmp_path / "snapshots", store, registry)
    registry.drop("c")
    with pytest.raises(UnknownCollection):
        call(collection, snapshots)


@pytest.mark.parametrize("moment", ["draft", "append", "mapped", "run", "save", "commit", "remove_older"])
def test_a_drop_amid_a_merge_is_no_failure(
    settings: IndexSettings,
    registry: Registry,
    collection: Collection,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    moment: str,
) -> None:
    owner: Any = MergeJob if moment == "run" else SegmentWriter
    owner, name = SegmentFiles if moment in ("draft", "commit", "remove_older") else owner, moment
    usual = getattr(owner, name)

    def dropped_first(*given: Any, **named: Any) -> Any:
        if not collection.dropped:
            registry.drop("c")
        if moment == "run":
            raise RuntimeError("the builder ended with 1: its folder is gone")
        if moment == "draft":
            raise FileNotFoundError("its folder is gone")
        return usual(*given, **named)

    monkeypatch.setattr(owner, name, dropped_first)
    with caplog.at_level(logging.INFO):
        registry._maintenance.merge(collection)
    assert [record.levelname for record in caplog.records if record.levelno > logging.INFO] == []
    assert not collection.retries.failures
    assert not (settings.data_dir / "segments" / str(collection.info.key)).exists()
