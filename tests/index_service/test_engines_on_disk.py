"""Every engine over segments on disk: a restart begins with the index that was built before, or builds it again."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from index_service.collection.collection import Collection
from index_service.engines.base import METRICS, Metric
from index_service.engines.exact.certified import CertifiedSegment
from index_service.engines.exact.segment import ExactBackend
from index_service.record.store import CollectionInfo, Store
from index_service.segments.engine_choice import Engines
from index_service.segments.segment_files import segments_folder
from index_service.settings import IndexSettings
from tests.index_service.helpers import block_of, item, made, rows_of, unit_rows
from tests.waiting import until

DIM = 16
VECTORS = unit_rows(3000, DIM)
VECTORS_OF = {metric: rows_of(metric, 3000, DIM) for metric in METRICS}
ENGINES = ("exact", "certified", "hnsw", "faiss:IVF16,SQ8", "faiss:IVF16,PQ8x4fs", "faiss", "scann", "milvus")


def filled(store: Store, engine: str, settings: IndexSettings, metric: Metric = "cosine") -> Collection:
    """A collection of `VECTORS_OF` the metric whose main segment has the engine; two late writes and a deletion."""
    info = CollectionInfo("c", "m", "f", DIM, engine=engine, recall_target=0.95, metric=metric)
    collection = made(store, info, settings)
    vectors = VECTORS_OF[metric]
    collection.upsert([item(f"i{n}", row) for n, row in enumerate(vectors)], vectors)
    collection.merge()
    collection.upsert([item("i7", vectors[8]), item("new", vectors[9])], vectors[8:10])
    collection.delete(["i5"])
    return collection


def answers(collection: Collection) -> list[list[str]]:
    rows = collection.view.search(VECTORS_OF[collection.info.metric][:40], 5, None, True)[1]
    return [[collection.view.rows.ids[row] for row in own] for own in rows]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("metric", METRICS)
def test_a_restart_serves_the_same(store: Store, tmp_path: Path, engine: str, metric: Metric) -> None:
    settings = IndexSettings(data_dir=tmp_path, exact_max_rows=100)
    collection, queries = filled(store, engine, settings, metric), VECTORS_OF[metric][:40]
    name = engine.partition(":")[0]
    assert collection.view.rows.main.engine == name
    again = Collection(collection.info, store, Engines(settings))
    again.load()
    assert answers(again) == answers(collection)
    assert again.describe()["segment"] == collection.describe()["segment"]
    assert not again.engine_due()
    main, built = again.view.rows.main, collection.view.rows.main
    assert main.engine == name
    assert main.max_norm == built.max_norm
    assert (main.max_norm is None) == (metric == "cosine")
    until(lambda: np.array_equal(*(each.search(queries, 5, None)[1] for each in (main, built))))  # milvus-lite, in time
    again.merge()
    assert again.view.rows.main.engine == name
    assert answers(again) == answers(collection)


@pytest.mark.parametrize("metric", METRICS)
def test_certificates_over_a_mapped_segment(store: Store, tmp_path: Path, metric: Metric) -> None:
    collection = filled(store, "certified", IndexSettings(data_dir=tmp_path), metric)
    again = Collection(collection.info, store, Engines(IndexSettings()))
    again.load()
    assert isinstance(again.view.rows.main, CertifiedSegment)
    queries = VECTORS_OF[metric][:8]  # of more at once every row is scored
    (_, rows), certificates = again.view.certify(queries, 5, None)
    assert min(certificate.rows_bounded for certificate in certificates) > 0
    every = ExactBackend(metric).build(again.view.vectors_of(np.arange(again.view.count)))
    assert np.array_equal(rows, every.search(queries, 5, again.view.alive)[1])
    assert {sum(certificate) for certificate in certificates} == {again.view.live}


@pytest.mark.parametrize("engine", ["certified", "hnsw", "faiss:IVF16,SQ8", "scann", "milvus"])
def test_a_saved_engine_that_cannot_be_read_is_built_again(store: Store, tmp_path: Path, engine: str) -> None:
    settings = IndexSettings(data_dir=tmp_path)
    collection = filled(store, "exact", settings)
    (folder,) = segments_folder(store.path.parent, collection.info.key).iterdir()
    assert not (folder / "engine").exists()
    draft = collection._segments.files.draft()
    with draft.writer() as writer:
        writer.append(block_of(collection.view, np.flatnonzero(collection.view.alive)))
        writer.mapped()
        writer.save(_OfAnotherVersion(engine.partition(":")[0]))
    collection._segments.files.commit(draft)
    info = replace(collection.info, engine=engine)
    again = Collection(info, store, Engines(settings))
    again.load()
    assert again.view.rows.main.engine == "exact"
    assert again.engine_due()
    assert answers(again) == answers(collection)
    again.merge()
    assert again.view.rows.main.engine == engine.partition(":")[0]


@pytest.mark.parametrize(
    ("engine", "module"), [("scann", "scann.scann_ops.py.scann_ops_pybind"), ("milvus", "pymilvus")]
)
def test_an_engine_that_is_no_longer_installed_is_scanned(
    store: Store, tmp_path: Path, engine: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = filled(store, engine, IndexSettings(data_dir=tmp_path))
    monkeypatch.setitem(sys.modules, module, None)
    again = Collection(collection.info, store, Engines(IndexSettings(data_dir=tmp_path)))
    again.load()
    assert again.view.rows.main.engine == "exact"
    assert answers(again) == answers(collection)


class _OfAnotherVersion:
    """Saves what no engine of this version reads."""

    def __init__(self, engine: str) -> None:
        self.engine = engine

    def save(self, path: Path) -> None:
        path.write_bytes(b"of another version" * 10)
