"""Folders that a build works in: beside what it makes, locked while it runs, removed by the next build at latest."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIXES = (".building-", ".compiling-", ".background-")


@contextlib.contextmanager
def work_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder that goes away again; those of builds that were killed go first."""
    with _locked(parent):
        _remove_abandoned(parent)
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        held = contextlib.ExitStack()
        held.enter_context(_locked(path))
    try:
        with held:
            yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def end_on_sigterm() -> None:
    """SIGTERM and SIGHUP end this process as Ctrl-C does, so that its folders go away."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def _remove_abandoned(parent: Path) -> None:
    """The kernel lets go of a lock when its process ends, however it ends."""
    for path in (path for prefix in PREFIXES for path in parent.glob(f"{prefix}*") if path.is_dir()):
        with contextlib.suppress(OSError), _locked(path, fcntl.LOCK_NB):
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path, option: int = 0) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | option)
        yield
    finally:
        os.close(descriptor)
