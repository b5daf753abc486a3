"""How many threads FAISS has in a search: all of them for one alone, a share for each of many."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import faiss
import pytest

from clip_core.errors import Overloaded
from index_service.http.call_limit import CallLimit
from index_service.http.workers import Workers


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers(4)
    yield made
    made.close()


@pytest.mark.parametrize(("sharing", "threads"), [(1, 4), (2, 2), (3, 1), (4, 1), (9, 1)])
async def test_calls_under_way_share_the_threads(workers: Workers, sharing: int, threads: int) -> None:
    assert await workers.read(faiss.omp_get_max_threads, sharing) == threads
    assert await workers.read(faiss.omp_get_max_threads) == 4, "a share lasts for its call only"


async def test_without_a_setting_there_is_one_for_each_core_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's share of a large machine is few."""
    monkeypatch.setattr("index_service.http.workers.available_cores", lambda: 3)
    workers = Workers(0)
    assert await workers.read(faiss.omp_get_max_threads) == 3
    workers.close()


def test_the_gate_knows_how_many_are_inside() -> None:
    gate = CallLimit(2, "searches", "max_concurrent_searches")
    with gate.enter():
        assert gate.inside == 1
        with gate.enter():
            assert gate.inside == 2
            with pytest.raises(Overloaded), gate.enter():
                pass
        assert gate.inside == 1


@pytest.mark.parametrize(
    ("given", "kept"),
    [({}, "passive 16"), ({"OPENBLAS_THREAD_TIMEOUT": "20", "OMP_WAIT_POLICY": "active"}, "active 20")],
)
def test_idle_threads_sleep_unless_someone_says_otherwise(given: dict[str, str], kept: str) -> None:
    names = ("OMP_WAIT_POLICY", "OPENBLAS_THREAD_TIMEOUT")
    clean = {name: value for name, value in os.environ.items() if name not in names}
    program = f"import index_service.__main__, os; print(*(os.environ[name] for name in {names}))"
    done = subprocess.run([sys.executable, "-c", program], env={**clean, **given}, capture_output=True, text=True)
    assert done.stdout.strip() == kept


def test_whoever_else_imports_the_package_keeps_the_environment() -> None:
    """`clipserve up` does, and TorchServe's workers inherit it."""
    clean = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    program = "import index_service.settings, scripts.stack.up_settings, os; print('OMP_WAIT_POLICY' in os.environ)"
    done = subprocess.run([sys.executable, "-c", program], env=clean, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
