"""What a machine lacks leaves bars at null, with the reason."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.ship import images
from benchmarks.ship.__main__ import BARS, CHART, DEMO, VIT, Measured
from benchmarks.ship.engine import DockerEngine, sweep
from benchmarks.ship.missing import NotHereError
from benchmarks.ship.package_access import pip_options, proxies
from tests.waiting import until


def missing() -> Mapping[str, float]:
    raise NotHereError("no engine")


def test_what_is_missing_is_a_reason() -> None:
    measured = Measured(Console(quiet=True))
    measured.take(CHART, missing)
    measured.take(DEMO, lambda: {"demo_ready_s": 3.0})
    rows = {row["name"]: row for row in measured.judged()}
    assert set(rows) == set(BARS)
    assert rows["demo_ready_s"] == {"name": "demo_ready_s", "value": 3.0, "bar": 15.0, "holds": True}
    assert [(rows[name]["value"], rows[name]["reason"]) for name in CHART] == [(None, "no engine")] * len(CHART)


def test_without_an_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(NotHereError, match="no Docker engine answers"):
        images.images("0.1.0", None).__enter__()


def test_without_archives_of_a_model() -> None:
    measured = Measured(Console(quiet=True))
    measured.take(VIT, lambda: images.vit_ready(images.Images(DockerEngine(), "none"), None))
    assert "python -m benchmarks.ship.vit_store DIR" in measured.reasons["vit_b_32_ready_s"]


def test_builds_look_for_packages_where_pip_does() -> None:
    listed = (
        ":env:.index-url='https://mirror.example/simple'\n:env:.find-links='/opt/wheels'\n"
        "global.cert='/etc/ca.crt'\nglobal.index-url='https://other.example'\n"
        r"global.extra-index-url='file:///opt/pypi\nhttps://more.example'" + "\n"
    )
    assert pip_options(listed) == {
        "index-url": "https://mirror.example/simple",
        "extra-index-url": "https://more.example",
    }


def test_builds_are_given_the_proxies_of_this_machine() -> None:
    assert proxies({"https_proxy": "http://proxy:3128", "NO_PROXY": "", "HTTP_PROXY": "x"}) == [
        "HTTP_PROXY",
        "https_proxy",
    ]


_STARTER = """
import subprocess, sys, time
from benchmarks.ship.engine import ending_with_us
print(subprocess.Popen(ending_with_us(["sleep", "60"])).pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (Debian's util-linux) is not there")
def test_an_engine_ends_with_the_one_who_started_it() -> None:
    with subprocess.Popen([sys.executable, "-c", _STARTER], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        engine = int(starter.stdout.readline())
        until(lambda: Path("/proc", str(engine), "cmdline").read_bytes().startswith(b"sleep"))
        starter.kill()
    until(lambda: not runs(engine))


def runs(pid: int) -> bool:
    """A process that nobody has waited for yet does not."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_a_killed_engine_left_is_removed(tmp_path: Path) -> None:
    pids = {"own-ended": 2**22 + 1, "own-runs": os.getpid(), "own-new": 2**22 + 1, "other": 2**22 + 1}
    for name, pid in pids.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "docker.pid").write_text(str(pid))
        if name != "own-new":
            os.utime(tmp_path / name, (0, 0))
    sweep(tmp_path, "own-")
    assert {path.name for path in tmp_path.iterdir()} == {"own-runs", "own-new", "other"}
