"""One process of the stack with its log: started in a group of its own, watched and stopped."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from scripts.processes.log_pump import LogPump
from scripts.processes.process_tree import family, kill_all, runs
from scripts.processes.restarts import RestartHistory, RestartPolicy
from scripts.processes.rotated_log import RotatedLog

TAIL_LINES = 20


_KILLED_S = 1.0  # a killed process is gone in moments; nobody may reap an orphan in a container


_LOOK_S = 0.02


@dataclass(frozen=True)
class Program:
    """What a part runs; `cwd` is the current folder unless given.

    `clears`: a folder that each start begins without. `prepare` is called before each start.
    """

    command: Sequence[str]
    env: Mapping[str, str]
    cwd: Path | None = None
    clears: Path | None = None
    prepare: Callable[[], object] = lambda: None


class StackProcess:
    """One process of the stack, with its log. It leads a process group, so its children stop with it."""

    def __init__(self, name: str, program: Program, log: RotatedLog, policy: RestartPolicy) -> None:
        self.name = name
        self.program = program
        self.history = RestartHistory(policy)
        self.due: float | None = None  # when an ended part is started again
        self._log = log
        self._family: list[psutil.Process] = []
        self.start()

    @property
    def log(self) -> Path:
        return self._log.path

    def start(self) -> None:
        self.due, self._family = None, []
        if self.program.clears is not None:
            shutil.rmtree(self.program.clears, ignore_errors=True)
        self.program.prepare()
        self.process = subprocess.Popen(
            self.program.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **self.program.env},
            cwd=self.program.cwd,
            start_new_session=True,
            bufsize=0,
        )
        assert self.process.stdout is not None
        self._pump = LogPump(self.process.stdout, self._log)

    def tail(self) -> str:
        """The last lines of its log in this run."""
        if self.process.poll() is not None:
            self._pump.settle()
        return "\n".join(f"  │ {line}" for line in self._log.tail(TAIL_LINES)) or "  │ (empty)"

    def ended(self) -> str | None:
        """What to say of a part that has ended by itself."""
        status = self.process.poll()
        if status is None:
            return None
        return f"{self.name} stopped with status {status}. The last lines of {self.log}:\n{self.tail()}"

    def stop(self, deadline: float, hurry: Callable[[], bool]) -> None:
        """SIGTERM, then SIGKILL to what is left at the `deadline` or as soon as `hurry()`; `reap` waits for its end."""
        self._family = family(self.process.pid)
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        while not self._gone() and time.monotonic() < deadline and not hurry():
            time.sleep(_LOOK_S)
        self._kill()

    def kill(self) -> None:
        """End its process, its children and its group at once."""
        self._kill()
        self.reap()

    def reap(self) -> None:
        """After a SIGKILL: wait until nothing of it runs."""
        self.process.wait()
        deadline = time.monotonic() + _KILLED_S
        while not self._gone() and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        self._pump.close()

    def _kill(self) -> None:
        self._family = [*self._family, *family(self.process.pid)]
        kill_all(self.process, self._family)

    def close(self) -> None:
        self._log.close()

    def _gone(self) -> bool:
        return self.process.poll() is not None and not any(map(runs, self._family))
