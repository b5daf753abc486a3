"""The data folder of one stack: locked while the stack runs, and closed to other users."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from scripts.processes.preflight import StackStartError

PRIVATE_UMASK = 0o077
_OURS = (
    "index",
    "gateway",
    "scaler",
    "run",
    "observe",
    "demo",
    "keys.db",
    "keys.db-wal",
    "keys.db-shm",
    "models.json",
    "models.json.command",
    "models.json.lock",
    "up.lock",
)


class DataFolder:
    """Made and locked; the kernel lets go of the lock even after `kill -9`."""

    def __init__(self, path: Path) -> None:
        """Raises StackStartError that names the process which holds the folder."""
        self.path = path.resolve()
        self._lock = _locked(path, "up.lock", "--data-dir")

    @property
    def run(self) -> Path:
        """For files of this run only."""
        path = self.path / "run"
        path.mkdir(exist_ok=True, mode=0o700)
        return path

    def close_to_others(self) -> None:
        """Take what other users may do from everything that we keep here and own; links are left alone.

        A folder that holds other things, too, keeps its own mode.
        """
        for name in _OURS:
            _close_tree(self.path / name)
        if all(entry.name in _OURS for entry in self.path.iterdir()):
            _close(self.path)

    def __enter__(self) -> DataFolder:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)


@contextlib.contextmanager
def log_folder(path: Path) -> Iterator[None]:
    """Made and locked, too: two stacks would rotate each other's logs. Raises StackStartError."""
    lock = _locked(path, "logs.lock", "--log-dir")
    try:
        yield
    finally:
        os.close(lock)


def _locked(folder: Path, name: str, option: str) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StackStartError(f"{folder} can't be written: {error.strerror}.\nChoose another with {option}.") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        pid = os.read(lock, 20).decode("ascii", "replace").strip()
        os.close(lock)
        raise StackStartError(
            f"{folder} is in use by another `clipserve up` (pid {pid}): stop that one with `kill {pid}`, "
            f"or choose another folder with {option} and other ports."
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _close_tree(top: Path) -> None:
    _close(top)
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            _close(Path(folder) / name)


def _close(path: Path) -> None:
    try:
        seen = path.lstat()
    except OSError:
        return
    if seen.st_uid == os.geteuid() and seen.st_mode & PRIVATE_UMASK and not stat.S_ISLNK(seen.st_mode):
        path.chmod(stat.S_IMODE(seen.st_mode) & ~PRIVATE_UMASK)
