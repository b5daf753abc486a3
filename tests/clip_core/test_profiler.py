"""A worker's profile: bounded, one at a time, and never at the cost of an answer."""

from __future__ import annotations

import gzip
import math
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from clip_core.errors import BadInput, Conflict, NotFound
from clip_core.serving.profiler import Profiler
from tests.waiting import until


def about() -> dict[str, Any]:
    return {"requests": 1, "items": 2, "stages": {"text tower": 1.0}}


def work() -> int:
    return int((torch.ones(64, 64) @ torch.ones(64, 64))[0, 0])


def taken(profiler: Profiler, identity: object) -> dict[str, Any]:
    return until(lambda: found if (found := profiler.fetch(identity))["state"] == "done" else None) or {}


def serve(profiler: Profiler, identity: object) -> dict[str, Any]:
    """Batches until the profile has those that it was asked for."""

    def found() -> dict[str, Any] | None:
        assert profiler.run(work, about) == 64
        fetched = profiler.fetch(identity)
        return fetched if fetched["state"] == "done" else None

    return until(found) or {}


@pytest.fixture
def profiler(tmp_path: Path) -> Profiler:
    return Profiler("clip_text", "9000", tmp_path)


def test_a_few_batches_are_recorded(profiler: Profiler) -> None:
    assert profiler.run(work, about) == 64
    identity = profiler.start({"batches": 2, "seconds": 60})["id"]
    found = serve(profiler, identity)
    assert len(found["batches"]) == 2
    assert found["batches"][0]["stages"] == {"text tower": 1.0}
    (product,) = [row for row in found["operators"] if row["name"] == "aten::mm"]
    assert product["calls"] == 2
    assert product["flops"] == 2 * 2 * 64**3
    assert {"aten::mm"} <= {each["name"] for each in found["trace"]}
    assert len(found["before_ms"]) == 1


def test_batches_in_between_run_without_it(profiler: Profiler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clip_core.serving.profiler._MOST_SLOWER", 0.0)
    identity = profiler.start({"batches": 2, "seconds": 1})["id"]
    assert len(serve(profiler, identity)["batches"]) == 1


def test_a_batchs_time_is_without_the_profilers(profiler: Profiler) -> None:
    identity = profiler.start({"batches": 1, "seconds": 60})["id"]
    until(lambda: profiler._current)
    spent = []

    def timed() -> None:
        started = time.perf_counter()
        work()
        spent.append((time.perf_counter() - started) * 1e3)

    started = time.perf_counter()
    profiler.run(timed, about)
    whole = (time.perf_counter() - started) * 1e3
    (batch,) = taken(profiler, identity)["batches"]
    assert spent[0] <= batch["ms"] + 0.001
    assert batch["profiler_ms"] > 0
    assert batch["ms"] + batch["profiler_ms"] <= whole + 0.002


def test_time_ends_it_too(profiler: Profiler) -> None:
    identity = profiler.start({"batches": 100, "seconds": 0.01})["id"]
    assert taken(profiler, identity)["batches"] == []


def test_a_second_one_is_refused_by_every_worker(profiler: Profiler, tmp_path: Path) -> None:
    other = Profiler("clip_text", "9001", tmp_path)
    identity = profiler.start({"batches": 1, "seconds": 60})["id"]
    for each in (profiler, other):
        with pytest.raises(Conflict):
            each.start({})
    assert other.fetch(identity)["state"] == "running"
    serve(profiler, identity)
    assert taken(other, identity)["worker"] == "9000"
    assert other.start({"seconds": 0.01})["state"] == "running"


@pytest.mark.parametrize("field", ["batches", "seconds"])
@pytest.mark.parametrize("value", [0, -1, 10**9, math.nan, math.inf, "5", True, None, [1]])
def test_strange_bounds_are_refused(profiler: Profiler, field: str, value: Any) -> None:
    with pytest.raises(BadInput) as raised:
        profiler.start({field: value})
    assert raised.value.param == f"admin.{field}"


@pytest.mark.parametrize("identity", [None, 3, "", "../../etc/passwd", "x" * 32])
def test_a_strange_id_is_refused(profiler: Profiler, identity: object) -> None:
    with pytest.raises(BadInput):
        profiler.fetch(identity)


def test_a_profile_of_a_worker_that_died_is_lost(profiler: Profiler) -> None:
    with pytest.raises(NotFound):
        profiler.fetch("0" * 32)


DIES = """
import os, signal, sys
from pathlib import Path
from clip_core.serving.profiler import Profiler
print(Profiler("clip_text", "9001", Path(sys.argv[1])).start({"batches": 5, "seconds": 60})["id"], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_worker_that_is_killed_holds_up_no_other(profiler: Profiler, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", DIES, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with pytest.raises(NotFound):
        profiler.fetch(done.stdout.strip())
    assert profiler.start({"seconds": 0.01})["state"] == "running"


def test_one_that_ends_while_it_is_asked_for_is_not_lost(
    profiler: Profiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(_: Profiler) -> bool:
        (tmp_path / f"{'0' * 32}.json.gz").write_bytes(gzip.compress(b'{"state": "done"}'))
        return False

    monkeypatch.setattr(Profiler, "_is_locked", ended)
    assert profiler.fetch("0" * 32) == {"state": "done"}


def test_what_fails_fails_as_without_a_profile(profiler: Profiler) -> None:
    identity = profiler.start({"batches": 1, "seconds": 2})["id"]
    until(lambda: profiler._current)

    def fail() -> int:
        raise RuntimeError("a bomb")

    with pytest.raises(RuntimeError, match="a bomb"):
        profiler.run(fail, about)
    assert taken(profiler, identity)["batches"] == []


def test_a_full_disk_loses_the_profile_and_no_answer(profiler: Profiler, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = profiler.start({"batches": 1, "seconds": 60})["id"]

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)

    def lost() -> bool:
        assert profiler.run(work, about) == 64
        try:
            return profiler.fetch(identity)["state"] != "running"
        except NotFound:
            return True

    until(lost)
