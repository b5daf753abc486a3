"""The parts of the stack as processes: started in groups of their own, watched, started again, and stopped in order."""

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
from scripts.processes.preflight import StartError
from scripts.processes.restarts import RestartHistory, RestartPolicy
from scripts.processes.rotated_log import RotatedLog

TAIL_LINES = 20
_KILLED_S = 1.0  # a killed process is gone in moments; nobody may reap an orphan in a container
_LAST_S = 1.5  # kept for each part that stops later
_LOOK_S = 0.02


@dataclass(frozen=True)
class Program:
    """What a part runs; `cwd` is the current folder unless given. `clears`: a folder that each start begins without."""

    command: Sequence[str]
    env: Mapping[str, str]
    cwd: Path | None = None
    clears: Path | None = None


class Part:
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
        return self.process.poll() is not None and not any(map(_runs, self._family))


class Stack:
    """Parts in the order of their start; `stop` ends them in the opposite order and leaves no process."""

    def __init__(self, policy: RestartPolicy | None = None, report: Callable[[str], None] = lambda _: None) -> None:
        self.parts: list[Part] = []
        self._policy, self._report = policy or RestartPolicy(), report

    def start(self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str]) -> Part:
        """A part with the default rotation of its log."""
        return self.add(name, Program(command, env), RotatedLog(log))

    def add(self, name: str, program: Program, log: RotatedLog) -> Part:
        """Start one more part. From the main thread: parts end with the thread that starts them."""
        part = Part(name, program, log, self._policy)
        self.parts.append(part)
        return part

    def check(self) -> None:
        """Raises StartError with the log's last lines when a part has ended."""
        for part in self.parts:
            if ended := part.ended():
                raise StartError(ended)

    def supervise(self) -> bool:
        """Start again what has ended, once its pause is over; True when something was. To be called again and again.

        Raises StartError when a part has ended too often.
        """
        return any(self._revive(part) for part in self.parts)

    def _revive(self, part: Part) -> bool:
        ended, now = part.ended() if part.due is None else None, time.monotonic()
        if ended:
            delay = part.history.next_delay(now)
            if delay is None:
                raise StartError(f"{self._too_often(part)}\n{ended}")
            self._report(f"{ended.partition('.')[0]}; it starts again in {delay:g} s")
            part.kill()  # its children, which may hold its ports
            part.due = now + delay
        if part.due is None or now < part.due:
            return False
        try:
            part.start()
        except OSError as error:  # short of memory or processes: counts as one more end
            self._report(f"{part.name} could not be started ({error.strerror})")
        return part.process.poll() is None

    def _too_often(self, part: Part) -> str:
        if not self._policy.limit:
            return f"{part.name} is not started again (restart_limit is 0)."
        return (
            f"{part.name} ended more than {self._policy.limit} times in {self._policy.window_s:g} s; "
            "it is not started again."
        )

    def stop(self, patience_s: float = 4.0, hurry: Callable[[], bool] = lambda: False) -> None:
        """One part after the other, the last that was started first; all at once as soon as `hurry()`."""
        deadline = time.monotonic() + patience_s
        for number, part in reversed(list(enumerate(self.parts))):
            reserve = min(_LAST_S, patience_s / len(self.parts)) * number
            part.stop(deadline - reserve, hurry)
        for part in self.parts:
            part.reap()
            part.close()
        self.parts.clear()


def family(pid: int) -> list[psutil.Process]:
    """The children of a process, and theirs."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def kill_all(leader: subprocess.Popen[bytes], children: Sequence[psutil.Process]) -> None:
    """SIGKILL to the leader of a group, to what is left of the group, and to these children."""
    for process in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader.pid, signal.SIGKILL)


def _runs(process: psutil.Process) -> bool:
    """A zombie that nobody reaps does not run."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def resident_bytes(pids: Sequence[int]) -> int:
    """Memory of these processes and their children; pages that they share count once where the kernel says so."""
    processes = [psutil.Process(pid) for pid in pids]
    family = processes + [child for process in processes for child in process.children(recursive=True)]
    return sum(getattr(p.memory_full_info(), "pss", p.memory_info().rss) for p in family)
