"""Every engine over segments on disk: a restart begins with the index that was built before, or builds it again."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from index_service.backends.certified import CertifiedSegment
from index_service.collections import Collection
from index_service.engines import Engines
from index_service.segment_files import segments_folder
from index_service.settings import Settings
from index_service.store import CollectionInfo, Store
from tests.index_service.helpers import item, unit_rows

DIM = 16
VECTORS = unit_rows(3000, DIM)
ENGINES = ("exact", "certified", "hnsw", "faiss:IVF16,SQ8", "faiss:IVF16,PQ8x4fs", "faiss", "scann", "milvus")


def filled(store: Store, engine: str, settings: Settings) -> Collection:
    """A collection of `VECTORS` whose main segment has the engine; two late writes and a deletion beside it."""
    info = CollectionInfo("c", "m", "f", DIM, engine=engine, recall_target=0.95)
    collection = Collection(
        CollectionInfo(**{**vars(info), "key": store.add_collection(info)}), store, Engines(settings)
    )
    collection.upsert([item(f"i{n}", row) for n, row in enumerate(VECTORS)], VECTORS)
    collection.compact()
    collection.upsert([item("i7", VECTORS[8]), item("new", VECTORS[9])], VECTORS[8:10])
    collection.delete(["i5"])
    return collection


def answers(collection: Collection) -> list[list[str]]:
    rows = collection.view.search(VECTORS[:40], 5, None, True)[1]
    return [[collection.view.rows.ids[row] for row in own] for own in rows]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_restart_serves_the_same(store: Store, tmp_path: Path, engine: str) -> None:
    settings = Settings(data_dir=tmp_path, exact_max_rows=100)
    collection = filled(store, engine, settings)
    name = engine.partition(":")[0]
    assert collection.view.rows.main.engine == name
    again = Collection(collection.info, store, Engines(settings))
    again.load()
    assert answers(again) == answers(collection)
    assert not again.engine_due()
    main, built = again.view.rows.main, collection.view.rows.main
    assert main.engine == name
    assert np.array_equal(main.search(VECTORS[:40], 5, None)[1], built.search(VECTORS[:40], 5, None)[1])
    again.compact()
    assert again.view.rows.main.engine == name
    assert answers(again) == answers(collection)


def test_certificates_over_a_mapped_segment(store: Store, tmp_path: Path) -> None:
    collection = filled(store, "certified", Settings(data_dir=tmp_path))
    again = Collection(collection.info, store, Engines(Settings()))
    again.load()
    assert isinstance(again.view.rows.main, CertifiedSegment)
    (_, rows), certificates = again.view.certify(VECTORS[:40], 5, None)
    assert np.array_equal(rows, again.view.search(VECTORS[:40], 5, None, True)[1])
    assert {sum(certificate) for certificate in certificates} == {again.view.live}


@pytest.mark.parametrize("engine", ["certified", "hnsw", "faiss:IVF16,SQ8", "scann", "milvus"])
def test_a_saved_engine_that_cannot_be_read_is_built_again(store: Store, tmp_path: Path, engine: str) -> None:
    settings = Settings(data_dir=tmp_path)
    collection = filled(store, "exact", settings)
    (folder,) = segments_folder(store.path.parent, collection.info.key).iterdir()
    assert not (folder / "engine").exists()
    draft = collection._files.draft()
    draft.append(collection.view.block(np.flatnonzero(collection.view.alive)))
    draft.mapped()
    draft.save(_OfAnotherVersion(engine.partition(":")[0]))
    draft.commit()
    info = CollectionInfo(**{**vars(collection.info), "engine": engine})
    again = Collection(info, store, Engines(settings))
    again.load()
    assert again.view.rows.main.engine == "exact"
    assert again.engine_due()
    assert answers(again) == answers(collection)
    again.compact()
    assert again.view.rows.main.engine == engine.partition(":")[0]


@pytest.mark.parametrize(
    ("engine", "module"), [("scann", "scann.scann_ops.py.scann_ops_pybind"), ("milvus", "pymilvus")]
)
def test_an_engine_that_is_no_longer_installed_is_scanned(
    store: Store, tmp_path: Path, engine: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = filled(store, engine, Settings(data_dir=tmp_path))
    monkeypatch.setitem(sys.modules, module, None)
    again = Collection(collection.info, store, Engines(Settings(data_dir=tmp_path)))
    again.load()
    assert again.view.rows.main.engine == "exact"
    assert answers(again) == answers(collection)


class _OfAnotherVersion:
    """Saves what no engine of this version reads."""

    def __init__(self, engine: str) -> None:
        self.engine = engine

    def save(self, path: Path) -> None:
        path.write_bytes(b"of another version" * 10)
