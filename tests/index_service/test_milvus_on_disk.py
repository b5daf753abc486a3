"""Which Milvus collections outlive their process, and which are dropped: those that no segment on disk names."""

from __future__ import annotations

import gc
import uuid
from pathlib import Path
from typing import Any

import pytest
from pymilvus import MilvusClient

from index_service.collection.collection import Collection
from index_service.engines.approximate.milvus import MilvusBackend
from index_service.engines.approximate.segment import ApproximateSegment
from index_service.record.store import CollectionInfo, Store
from index_service.segments.engine_choice import Engines
from index_service.settings import IndexSettings
from tests.index_service.helpers import item, made, unit_rows

DIM = 16
VECTORS = unit_rows(200, DIM)


class Milvus:
    """milvus-lite in the data folder, and the collections of ours that are in it."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store, self._settings = store, IndexSettings(data_dir=folder)
        self.client: Any = MilvusClient(str(folder / "milvus.db"))

    def created(self, name: str) -> Collection:
        """A collection whose main segment is in Milvus."""
        info = CollectionInfo(name, "m", "f", DIM, engine="milvus")
        collection = made(self._store, info, self._settings)
        collection.upsert([item(f"i{n}", row) for n, row in enumerate(VECTORS)], VECTORS)
        collection.merge()
        return collection

    def restarted(self, info: CollectionInfo) -> Collection:
        """The same as another process has it."""
        again = Collection(info, self._store, Engines(self._settings))
        again.load()
        return again

    def made(self, name: str) -> str:
        """A collection that nobody names."""
        self.client.create_collection(name, dimension=DIM)
        return name

    @property
    def names(self) -> set[str]:
        gc.collect()
        return set(self.client.list_collections())


@pytest.fixture
def milvus(store: Store, tmp_path: Path) -> Milvus:
    return Milvus(store, tmp_path)


def in_milvus(collection: Collection) -> str:
    main = collection.view.rows.main
    assert isinstance(main, ApproximateSegment)
    return str(main.description["collection"])


def test_it_outlives_the_process_and_goes_with_its_segment(milvus: Milvus) -> None:
    collection = milvus.created("c")
    name, info = in_milvus(collection), collection.info
    del collection
    assert milvus.names == {name}
    collection = milvus.restarted(info)
    assert in_milvus(collection) == name
    collection.merge()
    assert milvus.names == {in_milvus(collection)} != {name}
    collection.drop()
    del collection
    assert milvus.names == set()


def test_a_search_under_way_keeps_what_was_replaced(milvus: Milvus) -> None:
    collection = milvus.created("c")
    view, name = collection.view, in_milvus(collection)
    collection.merge()
    milvus.restarted(collection.info)
    assert milvus.names == {name, in_milvus(collection)}
    del view
    assert milvus.names == {in_milvus(collection)}


def test_a_start_drops_what_no_segment_names_and_nothing_else(milvus: Milvus) -> None:
    first = milvus.created("a")
    second = milvus.created(f"a-{first.info.key}")  # whose names begin as those of the first do
    kept = {in_milvus(first), in_milvus(second), milvus.made("of_others")}
    milvus.made(in_milvus(first)[:-32] + uuid.uuid4().hex)
    assert len(milvus.names) == 4
    first, second = milvus.restarted(first.info), milvus.restarted(second.info)
    assert milvus.names == kept
    first.merge()
    assert milvus.names == {in_milvus(first), in_milvus(second), "of_others"} != kept


@pytest.mark.parametrize("damage", ["gone", "rows missing"])
def test_what_milvus_has_lost_is_built_again(milvus: Milvus, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    collection = milvus.created("c")
    name = in_milvus(collection)
    if damage == "gone":
        milvus.client.drop_collection(name)
    else:
        milvus.client.delete(name, ids=[3])
    again = milvus.restarted(collection.info)
    assert (again.view.rows.main.engine, again.engine_due()) == ("exact", True)
    assert [
        record.message for record in caplog.records if record.name == "index_service.collection.segment_builder"
    ] == ["saved engine not read"]
    del collection
    again.merge()
    assert again.view.rows.main.engine == "milvus"


def test_a_milvus_out_of_reach_costs_nothing_that_a_segment_names(milvus: Milvus, tmp_path: Path) -> None:
    collection = milvus.created("c")
    name = in_milvus(collection)
    engine = next(tmp_path.glob("segments/*/*/engine"))
    elsewhere = MilvusBackend("http://127.0.0.1:9", "p", engine.parents[1])
    with pytest.raises(RuntimeError, match="Milvus has no"):
        elsewhere.load(engine, VECTORS)
    assert milvus.names == {name}
