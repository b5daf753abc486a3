"""Background work that fails once goes on."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from index_service.collection.background_merges import Maintenance
from index_service.collection.warm_fields import WarmFields
from index_service.settings import IndexSettings


class Judged:
    """A collection that is asked whether it is to be merged, and may fail at that."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure, self.asked = failure, threading.Event()

    def merge_due(self) -> bool:
        self.asked.set()
        if self.failure is not None:
            raise self.failure
        return False

    def engine_due(self) -> bool:
        return False


def test_a_collection_that_can_not_be_judged_does_not_end_all_merges(tmp_path: Path) -> None:
    settings = IndexSettings(data_dir=tmp_path, merge_idle_s=0)
    maintenance = Maintenance(settings, lambda: True, list, lambda _: None)
    bad, good = Judged(RuntimeError("a fault")), Judged()
    maintenance.start()
    for collection in (bad, good):
        maintenance.merge_later(cast(Any, collection))
    assert good.asked.wait(30)
    assert bad.asked.is_set()
    maintenance.close()


def test_fields_that_can_not_be_read_are_noted_later_all_the_same() -> None:
    calls: list[str] = []

    def all_collections() -> list[Any]:
        calls.append("")
        if len(calls) == 1:
            raise RuntimeError("a fault")
        return []

    fields = WarmFields(cast(Any, SimpleNamespace(ready=True, embedded=all_collections)))
    fields._stopped.set()
    fields._run()
    assert len(calls) == 2
