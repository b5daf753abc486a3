"""The archives as a model wants them, built while its quick ones serve, and swapped in.

The child has the lowest priority, and its output comes out as lines of `up`. What fails is one notice.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil

from scripts.archive.work_folders import work_folder
from scripts.costs import Cost
from scripts.models.memory import available
from scripts.processes.background import in_background
from scripts.processes.process_tree import family, kill_all
from scripts.stack.up_report import Report

PREFIX = ".background-"
_LOWEST = 19
_LAST_LINES_S = 1.0


@dataclass(frozen=True)
class BackgroundJob:
    """`command`: a folder → what builds the archives there; `swap` takes that folder, and returns when they serve."""

    model: str
    cost: Cost
    store: Path
    endpoints: Sequence[str]
    command: Callable[[Path], list[str]]
    swap: Callable[[Path], object]


class BackgroundBuild:
    """One job: looked at again and again by the main thread, which starts the child (it ends with that thread)."""

    def __init__(self, job: BackgroundJob, report: Report, umask: int) -> None:
        self._job, self._report = job, report
        self._process: subprocess.Popen[bytes] | None = None
        self._swap: Future[object] | None = None
        self._held = ExitStack()
        self._last = ""
        if self._has_memory():
            try:
                self._start(umask)
            except OSError as error:  # a store that is read-only or full, or no room for a process
                self._failed(error.strerror or str(error))

    @property
    def goes_on(self) -> bool:
        return self._process is not None or self._swap is not None

    @property
    def pid(self) -> int | None:
        """Of the child, while it builds."""
        return self._process.pid if self._process else None

    def look(self) -> None:
        """Go on to the next stage when one has ended. Takes a moment."""
        if self._process is not None and self._process.poll() is not None:
            self._built(self._process.returncode)
        elif self._swap is not None and self._swap.done():
            self._swapped(self._swap.exception())

    def stop(self) -> None:
        """At once: what is half built is removed."""
        if self._process is not None:
            kill_all(self._process, family(self._process.pid))
            self._process.wait()
            self._reader.join(_LAST_LINES_S)
        if self._swap is not None and not self._swap.done():
            self._remove_staged()
        self._process = self._swap = None
        self._held.close()

    def _has_memory(self) -> bool:
        needed, free = self._job.cost.memory_bytes, available()
        if needed > free:
            self._report.notice(
                f"{self._job.model} is not built in the background: that takes {self._job.cost}, and "
                f"{free / 1e9:.1f} GB of memory are free; "
                f"later: `clipserve archive build {self._job.model}`, then start again"
            )
        return needed <= free

    def _start(self, umask: int) -> None:
        self._folder = self._held.enter_context(work_folder(self._job.store, PREFIX)) / "archives"
        self._folder.mkdir()  # one that is not locked: the child works in it and locks it itself
        self._process = subprocess.Popen(
            self._job.command(self._folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            umask=umask,
            start_new_session=True,
        )
        _lower(self._process.pid)
        self._report.say(
            f"{self._job.model} serves uncompiled in fp32 and is built in the background: {self._job.cost}; "
            "it is swapped in when it is ready"
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                if text := line.decode("utf-8", "replace").strip():
                    self._last = text
                    self._report.say(f"{self._job.model}: {text}")

    def _built(self, status: int) -> None:
        self._process = None
        self._reader.join(_LAST_LINES_S)
        if status != 0:
            self._failed(self._last.removeprefix("error ") or f"status {status}")
            return
        folder, swap = self._folder, self._job.swap
        self._swap = in_background(lambda: swap(folder))

    def _swapped(self, error: BaseException | None) -> None:
        self._swap = None
        if error is not None:
            self._failed(str(error).splitlines()[0] if str(error) else type(error).__name__)
            return
        self._held.close()
        self._report.say(f"{self._job.model} now serves as it was built in the background")

    def _failed(self, reason: str) -> None:
        self._held.close()
        self._report.notice(
            f"{self._job.model} could not be built in the background ({reason}); what serves goes on. "
            f"Again: `clipserve archive build {self._job.model}`, then start again"
        )

    def _remove_staged(self) -> None:
        """Copies that the interrupted swap has made in the store: ENDPOINT-VERSION.mar."""
        for endpoint in self._job.endpoints:
            for path in self._job.store.glob(f"{endpoint}-[0-9]*.0.*"):
                path.unlink(missing_ok=True)


class BuildQueue:
    """Jobs one after the other: two compilers at once would need the memory of both."""

    def __init__(self, jobs: Sequence[BackgroundJob], report: Report, umask: int) -> None:
        self._waiting, self._report, self._umask = deque(jobs), report, umask
        self._build: BackgroundBuild | None = None

    def look(self) -> None:
        """From the main thread, again and again. Takes a moment."""
        if self._build is not None and self._build.goes_on:
            self._build.look()
        elif self._waiting:
            self._build = BackgroundBuild(self._waiting.popleft(), self._report, self._umask)

    def stop(self) -> None:
        """At once."""
        self._waiting.clear()
        if self._build is not None:
            self._build.stop()


def _lower(pid: int) -> None:
    """Of the processor and of the disk: what serves goes first."""
    with contextlib.suppress(psutil.Error, OSError):
        process = psutil.Process(pid)
        process.nice(_LOWEST)
        process.ionice(psutil.IOPRIO_CLASS_IDLE)
