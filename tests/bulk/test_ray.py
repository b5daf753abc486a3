"""`clipserve bulk` on Ray Data, in processes of its own that are killed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from clip_core.model_spec import CANARIES_FILE
from scripts.stack.live_stack import free_ports
from tests.bulk.conftest import Bulk, jpeg

pytest.importorskip("ray", reason="make setup-test")
_LOOPBACK = "127.0.0.2"  # for 127.0.0.1 Ray puts an address that other machines reach


def command(bulk: Bulk, source: Path, out: Path, actors: int = 1) -> list[str]:
    words = [str(Path(sys.executable).with_name("clipserve")), "bulk", str(source)]
    words += ["--model", "demo", "--model-store", str(bulk.store)]
    return [*words, "--out", str(out), "--actors", str(actors), "--threads", "1", "--batch", "4", "--shard-items", "8"]


def content(bulk: Bulk, out: Path) -> list[tuple[str, Any]]:
    return sorted((name, row["vector"]) for name, row in bulk.rows(out).items())


@pytest.fixture
def many(tmp_path: Path) -> Path:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(60):
        (folder / f"{number:03}.jpg").write_bytes(jpeg(number) if number % 20 else b"bad")
    return folder


@pytest.mark.timeout(300)
def test_a_run_on_ray_whose_actor_is_killed(bulk: Bulk, many: Path, tmp_path: Path) -> None:
    """The same rows as in one process, where modules are named as ours, and another cluster is set."""
    bulk(many, shard_items=8)
    out, theirs = tmp_path / "ray", tmp_path / "project" / "scripts" / "__init__.py"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("raise ImportError('of another project')")
    piped: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    around: dict[str, Any] = {"cwd": theirs.parent.parent, "env": {**os.environ, "RAY_ADDRESS": "127.0.0.1:9"}}
    with subprocess.Popen(command(bulk, many, out), **around, **piped) as run:
        killed = _kill_an_actor(run.pid)
        told, _ = run.communicate()
    assert run.returncode == 0, told
    assert killed, told
    assert content(bulk, out) == content(bulk, bulk.out)


def _kill_an_actor(driver: int) -> bool:
    end = time.monotonic() + 120
    while time.monotonic() < end and psutil.pid_exists(driver):
        if (actor := _actor(driver)) is not None:
            with contextlib.suppress(psutil.Error):
                actor.kill()
                return True
        time.sleep(0.05)
    return False


def _actor(driver: int) -> psutil.Process | None:
    """Of Ray's workers, the one that holds the model."""
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(driver).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "Map" in " ".join(process.cmdline()):
                    return process
    return None


def _done(out: Path) -> int:
    return len(list((out / "_bulk" / "done").glob("*.json")))


@pytest.mark.full
@pytest.mark.timeout(300)
def test_an_archive_whose_canaries_fail_ends_the_run(bulk: Bulk, many: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad_image.mar"
    with zipfile.ZipFile(bulk.store / "clip_image.mar") as good, zipfile.ZipFile(bad, "w") as written:
        for name in good.namelist():
            content = good.read(name)
            if name.endswith(CANARIES_FILE):
                rows = json.loads(content)
                content = json.dumps(
                    [{**row, "vector": rows[at - 1]["vector"]} for at, row in enumerate(rows)]
                ).encode()
            written.writestr(name, content)
    words = command(bulk, many, tmp_path / "ray")
    words[words.index("demo")] = str(bad)
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (ran.returncode, "canaries: the smallest cosine" in ran.stderr) == (1, True), ran


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_killed_ten_times_the_result_is_the_same(bulk: Bulk, many: Path, tmp_path: Path) -> None:
    """Each time once an actor is at work and, every other time, one more shard is done."""
    bulk(many, shard_items=8)
    out, dice, kills = tmp_path / "ray", random.Random(3), 0
    for number in range(10):
        wanted = _done(out) + number % 2
        with subprocess.Popen(command(bulk, many, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            while run.poll() is None and (_done(out) < wanted or _actor(run.pid) is None):
                time.sleep(0.02)
            time.sleep(dice.uniform(0, 0.2))
            family = psutil.Process(run.pid).children(recursive=True) if run.poll() is None else []
            kills += run.poll() is None
            run.kill()
            for process in family:
                with contextlib.suppress(psutil.Error):  # Ray's own notice only later that their driver is gone
                    process.kill()
    assert kills >= 3
    subprocess.run(command(bulk, many, out), check=True, stdout=subprocess.DEVNULL)
    assert content(bulk, out) == content(bulk, bulk.out)
    assert list(out.rglob(".writing-*")) == []


@pytest.mark.full
@pytest.mark.timeout(300)
def test_a_run_on_a_cluster(bulk: Bulk, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of one machine, which `ray start` made, as on many, with a token; the driver leaves it as it was."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0123456789abcdef" * 2)
    bulk(many, shard_items=8)
    with tempfile.TemporaryDirectory(prefix="ray-") as folder, _cluster(Path(folder)) as address:
        words = [*command(bulk, many, tmp_path / "ray"), "--address", address]
        _run(words)
        assert content(bulk, tmp_path / "ray") == content(bulk, bulk.out)
        assert "8 of them done before" in _run(words).stdout
        by_the_cluster = _without(command(bulk, many, tmp_path / "sized"), "--actors", "--threads")
        _run([*by_the_cluster, "--address", address])
        assert len(bulk.rows(tmp_path / "sized")) == 57
        large = _without(command(bulk, many, tmp_path / "none"), "--actors")
        _refuse([*large, "--address", address, "--threads", "64"], "a process needs 64 cores")
    _run([*words[:-1], "127.0.0.1:9"])  # nothing is left to do, so no cluster is asked for
    away = [*command(bulk, many, tmp_path / "none"), "--address", "127.0.0.1:9"]
    _refuse(away, "no Ray cluster answers at 127.0.0.1:9")


@pytest.mark.full
@pytest.mark.timeout(120)
def test_a_gpu_that_is_not_there_is_not_waited_for(bulk: Bulk, many: Path, tmp_path: Path) -> None:
    _refuse([*command(bulk, many, tmp_path / "none"), "--gpus", "64"], "a process needs 1 cores and 64 GPUs")


def _run(words: list[str]) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran


def _refuse(words: list[str], why: str) -> None:
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (ran.returncode, why in ran.stderr.replace("\n", " ")) == (1, True), ran.stdout + ran.stderr


def _without(words: list[str], *options: str) -> Iterator[str]:
    """Without these options and their values."""
    rest = iter(words)
    for word in rest:
        if word in options:
            next(rest)
        else:
            yield word


@contextlib.contextmanager
def _cluster(folder: Path) -> Iterator[str]:
    """`folder` has a short path: Ray puts sockets there."""
    port = 0
    while port < 20_000:  # Ray gives those before to its workers
        (port,) = free_ports(1)
    words = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus", "2"]
    words += ["--node-ip-address", _LOOPBACK, "--port", str(port), "--temp-dir", str(folder)]
    words += ["--include-dashboard", "false", "--disable-usage-stats", "--object-store-memory", "100000000"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as head:
        assert head.stdout is not None
        told = []
        for line in head.stdout:
            told.append(line)
            if "Ray runtime started" in line:
                break
        else:
            pytest.fail("".join(told))
        try:
            yield f"{_LOOPBACK}:{port}"
        finally:
            family = psutil.Process(head.pid).children(recursive=True)
            head.terminate()
            head.communicate()
            for process in family:
                with contextlib.suppress(psutil.Error):
                    process.kill()
