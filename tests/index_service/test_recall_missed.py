"""A recall target that an engine can't reach is said: in the description of the collection and in the log."""

from __future__ import annotations

import pytest

from index_service.collection.registry import Registry
from index_service.record.store import CollectionInfo
from tests.index_service.helpers import item, unit_rows


def test_recall_that_no_setting_reaches_is_said(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    info = CollectionInfo("coarse", "m", "f", 16, engine="faiss:PQ1x4fs", recall_target=0.95)
    collection, _ = registry.create(info)
    rows = unit_rows(8000, 16)
    collection.upsert([item(f"i{n}", row) for n, row in enumerate(rows)], rows)
    registry._maintenance.merge(collection)
    measured = collection.describe()["segment"]["calibration"]
    assert (measured["reached"], measured["recall"] < 0.95) == (False, True)
    assert "recall target not reached" in caplog.text
