"""Parts of the stack: started again when they end, stopped in order, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from clip_core.errors import BadModel
from scripts.processes import launching
from scripts.processes.preflight import StackStartError
from scripts.processes.restarts import RestartPolicy
from scripts.processes.rotated_log import RotatedLog
from scripts.processes.stack import Stack
from scripts.processes.stack_process import Program, StackProcess
from tests.processes import still_running
from tests.waiting import until

QUICK = RestartPolicy(limit=2, window_s=60, first_delay_s=0.01)
SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]


def test_a_killed_part_starts_again_and_the_others_stay(tmp_path: Path) -> None:
    said: list[str] = []
    stack = Stack(QUICK, said.append)
    first, second = (stack.start(name, SLEEP, tmp_path / name, {}) for name in ("index service", "gateway"))
    until(lambda: "up" in first.log.read_text())
    pids = first.process.pid, second.process.pid
    first.process.kill()
    until(stack.supervise)
    assert first.process.pid != pids[0]
    assert second.process.pid == pids[1]
    assert said == ["index service stopped with status -9; it starts again in 0.01 s"]
    until(lambda: first.log.read_text().count("up") == 2)
    stack.stop()


def killed_and_back(stack: Stack, program: Program, log: Path) -> StackProcess:
    part = stack.add("TorchServe", program, RotatedLog(log))
    until(lambda: "up" in part.log.read_text())
    part.process.kill()
    until(stack.supervise)
    until(lambda: part.log.read_text().count("up") == 2)
    return part


def test_what_a_killed_part_left_is_cleared(tmp_path: Path) -> None:
    leaves = "import os, time; os.makedirs(f'models/{os.getpid()}'); print('up', flush=True); time.sleep(60)"
    program = Program([sys.executable, "-c", leaves], {}, cwd=tmp_path, clears=tmp_path / "models")
    stack = Stack(QUICK)
    part = killed_and_back(stack, program, tmp_path / "log")
    assert [each.name for each in (tmp_path / "models").iterdir()] == [str(part.process.pid)]
    stack.stop()


def test_what_a_part_needs_is_prepared_before_each_start(tmp_path: Path) -> None:
    prepared: list[int] = []
    stack = Stack(QUICK)
    killed_and_back(stack, Program(SLEEP, {}, prepare=lambda: prepared.append(1)), tmp_path / "log")
    assert len(prepared) == 2
    stack.stop()


def test_a_part_that_can_not_be_prepared_is_tried_again(tmp_path: Path) -> None:
    tries, said = list[int](), list[str]()

    def prepare() -> None:
        tries.append(1)
        if len(tries) == 2:
            raise BadModel("clip_text.mar is not a whole archive")

    stack = Stack(QUICK, said.append)
    killed_and_back(stack, Program(SLEEP, {}, prepare=prepare), tmp_path / "log")
    assert "TorchServe could not be started (clip_text.mar is not a whole archive)" in said
    stack.stop()


def test_too_many_ends_are_the_end_with_the_logs_last_lines(tmp_path: Path) -> None:
    stack = Stack(QUICK)
    part = stack.start("gateway", [sys.executable, "-c", "print('the reason'); exit(3)"], tmp_path / "log", {})

    def never_ends() -> bool:
        stack.supervise()
        return False

    with pytest.raises(StackStartError, match=r"more than 2 times(?s:.*)status 3(?s:.*)the reason"):
        until(never_ends)
    assert part.log.read_text().count("the reason") == 3
    stack.stop()


def test_children_of_a_dead_part_end_before_it_starts_again(tmp_path: Path) -> None:
    stack = Stack(RestartPolicy(limit=1, first_delay_s=30.0))
    lines = "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    part = stack.start("TorchServe", [sys.executable, "-c", lines], tmp_path / "log", {})
    child = psutil.Process(int(until(part.log.read_text)))
    part.process.kill()
    part.process.wait()
    stack.supervise()
    until(lambda: not still_running([child]))
    stack.stop()


def test_parts_stop_one_after_the_other_the_last_started_first(tmp_path: Path) -> None:
    lines = (
        "import signal, sys, time",
        "signal.signal(15, lambda *_: (time.sleep(0.2), print('end', time.monotonic(), flush=True), sys.exit()))",
        "print('up', flush=True)",
        "time.sleep(60)",
    )
    stack = Stack()
    parts = [stack.start(name, [sys.executable, "-c", "\n".join(lines)], tmp_path / name, {}) for name in "ab"]
    until(lambda: all("up" in part.log.read_text() for part in parts))
    stack.stop(patience_s=20)
    ends = [float(part.log.read_text().rpartition("end ")[2]) for part in parts]
    assert ends[0] - ends[1] >= 0.2


def test_a_stop_in_a_hurry_waits_for_nothing(tmp_path: Path) -> None:
    ignores = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    stack = Stack()
    part = stack.start("stubborn", [sys.executable, "-c", ignores], tmp_path / "log", {})
    until(part.log.read_text)
    stack.stop(patience_s=3600, hurry=lambda: True)
    assert part.process.poll() == -9


PARENT = """
import sys, time
from pathlib import Path
from scripts.processes import launching
from scripts.processes.stack import Stack
stack = Stack()
program, module = launching.program(["sh", "-c", "echo up; sleep 60"]), launching.module("sleeper")
part = stack.start("part", program if sys.argv[2] == "program" else module, Path(sys.argv[1]) / "log", {})
print(part.process.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["program", "module"])
def test_parts_end_with_a_parent_that_is_killed(tmp_path: Path, kind: str) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEP[2])
    command, env = [sys.executable, "-c", PARENT, str(tmp_path), kind], {**os.environ, "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as parent:
        assert parent.stdout is not None
        part = psutil.Process(int(parent.stdout.readline()))
        until(lambda: "up" in log(tmp_path))
        parent.kill()
    until(lambda: not still_running([part]))


def log(folder: Path) -> str:
    path = folder / "log"
    return path.read_text() if path.exists() else ""


def test_a_worker_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """TorchServe is given this script as its Python."""
    python = launching.python_script(tmp_path / "python")
    starts = f"import subprocess; print(subprocess.Popen([{str(python)!r}, *{SLEEP[1:]!r}]).pid, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", starts], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        assert parent.stdout.readline() == "up\n"
        parent.send_signal(signal.SIGKILL)
    until(lambda: not still_running([worker]))


def test_no_file_of_the_current_folder_is_imported(tmp_path: Path) -> None:
    for name in ("torch.py", "numpy.py", "runpy.py", "ctypes.py", "signal.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong file')")
    (tmp_path / "clip_core").mkdir()
    (tmp_path / "clip_core" / "__init__.py").write_text("raise SystemExit('the wrong package')")
    for command in (
        launching.module("scripts.settings_table", "--help"),
        launching.program([sys.executable, "-c", "print()"]),
        [str(launching.python_script(tmp_path / "python")), str(Path(__file__).parent / "__init__.py")],
    ):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PWD": "/"})
        assert "wrong" not in done.stdout + done.stderr
        assert done.returncode == 0, done.stderr


def test_pythonpath_goes_on_working(tmp_path: Path) -> None:
    (tmp_path / "of_a_developer.py").write_text("import time\nprint('found')")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = launching.module("of_a_developer")
    assert subprocess.run(command, capture_output=True, text=True, env=env).stdout == "found\n"


def test_a_log_of_this_run_is_told_from_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("an older run\n")
    stack = Stack()
    part = stack.start("gateway", [sys.executable, "-c", "print('this run'); exit(1)"], path, {})
    part.process.wait()
    assert "this run" in part.tail()
    assert "older" not in part.tail()
    assert path.read_text() == "an older run\nthis run\n"
    stack.stop()
