"""Log files: bounded, whole lines, never truncated at a start."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.processes.rotated_log import RotatedLog


def files(path: Path) -> list[Path]:
    """From the oldest to the one that is written to."""
    older = sorted(path.parent.glob(f"{path.name}.*"), key=lambda each: -int(each.suffix[1:]))
    return [*older, path]


@given(
    st.lists(st.lists(st.binary(max_size=40).map(lambda each: each.replace(b"\n", b"")), max_size=5), max_size=40),
    st.integers(50, 300),
    st.integers(0, 4),
)
def test_files_are_bounded_and_hold_the_last_lines(writes: list[list[bytes]], most: int, keep: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part.log"
        for lines in writes:
            log = RotatedLog(path, most, keep)  # each time as after a restart
            log.write(b"".join(line + b"\n" for line in lines))
            log.close()
        if not writes:
            return
        found = files(path)
        assert len(found) <= keep + 1
        assert all(each.stat().st_size <= most for each in found)
        whole = b"".join(line + b"\n" for lines in writes for line in lines)
        kept = b"".join(each.read_bytes() for each in found)
        assert whole.endswith(kept)
        assert len(found) == keep + 1 or kept == whole
        assert not kept or kept == whole or whole[: -len(kept)].endswith(b"\n")


def test_a_line_longer_than_a_file_is_cut(tmp_path: Path) -> None:
    log = RotatedLog(tmp_path / "log", 100, 9)
    log.write(b"x" * 450 + b"\n")
    log.close()
    assert [each.stat().st_size for each in files(log.path)] == [100, 100, 100, 100, 51]


def test_others_can_not_read_it(tmp_path: Path) -> None:
    log = RotatedLog(tmp_path / "log")
    log.close()
    assert log.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("keep", [0, 1])
def test_a_rotation_that_fails_loses_lines_and_writes_into_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: int
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    log = RotatedLog(tmp_path / "log", 30, keep)
    log.write(b"twenty-five bytes of text\n")
    with monkeypatch.context() as patched:
        patched.setattr("os.open", full)
        log.write(b"a line for the next file\n")
    with (tmp_path / "other").open("wb"):  # would get the number of a file that was closed
        log.write(b"another line\n")
    assert (tmp_path / "other").read_bytes() == b""
    log.write(b"a line for the next file\n")
    log.write(b"and the last\n")
    assert log.path.read_bytes().endswith(b"and the last\n")
    log.close()


def test_the_tail_survives_a_rotation(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before\n")
    log = RotatedLog(tmp_path / "log", 30, 1)
    for number in range(20):
        log.write(f"line {number}\n".encode())
    assert log.tail(2) == ["line 18", "line 19"]
    log.close()


def test_the_tail_is_the_reason_and_not_javas_stack(tmp_path: Path) -> None:
    log = RotatedLog(tmp_path / "log")
    frames = "".join(f"\tat org.pytorch.serve.A.b{n}(A.java:{n})\n" for n in range(30)) + "\t... 7 more\n"
    log.write(f"java.io.FileNotFoundException: no store\n{frames}look at this (it stays)\n".encode())
    assert log.tail(20) == ["java.io.FileNotFoundException: no store", "look at this (it stays)"]
