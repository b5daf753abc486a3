"""The parts of the stack as processes: started in groups of their own, watched, and stopped together."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from scripts.preflight import StartError

TAIL_LINES = 20
_KILLED_S = 1.0  # a killed process is gone in moments; nobody may reap an orphan in a container


@dataclass
class Part:
    """One process of the stack, with its log. It leads a process group, so its children stop with it."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    _file: IO[bytes]

    @classmethod
    def start(cls, name: str, command: Sequence[str], log: Path, env: Mapping[str, str]) -> Part:
        log.parent.mkdir(parents=True, exist_ok=True)
        file = log.open("wb")
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **env},
            start_new_session=True,
        )
        return cls(name, process, log, file)

    def tail(self) -> str:
        """The last lines of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"  │ {line}" for line in lines[-TAIL_LINES:]) or "  │ (empty)"

    def close(self) -> None:
        self._file.close()


class Stack:
    """Parts in the order of their start; `stop` ends them in the opposite order and leaves no process."""

    def __init__(self) -> None:
        self.parts: list[Part] = []

    def start(self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str]) -> Part:
        part = Part.start(name, command, log, env)
        self.parts.append(part)
        return part

    def check(self) -> None:
        """Raises StartError with the log's last lines when a part has ended."""
        for part in self.parts:
            status = part.process.poll()
            if status is not None:
                raise StartError(
                    f"{part.name} stopped with status {status}. The last lines of {part.log}:\n{part.tail()}"
                )

    def stop(self, patience_s: float = 4.0) -> None:
        """SIGTERM to every part, SIGKILL to what is left of its group after `patience_s` seconds."""
        families = [(part, _family(part.process.pid)) for part in self.parts]
        for part in reversed(self.parts):
            with contextlib.suppress(ProcessLookupError):
                part.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + patience_s
        for part, family in families:
            _wait(part.process, deadline)
            _, alive = psutil.wait_procs(family, timeout=max(0.0, deadline - time.monotonic()))
            for process in alive:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(part.process.pid, signal.SIGKILL)
            part.process.wait()
            psutil.wait_procs(alive, timeout=_KILLED_S)
            part.close()
        self.parts.clear()


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _wait(process: subprocess.Popen[bytes], deadline: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=max(0.0, deadline - time.monotonic()))


def resident_bytes(pids: Sequence[int]) -> int:
    """Memory of these processes and their children; pages that they share count once where the kernel says so."""
    processes = [psutil.Process(pid) for pid in pids]
    family = processes + [child for process in processes for child in process.children(recursive=True)]
    return sum(getattr(p.memory_full_info(), "pss", p.memory_info().rss) for p in family)
