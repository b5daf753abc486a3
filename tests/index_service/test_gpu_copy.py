"""Which searches go to a GPU: a stand-in refuses what GPU indexes refuse. Where there is a GPU, that one too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from index_service.engines.approximate.segment import ApproximateSegment
from index_service.engines.faiss import gpu_copy
from index_service.engines.faiss.backend import FaissBackend
from index_service.engines.faiss.index_search import FaissSearch
from tests.index_service.helpers import reloaded, unit_rows

ROWS, QUERIES = unit_rows(6000, 16), unit_rows(5, 16, seed=1)
SOME, MOST = np.arange(len(ROWS)) % 3 == 0, np.arange(len(ROWS)) % 3 > 0
GPUS = getattr(faiss, "get_num_gpus", lambda: 0)()


class StandIn:
    """An index "on a GPU": at most 2,048 candidates and lists, and no masks."""

    def __init__(self, index: Any) -> None:
        self.index, self.calls = faiss.clone_index(index), 0

    def search(self, queries: Any, count: int, params: Any) -> Any:
        assert count <= 2048
        assert params.nprobe <= 2048
        assert params.sel is None
        self.calls += 1
        return self.index.search(queries, count, params=params)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """An index in a file."""
    reloaded("IVF32,Flat", ROWS, tmp_path / "engine")
    return tmp_path / "engine"


def pretend(monkeypatch: pytest.MonkeyPatch, copy: Any) -> None:
    """One GPU that works, to which indexes are copied by `copy`."""
    monkeypatch.setattr(gpu_copy, "gpu_works", lambda: True)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1, raising=False)
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "GpuIndex", StandIn, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", lambda _resources, _device, index: copy(index), raising=False)


def loaded(path: Path) -> ApproximateSegment:
    return FaissBackend("IVF32,Flat").load(path, ROWS)


def test_a_gpu_finds_what_the_cpu_finds(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = loaded(saved)
    copies: list[StandIn] = []
    pretend(monkeypatch, lambda index: copies.append(StandIn(index)) or copies[-1])
    segment = loaded(saved)
    for queries in (QUERIES, QUERIES[:1]):
        for ours, cpu in zip(segment.search(queries, 10, None), expected.search(queries, 10, None), strict=True):
            assert np.array_equal(ours, cpu)
    (copy,) = copies
    assert copy.calls == 2
    rows = segment.search(QUERIES, 10, SOME)[1]
    assert SOME[rows].all()
    segment.search(QUERIES, 1000, None)  # ten candidates for each
    assert copy.calls == 2
    rows = segment.search(QUERIES, 10, MOST)[1]  # as many more candidates as the mask takes away
    assert MOST[rows].all()
    assert copy.calls == 3


def test_rows_indexed_later_are_searched_on_the_cpu(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copies: list[StandIn] = []
    pretend(monkeypatch, lambda index: copies.append(StandIn(index)) or copies[-1])
    empty_copy = loaded(saved).empty_copy()
    assert empty_copy is not None
    found = empty_copy.extended(ROWS[:5000]).search(ROWS[:1], 1, None)[1]
    assert found.tolist() == [[0]]
    assert copies[0].calls == 0


def _no_room(_: Any) -> Any:
    raise RuntimeError("cudaMalloc error out of memory")


@pytest.mark.parametrize("copy", [faiss.clone_index, _no_room], ids=["no form for a GPU", "no room"])
def test_an_index_that_can_not_be_copied_stays(saved: Path, monkeypatch: pytest.MonkeyPatch, copy: Any) -> None:
    pretend(monkeypatch, copy)
    assert gpu_copy.copied_to_gpu(faiss.read_index(str(saved))) is None
    assert loaded(saved).search(ROWS[:1], 1, None)[1].tolist() == [[0]]


@pytest.mark.parametrize(
    ("trial", "reason"),
    [
        ("import os, sys; print('no kernel image', file=sys.stderr, flush=True); os.abort()", "-6: no kernel image"),
        ("import time; time.sleep(60)", "no answer in 1 s"),
        ("assert [1] == [2]", "AssertionError"),
        ("pass", None),
    ],
)
def test_a_gpu_that_aborts_whoever_calls_it_is_left_alone(
    trial: str, reason: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gpu_copy, "_TRIAL", trial)
    monkeypatch.setattr(gpu_copy, "_TRIAL_S", 1 if "sleep" in trial else 60)
    works = gpu_copy.gpu_works.__wrapped__()  # what it found for this machine stays cached
    assert works == (reason is None)
    assert [reason in vars(record)["reason"] for record in caplog.records if reason] == [True] * (reason is not None)


def test_where_the_trial_fails_indexes_stay_on_the_cpu(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, StandIn)
    monkeypatch.setattr(gpu_copy, "gpu_works", lambda: False)
    assert gpu_copy.copied_to_gpu(faiss.read_index(str(saved))) is None


def test_the_trial_is_a_program_that_a_cpu_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    on_cpu = "import faiss; faiss.StandardGpuResources = object; faiss.index_cpu_to_gpu = lambda _, d, index: index\n"
    monkeypatch.setattr(gpu_copy, "_TRIAL", on_cpu + gpu_copy._TRIAL)
    assert gpu_copy.gpu_works.__wrapped__()


def test_without_a_gpu_nothing_is_copied(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0, raising=False)
    candidate_search = loaded(saved).candidate_search
    assert isinstance(candidate_search, FaissSearch)
    assert candidate_search.gpu is None


@pytest.mark.gpu
@pytest.mark.skipif(not GPUS, reason="needs faiss-gpu and a GPU")
@pytest.mark.parametrize("factory", ["IVF32,Flat", "IVF32,SQ8", "IVF32,PQ8"])
def test_on_a_real_gpu(tmp_path: Path, factory: str) -> None:
    built, segment = reloaded(factory, unit_rows(12_000, 16), tmp_path / "engine")  # PQ8 trains on 9,984 at least
    assert isinstance(segment.candidate_search, FaissSearch)
    assert segment.candidate_search.gpu is not None
    ours, cpu = segment.search(QUERIES, 10, None)[1], built.search(QUERIES, 10, None)[1]
    assert np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(ours, cpu, strict=True)]) > 0.95
