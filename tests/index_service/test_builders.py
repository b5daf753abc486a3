"""Merges by a process of their own: the same segment, given up at once, and no process that outlives its parent."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from index_service.collection import segment_builder
from index_service.collection.collection import Collection
from index_service.engines.approximate.milvus import MilvusBackend
from index_service.engines.approximate.scann import ScannBackend
from index_service.engines.approximate.segment import ApproximateSegment
from index_service.engines.base import Backend, BuildCancelled
from index_service.engines.exact.certified import CertifiedBackend
from index_service.engines.exact.scan import search_exact
from index_service.engines.exact.segment import ExactBackend
from index_service.engines.faiss.backend import FaissBackend
from index_service.metadata.columns import Packed, RowBlock
from index_service.metadata.filters import canonical
from index_service.record.store import CollectionInfo, Store
from index_service.segments.builder_processes import run_in_subprocess, takes
from index_service.segments.engine_choice import Engines
from index_service.segments.merge_job import MergeJob
from index_service.segments.segment_files import SegmentFiles
from index_service.segments.view import View, empty_view, view_of
from index_service.settings import IndexSettings
from tests.index_service.helpers import ROOT, item, made, unit_rows

DIM = 16
VECTORS = unit_rows(3000, DIM)
ITEMS = [item(f"ü{n}", row, {"even": n % 2 == 0}) for n, row in enumerate(VECTORS)]
BACKEND = FaissBackend("IVF16,SQ8", recall_target=0.95, queries=VECTORS[:64])
NONE = np.array([], np.int64)
EVEN = canonical({"even": True})


@pytest.fixture
def job(store: Store, tmp_path: Path) -> MergeJob:
    key = store.add_collection(CollectionInfo("c", "m", "f", DIM))
    store.upsert(key, ITEMS)
    return MergeJob(store.path, key, None, SegmentFiles(tmp_path / "segments", DIM).draft(), BACKEND)


def contents(block: RowBlock) -> list[tuple[int, bytes, bytes, bytes]]:
    seqs = block.seqs.tolist()
    return [(seq, block.vectors[n].tobytes(), block.ids[n], block.metadata[n]) for n, seq in enumerate(seqs)]


def test_a_segment_built_apart_is_the_one_built_here(job: MergeJob, tmp_path: Path) -> None:
    apart, rows = run_in_subprocess(job, lambda: False)
    here, expected = replace(job, draft=SegmentFiles(tmp_path / "here", DIM).draft()).run()
    assert contents(rows) == contents(expected)
    assert [one[2] for one in contents(rows)] == [one.id.encode() for one in ITEMS]
    assert isinstance(apart, ApproximateSegment)
    assert isinstance(here, ApproximateSegment)
    assert (apart.parameters, apart.description) == (here.parameters, here.description)
    assert np.array_equal(apart.search(VECTORS[:40], 5, None)[1], here.search(VECTORS[:40], 5, None)[1])


def test_what_the_record_has_no_more_is_left_out_and_what_is_newer_comes_last(job: MergeJob, store: Store) -> None:
    files = SegmentFiles(job.draft.folder.parent, DIM)
    job.run()
    files.commit(job.draft)
    store.delete(job.key, ["ü3", "ü2999"])
    store.upsert(job.key, [ITEMS[7], item("new", VECTORS[0])])
    rows = replace(job, before=files.newest_folder, draft=files.draft()).run()[1]
    expected = list(store.stream(job.key))
    assert rows.seqs.tolist() == [seq for chunk in expected for seq in chunk.seqs]
    assert [one[1:] for one in contents(rows)] == [
        (one.vector, one.id.encode(), one.metadata) for chunk in expected for one in chunk.items
    ]


def test_scann_is_built_apart_too(job: MergeJob) -> None:
    """Not the same index as one built here: ScaNN's training differs from build to build."""
    apart = run_in_subprocess(replace(job, backend=ScannBackend(1, 0.95, VECTORS[:64])), lambda: False)[0]
    assert isinstance(apart, ApproximateSegment)
    assert apart.recall(VECTORS[:64], search_exact(VECTORS, VECTORS[:64], 10, None)[1], apart.parameters).mean() >= 0.95


def test_only_milvus_is_built_here(tmp_path: Path) -> None:
    backends: list[Backend] = [ExactBackend(), CertifiedBackend(), BACKEND, ScannBackend(1, None, None)]
    assert all(map(takes, backends))
    assert not takes(MilvusBackend("http://127.0.0.1:9", "p", tmp_path))


def test_a_cancelled_build_ends(job: MergeJob) -> None:
    with pytest.raises(BuildCancelled):
        run_in_subprocess(job, lambda: True)
    assert not job.draft.engine_file.exists()


def test_a_build_that_fails_says_why(job: MergeJob) -> None:
    job.draft.drop()
    with pytest.raises(RuntimeError, match="ended with 1: FileNotFoundError"):
        run_in_subprocess(job, lambda: False)


def test_a_builder_ends_with_its_parent() -> None:
    builder = subprocess.Popen(
        [sys.executable, "-m", "index_service.segments.builder_processes"], cwd=ROOT, stdin=subprocess.PIPE
    )
    assert builder.stdin is not None
    builder.stdin.close()
    assert builder.wait(20) != 0


def test_no_module_of_the_current_folder_is_imported(
    job: MergeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("numpy.py", "faiss.py", "pickle.py", "sitecustomize.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong file')")
    monkeypatch.chdir(tmp_path)
    run_in_subprocess(job, lambda: False)
    assert job.draft.engine_file.exists()


@pytest.fixture
def collection(store: Store, tmp_path: Path) -> Collection:
    info = CollectionInfo("c", "m", "f", DIM, engine="faiss:IVF16,SQ8")
    collection = made(store, info, IndexSettings(data_dir=tmp_path, build_process_min_rows=1000))
    collection.upsert(ITEMS, VECTORS)
    return collection


def test_a_merge_of_many_rows_builds_apart(store: Store, tmp_path: Path, collection: Collection) -> None:
    collection.merge()
    assert collection.view.rows.main.engine == "faiss"
    again = Collection(collection.info, store, Engines(IndexSettings(data_dir=tmp_path, build_process_min_rows=1000)))
    again.load()
    assert not again.engine_due()
    assert np.array_equal(again.view.search(VECTORS[:9], 5, None, False)[1][:, 0], np.arange(9))


@pytest.mark.parametrize("moment", ["before", "after"])
def test_what_is_written_and_deleted_beside_a_builder_is_neither_lost_nor_found_again(
    store: Store, collection: Collection, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Before: the builder reads it from the record. After: the switch brings it over."""
    collection.merge()
    collection.view.allowed(EVEN)  # its columns are carried over

    def writes() -> None:
        collection.delete(["ü0", "ü2999"])
        collection.upsert([ITEMS[8], item("new", VECTORS[0], {"even": True})], VECTORS[[8, 0]])

    def first(job: MergeJob, *_: object) -> object:
        if moment == "before":
            writes()
        done = run_in_subprocess(job, lambda: False)
        if moment == "after":
            writes()
        return done

    monkeypatch.setattr(segment_builder, "run_in_subprocess", first)
    collection.merge()
    view = collection.view
    rows = np.flatnonzero(view.alive).tolist()
    record = {one.id: one for chunk in store.stream(collection.info.key) for one in chunk.items}
    assert {view.rows.ids[row]: view.vector(row).tobytes() for row in rows} == {
        id_: one.vector for id_, one in record.items()
    }
    allowed = view.allowed(EVEN)
    assert allowed is not None
    assert [b"true" in view.rows.metadata[row] for row in rows] == allowed[rows].tolist()
    assert view.search(VECTORS[:1], 1, EVEN, True)[1][0, 0] == view.count - 1  # the new one


def merged_from(view: View, seqs: list[int]) -> View:
    """The view after a merge that found the rows of these sequence numbers in the record."""
    texts = Packed.of([b"{}"] * len(seqs))
    block = RowBlock(np.array(seqs), VECTORS[: len(seqs)], texts, texts)
    return view.merged(empty_view(DIM), view_of(ExactBackend().build(block.vectors), block))


def test_rows_that_died_before_any_view_showed_them_stay_dead() -> None:
    view = empty_view(DIM).with_rows(np.array([1, 2, 4]), ITEMS[:3], VECTORS[:3], NONE).without(np.array([2]))
    after = merged_from(view, [1, 2, 3])
    assert after.seqs.tolist() == [1, 2, 3, 4]
    assert after.alive.tolist() == [True, False, False, True]


def test_a_merge_that_lacks_a_living_row_is_not_taken() -> None:
    view = empty_view(DIM).with_rows(np.array([1, 2, 4]), ITEMS[:3], VECTORS[:3], NONE)
    with pytest.raises(RuntimeError, match="lacks rows"):
        merged_from(view, [1, 3])


@pytest.mark.parametrize("last", [1, 2999])
def test_the_last_rows_may_all_be_gone(collection: Collection, last: int) -> None:
    collection.merge()
    collection.delete([one.id for one in ITEMS[last:]])
    collection.upsert(ITEMS[:1], VECTORS[:1])
    collection.delete([ITEMS[0].id])
    collection.merge()
    assert collection.view.count == collection.view.live == last - 1
    collection.upsert([item("new", VECTORS[9])], VECTORS[9:10])
    assert collection.view.search(VECTORS[9:10], 1, None, True)[1][0, 0] in (8, collection.view.count - 1)


def test_what_is_built_apart_has_the_metric(job: MergeJob) -> None:
    for factory, engine in (("IVF16,SQ8", "faiss"), ("IVF1024,Flat", "exact")):  # the latter has too few rows
        draft = SegmentFiles(job.draft.folder.parent / engine, DIM).draft()
        backend = FaissBackend(factory, metric="dot")
        apart = run_in_subprocess(replace(job, draft=draft, backend=backend), lambda: False)[0]
        assert apart.engine == engine
        assert apart.max_norm == pytest.approx(1, abs=1e-6)
