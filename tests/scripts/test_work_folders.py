"""A build's folders go away: on SIGTERM at once, after SIGKILL with the next build, never under a running build."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.archive.work_folders import work_folder

BUILD = """
import sys, time
from pathlib import Path
from scripts.archive.work_folders import end_on_sigterm, work_folder
end_on_sigterm()
with work_folder(Path(sys.argv[1]), ".building-") as path:
    print(path, flush=True)
    time.sleep(60)
"""


def started(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen([sys.executable, "-c", BUILD, str(parent)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_build_leaves_nothing_for_long(tmp_path: Path, number: signal.Signals) -> None:
    process, path = started(tmp_path)
    try:
        with work_folder(tmp_path, ".compiling-"):
            assert path.is_dir()
        process.send_signal(number)
        process.communicate(timeout=30)
    finally:
        process.kill()
    assert path.is_dir() == (number == signal.SIGKILL)
    with work_folder(tmp_path, ".compiling-") as own:
        assert list(tmp_path.iterdir()) == [own]
    assert list(tmp_path.iterdir()) == []
