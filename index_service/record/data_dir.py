"""The folder that one index service holds: made, checked and locked before anything is opened in it."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from types import TracebackType

from index_service.errors import IndexStartError

_SETTING = "CLIPSERVE_INDEX_DATA_DIR"


class DataDir:
    """A context manager around an exclusive `flock`; the kernel lets go of it even after `kill -9`."""

    DATABASE = "index.sqlite3"

    def __init__(self, path: Path) -> None:
        """Raises IndexStartError when the folder can't be written or another process holds it."""
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise IndexStartError(
                f"the data folder {path} can't be written ({error.strerror}): set {_SETTING}"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise IndexStartError(
                f"another process holds the data folder {path}: stop it, or set {_SETTING} to another folder"
            ) from error
        if self.database.exists():
            _close_to_others(path)

    @property
    def database(self) -> Path:
        """Where the record is."""
        return self.path / self.DATABASE

    @property
    def restore(self) -> Path:
        """Where snapshots wait for the next start."""
        return self.path / "restore"

    def close(self) -> None:
        """Let another process have the folder."""
        os.close(self._lock)

    def __enter__(self) -> DataDir:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _close_to_others(top: Path) -> None:
    """Take what other users may do from a folder of ours that an earlier version left open; links are left alone."""
    for path in (top, *top.rglob("*")):
        seen = path.lstat()
        if (
            seen.st_uid == os.geteuid()
            and seen.st_mode & 0o077
            and not seen.st_mode & stat.S_ISVTX
            and not stat.S_ISLNK(seen.st_mode)
        ):
            path.chmod(stat.S_IMODE(seen.st_mode) & ~0o077)
