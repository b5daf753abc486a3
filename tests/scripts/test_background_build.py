"""Builds that run beside a stack: swapped in when they are done, one notice when they fail, gone when it stops."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from rich.console import Console

from scripts.costs import Cost
from scripts.processes.process_tree import family
from scripts.stack.background_build import BackgroundBuild, BackgroundJob
from scripts.stack.up_report import Report
from tests.processes import still_running
from tests.waiting import until

COST = Cost(120.0, 1e6, 2e9)
Swapped = Callable[[Path], object]


class Said(Report):
    def __init__(self) -> None:
        self.file = io.StringIO()
        super().__init__(Console(file=self.file, width=400), json_lines=False)

    @property
    def lines(self) -> list[str]:
        return self.file.getvalue().splitlines()

    @property
    def notices(self) -> list[str]:
        return [line for line in self.lines if line.startswith("notice")]


def job(store: Path, program: str, swap: Swapped = lambda _: None, cost: Cost = COST) -> BackgroundJob:
    """`program` is Python; its first argument is the folder."""
    return BackgroundJob(
        "tiny", cost, store, ("clip_text",), lambda folder: [sys.executable, "-c", program, str(folder)], swap
    )


def run_to_end(build: BackgroundBuild) -> None:
    while build.goes_on:
        build.look()


WRITES = "import sys, pathlib; print('compiling', flush=True); (pathlib.Path(sys.argv[1]) / 'clip_text.mar').touch()"


def test_what_was_built_is_swapped_in(tmp_path: Path) -> None:
    said, seen = Said(), list[Path]()
    run_to_end(BackgroundBuild(job(tmp_path, WRITES, lambda folder: seen.extend(folder.iterdir())), said, 0o022))
    assert [path.name for path in seen] == ["clip_text.mar"]
    assert "building tiny serves uncompiled in fp32 and is built in the background: about 2 min" in said.lines[0]
    assert "2.0 GB of disk" in said.lines[0]
    assert said.lines[-1] == "building tiny now serves as it was built in the background"
    assert (said.notices, list(tmp_path.iterdir())) == ([], [])


def test_the_child_may_work_in_its_folder(tmp_path: Path) -> None:
    """As a build does, which waits for the folder's lock."""
    program = (
        "import sys, pathlib; from scripts.archive.work_folders import work_folder;"
        "held = work_folder(pathlib.Path(sys.argv[1]), '.compiling-');"
        "held.__enter__(); held.__exit__(None, None, None)"
    )
    said, seen = Said(), list[Path]()
    run_to_end(BackgroundBuild(job(tmp_path, program, seen.append), said, 0o022))
    assert (len(seen), said.notices) == (1, [])


def test_the_childs_lines_come_out(tmp_path: Path) -> None:
    said = Said()
    build = BackgroundBuild(job(tmp_path, WRITES), said, 0o022)
    while "building tiny: compiling" not in said.lines:
        build.look()
    run_to_end(build)


def test_a_failed_build_is_one_notice(tmp_path: Path) -> None:
    said, seen = Said(), list[Path]()
    build = BackgroundBuild(job(tmp_path, "import sys; sys.exit('error no room')", seen.append), said, 0o022)
    run_to_end(build)
    (notice,) = said.notices
    assert "could not be built in the background" in notice
    assert "what serves goes on" in notice
    assert (seen, list(tmp_path.iterdir())) == ([], [])


def test_a_failed_swap_is_one_notice(tmp_path: Path) -> None:
    def fail(_: Path) -> None:
        raise ValueError("TorchServe says no\nand more")

    said = Said()
    run_to_end(BackgroundBuild(job(tmp_path, WRITES, fail), said, 0o022))
    (notice,) = said.notices
    assert "(TorchServe says no); what serves goes on" in notice
    assert list(tmp_path.iterdir()) == []


def test_a_stop_ends_the_child_and_its_children_at_once(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); print('started', flush=True);"
        "time.sleep(600)"
    )
    said = Said()
    build = BackgroundBuild(job(tmp_path, program), said, 0o022)
    while "building tiny: started" not in said.lines:
        time.sleep(0.01)
    leader = build.pid
    assert leader is not None
    processes = [psutil.Process(leader), *family(leader)]
    assert len(processes) == 2
    assert processes[0].nice() == 19
    build.stop()
    until(lambda: still_running(processes) == [])
    assert (build.goes_on, list(tmp_path.iterdir())) == (False, [])


def test_a_stop_in_the_middle_of_a_swap_removes_its_copies(tmp_path: Path) -> None:
    (tmp_path / "clip_text.mar").touch()
    begun, over = threading.Event(), threading.Event()

    def swap(_: Path) -> None:
        (tmp_path / "clip_text-2.0.mar").touch()
        begun.set()
        over.wait(60)

    build = BackgroundBuild(job(tmp_path, WRITES, swap), Said(), 0o022)
    while not begun.is_set():
        build.look()
    build.stop()
    over.set()
    assert [path.name for path in tmp_path.iterdir()] == ["clip_text.mar"]


def test_without_the_memory_nothing_is_started(tmp_path: Path) -> None:
    said = Said()
    build = BackgroundBuild(job(tmp_path, WRITES, cost=Cost(600.0, 1e15)), said, 0o022)
    (notice,) = said.notices
    assert "tiny is not built in the background: that takes about 10 min, 1000000.0 GB of memory" in notice
    assert not build.goes_on


def test_a_store_that_can_not_be_written_is_one_notice(tmp_path: Path) -> None:
    said = Said()
    build = BackgroundBuild(job(tmp_path / "none", WRITES), said, 0o022)
    assert not build.goes_on
    (notice,) = said.notices
    assert "(No such file or directory); what serves goes on" in notice
    build.stop()
