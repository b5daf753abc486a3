"""The data folder: one stack at a time, closed to other users."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.processes.preflight import StackStartError
from scripts.stack.data_folder import DataFolder

HOLD = (
    "import sys; from pathlib import Path; from scripts.stack.data_folder import DataFolder; "
    "held = DataFolder(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_second_stack_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(StackStartError, match=rf"pid {holder.pid}\)(?s:.*)--data-dir"):
            DataFolder(tmp_path)
        holder.kill()
    with DataFolder(tmp_path):
        assert (tmp_path / "up.lock").read_text() == f"{os.getpid()}\n"


def test_what_is_made_is_private(tmp_path: Path) -> None:
    with DataFolder(tmp_path / "data") as folder:
        assert mode(folder.path) == mode(folder.run) == 0o700
        assert mode(folder.path / "up.lock") == 0o600


def test_what_was_open_is_closed_and_links_are_not_followed(tmp_path: Path) -> None:
    outside, data = tmp_path / "outside", tmp_path / "data"
    outside.write_text("")
    (data / "index" / "segments").mkdir(parents=True)
    (data / "scaler").mkdir(mode=0o755)
    record = data / "index" / "index.sqlite3"
    record.write_text("")
    (data / "index" / "link").symlink_to(outside)
    for path, before in ((outside, 0o644), (record, 0o644), (data, 0o755), (data / "index", 0o755)):
        path.chmod(before)
    with DataFolder(data) as folder:
        folder.close_to_others()
    assert [mode(path) for path in (data, data / "index", data / "index" / "segments", data / "scaler")] == [0o700] * 4
    assert mode(record) == 0o600
    assert mode(outside) == 0o644


def test_a_folder_with_other_things_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "mine.txt").write_text("")
    (tmp_path / "mine.txt").chmod(0o644)
    with DataFolder(tmp_path) as folder:
        folder.close_to_others()
    assert mode(tmp_path) == 0o755
    assert mode(tmp_path / "mine.txt") == 0o644
