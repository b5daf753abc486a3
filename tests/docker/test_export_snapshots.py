"""The snapshots' program against a real index service."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

from scripts.stack.live_stack import free_ports
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
MODEL = {"model": "m", "fingerprint": "f", "dim": 2}


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    (port,) = free_ports(1)
    own = {"CLIPSERVE_INDEX_PORT": str(port), "CLIPSERVE_INDEX_DATA_DIR": str(tmp_path / "index")}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "index_service"], cwd=ROOT, env={**os.environ, **own}, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}"))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def exported(index: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(ROOT / "docker" / "export_snapshots.py"), index, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_collection_is_a_file(index: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        httpx.put(f"{index}/collections/{name}", json=MODEL).raise_for_status()
        items = [{"id": f"{name}-{n}", "vector": [1.0, 0.0], "metadata": {"n": n}} for n in range(3)]
        httpx.post(f"{index}/collections/{name}/items", json={"items": items}).raise_for_status()
    done = exported(index, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert httpx.get(f"{index}/snapshots").json()["snapshots"] == []  # the service keeps none
    (two,) = tmp_path.glob("two.*")
    assert pq.read_table(two)["id"].to_pylist() == ["two-0", "two-1", "two-2"]
    shutil.copy(two, tmp_path / "index" / "snapshots")
    restored = httpx.post(f"{index}/collections/back/restore", json={"snapshot": two.name})
    assert (restored.status_code, restored.json()["name"]) == (201, "back")


def test_one_that_can_not_be_written_spoils_no_other(index: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        httpx.put(f"{index}/collections/{name}", json=MODEL).raise_for_status()
    (tmp_path / "one.part").mkdir()
    done = exported(index, tmp_path)
    assert done.returncode == 1
    assert "one: not exported" in done.stdout
    assert len(list(tmp_path.glob("two.*.parquet"))) == 1


def test_an_index_that_is_away(tmp_path: Path) -> None:
    done = exported("http://127.0.0.1:1", tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "does not answer" in done.stdout
