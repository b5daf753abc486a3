"""The data folder of one stack: locked while the stack runs, and closed to other users."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from scripts.preflight import StartError

PRIVATE_UMASK = 0o077
_OURS = ("index", "gateway", "run", "demo", "keys.db", "keys.db-wal", "keys.db-shm", "up.lock")


class DataFolder:
    """Made and locked; the kernel lets go of the lock even after `kill -9`."""

    def __init__(self, path: Path) -> None:
        """Raises StartError that names the process which holds the folder."""
        self.path = path.resolve()
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(self.path / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StartError(f"{path} can't be written: {error.strerror}.\nChoose another with --data-dir.") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = os.read(self._lock, 20).decode("ascii", "replace").strip()
            os.close(self._lock)
            raise StartError(
                f"{path} is in use by another `clipserve up` (pid {pid}): stop that one with `kill {pid}`, "
                "or choose another folder with --data-dir and other ports."
            ) from error
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

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
