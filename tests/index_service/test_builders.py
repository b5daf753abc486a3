"""Builds in a process of their own: the same segment, given up at once, and none that outlives its parent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from index_service.collection.collection import Collection
from index_service.engines.approximate.scann import ScannBackend
from index_service.engines.approximate.segment import ApproximateSegment
from index_service.engines.base import BuildCancelled
from index_service.engines.exact.scan import search_exact
from index_service.engines.faiss.backend import FaissBackend
from index_service.record.store import CollectionInfo, Store
from index_service.segments.builder_processes import build_apart
from index_service.segments.engine_choice import Engines
from index_service.settings import IndexSettings
from tests.index_service.helpers import ROOT, item, unit_rows

DIM = 16
VECTORS = unit_rows(3000, DIM)
BACKEND = FaissBackend("IVF16,SQ8", recall_target=0.95, queries=VECTORS[:64])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "vectors.f32"
    path.write_bytes(VECTORS.tobytes())
    return path


def test_a_segment_built_apart_is_the_one_built_here(source: Path) -> None:
    apart = build_apart(BACKEND, VECTORS, source, source.with_name("engine"), lambda: False)
    here = BACKEND.build(VECTORS)
    assert isinstance(apart, ApproximateSegment)
    assert isinstance(here, ApproximateSegment)
    assert (apart.parameters, apart.description) == (here.parameters, here.description)
    assert np.array_equal(apart.search(VECTORS[:40], 5, None)[1], here.search(VECTORS[:40], 5, None)[1])


def test_scann_is_built_apart_too(source: Path) -> None:
    """Not the same index as one built here: ScaNN's training differs from build to build."""
    backend = ScannBackend(1, 0.95, VECTORS[:64])
    apart = build_apart(backend, VECTORS, source, source.with_name("engine"), lambda: False)
    assert isinstance(apart, ApproximateSegment)
    assert {path.name for path in source.parent.iterdir()} == {"engine", "vectors.f32"}
    assert apart.recall(VECTORS[:64], search_exact(VECTORS, VECTORS[:64], 10, None)[1], apart.parameters).mean() >= 0.95


def test_a_cancelled_build_ends(source: Path) -> None:
    with pytest.raises(BuildCancelled):
        build_apart(BACKEND, VECTORS, source, source.with_name("engine"), lambda: True)
    assert not source.with_name("engine").exists()


def test_a_build_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ended with 1: FileNotFoundError"):
        build_apart(BACKEND, VECTORS, tmp_path / "missing", tmp_path / "engine", lambda: False)


def test_a_builder_ends_with_its_parent() -> None:
    builder = subprocess.Popen(
        [sys.executable, "-m", "index_service.segments.builder_processes"], cwd=ROOT, stdin=subprocess.PIPE
    )
    assert builder.stdin is not None
    builder.stdin.close()
    assert builder.wait(20) != 0


def test_no_module_of_the_current_folder_is_imported(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("numpy.py", "faiss.py", "pickle.py", "sitecustomize.py"):
        (source.parent / name).write_text("raise SystemExit('the wrong file')")
    monkeypatch.chdir(source.parent)
    build_apart(BACKEND, VECTORS, Path(source.name), Path("engine"), lambda: False)
    assert source.with_name("engine").exists()


def test_a_merge_of_many_rows_builds_apart(store: Store, tmp_path: Path) -> None:
    info = CollectionInfo("c", "m", "f", DIM, engine="faiss:IVF16,SQ8")
    given = CollectionInfo(**{**vars(info), "key": store.add_collection(info)})
    settings = IndexSettings(data_dir=tmp_path, build_apart_rows=3000)
    collection = Collection(given, store, Engines(settings))
    collection.upsert([item(f"i{n}", row) for n, row in enumerate(VECTORS)], VECTORS)
    collection.merge()
    assert collection.view.rows.main.engine == "faiss"
    again = Collection(given, store, Engines(settings))
    again.load()
    assert not again.engine_due()
    assert np.array_equal(again.view.search(VECTORS[:9], 5, None, False)[1][:, 0], np.arange(9))


def test_what_is_built_apart_has_the_metric(source: Path) -> None:
    for factory, engine in (("IVF16,SQ8", "faiss"), ("IVF1024,Flat", "exact")):  # the latter has too few rows
        backend = FaissBackend(factory, metric="dot")
        apart = build_apart(backend, VECTORS, source, source.with_name(f"engine-{engine}"), lambda: False)
        assert apart.engine == engine
        assert apart.max_norm == pytest.approx(1, abs=1e-6)
