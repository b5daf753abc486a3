"""Whose a process's memory is: parts that add up, and what was taken is somewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from clip_core.memory_use import memory_by_owner, resident_bytes, total_bytes
from clip_core.serving.metrics import WorkerMetrics
from clip_core.serving.worker_memory import WorkerMemory, gpu_memory, jvm_bytes

MB = 1 << 20


def test_the_owners_add_up_to_what_is_in_memory() -> None:
    owners, whole = memory_by_owner(), resident_bytes()
    assert set(owners) == {"files", "heap", "free_heap", "other"}
    assert all(size >= 0 for size in owners.values())
    assert abs(sum(owners.values()) - whole) < 64 * MB


def test_what_is_taken_is_the_heaps() -> None:
    before = memory_by_owner()
    taken = np.ones(200 * MB, dtype=np.uint8)
    after = memory_by_owner()
    assert after["heap"] - before["heap"] > 100 * MB
    assert len(taken) == 200 * MB


def test_a_containers_memory_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("4096\n")
    assert total_bytes(tmp_path / "memory.max") == 4096
    (tmp_path / "memory.max").write_text("max\n")
    assert total_bytes(tmp_path / "memory.max") == total_bytes(tmp_path / "none") > 100 * MB


class Written:
    def __init__(self) -> None:
        self.values: dict[tuple[str, ...], float] = {}

    def add_or_update(self, value: float, dimension_values: list[str]) -> None:
        self.values[tuple(dimension_values)] = value


def test_a_worker_tells_libraries_towers_and_cache_apart() -> None:
    memory, written = WorkerMemory(), Written()
    towers = np.ones(200 * MB, dtype=np.uint8)
    memory.loaded()
    metrics = WorkerMetrics({"clipserve_memory_bytes": written}, ("m",))
    memory.show(metrics, "9000", 7, "cpu")
    metrics.report()
    assert written.values["m", "9000", "towers"] > 100 * MB
    assert written.values["m", "9000", "libraries"] > MB
    assert written.values["m", "9000", "cache"] == 7
    assert ("m", "9000", "rest") in written.values
    assert len(towers) == 200 * MB


def test_the_frontend_that_started_a_worker_is_measured(tmp_path: Path) -> None:
    assert jvm_bytes(os.getpid()) == 0
    java = tmp_path / "java"
    java.symlink_to(Path(sys.executable).resolve())
    command = [java, "-c", "print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert jvm_bytes(process.pid) > MB
        process.kill()
    assert jvm_bytes(process.pid) == 0


def test_without_a_gpu_nothing_is_told_of_one() -> None:
    assert gpu_memory("cpu") == {}
