"""`clipserve bulk` on Ray Data, in processes of its own that are killed."""

from __future__ import annotations

import contextlib
import json
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


def command(bulk: Bulk, source: Path, out: Path, actors: int = 1) -> list[str]:
    words = [sys.executable, "-m", "scripts", "bulk", str(source), "--model", "demo", "--model-store", str(bulk.store)]
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
    """The same rows as in one process."""
    bulk(many, shard_items=8)
    out = tmp_path / "ray"
    with subprocess.Popen(command(bulk, many, out), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
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
def test_a_run_on_a_cluster(bulk: Bulk, many: Path, tmp_path: Path) -> None:
    """One of one machine, which `ray start` made, as on many; the driver leaves it as it was."""
    bulk(many, shard_items=8)
    with tempfile.TemporaryDirectory(prefix="ray-") as folder, _cluster(Path(folder)) as address:
        words = [*command(bulk, many, tmp_path / "ray"), "--address", address]
        ran = subprocess.run(words, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran
        assert content(bulk, tmp_path / "ray") == content(bulk, bulk.out)
        again = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (again.returncode, "8 of them done before" in again.stdout) == (0, True), again
    away = subprocess.run([*words[:-1], "127.0.0.1:9"], capture_output=True, text=True, check=False)
    assert away.returncode == 0, "nothing is left to do, so no cluster is asked for"
    words[words.index("--out") + 1] = str(tmp_path / "none")
    away = subprocess.run([*words[:-1], "127.0.0.1:9"], capture_output=True, text=True, check=False)
    assert (away.returncode, "Ray can't be started" in away.stderr) == (1, True), away


@contextlib.contextmanager
def _cluster(folder: Path) -> Iterator[str]:
    """`folder` has a short path: Ray puts sockets there."""
    (port,) = free_ports(1)
    words = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus", "2"]
    words += ["--node-ip-address", "127.0.0.1", "--port", str(port), "--temp-dir", str(folder)]
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
            yield f"127.0.0.1:{port}"
        finally:
            family = psutil.Process(head.pid).children(recursive=True)
            head.terminate()
            head.communicate()
            for process in family:
                with contextlib.suppress(psutil.Error):
                    process.kill()
