"""The parts of the stack as processes: started in groups of their own, watched, started again, and stopped in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from clip_core.errors import ClipServeError
from scripts.processes.preflight import StackStartError
from scripts.processes.restarts import RestartPolicy
from scripts.processes.rotated_log import RotatedLog
from scripts.processes.stack_process import Program, StackProcess

_LAST_S = 1.5  # kept for each part that stops later


class Stack:
    """Parts in the order of their start; `stop` ends them in the opposite order and leaves no process."""

    def __init__(self, policy: RestartPolicy | None = None, report: Callable[[str], None] = lambda _: None) -> None:
        self.parts: list[StackProcess] = []
        self._policy, self._report = policy or RestartPolicy(), report

    def start(self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str]) -> StackProcess:
        """A part with the default rotation of its log."""
        return self.add(name, Program(command, env), RotatedLog(log))

    def add(self, name: str, program: Program, log: RotatedLog) -> StackProcess:
        """Start one more part. From the main thread: parts end with the thread that starts them."""
        part = StackProcess(name, program, log, self._policy)
        self.parts.append(part)
        return part

    def check(self) -> None:
        """Raises StackStartError with the log's last lines when a part has ended."""
        for part in self.parts:
            if ended := part.ended():
                raise StackStartError(ended)

    def supervise(self) -> bool:
        """Start again what has ended, once its pause is over; True when something was. To be called again and again.

        Raises StackStartError when a part has ended too often.
        """
        return any(self._revive(part) for part in self.parts)

    def _revive(self, part: StackProcess) -> bool:
        ended, now = part.ended() if part.due is None else None, time.monotonic()
        if ended:
            delay = part.history.next_delay(now)
            if delay is None:
                raise StackStartError(f"{self._too_often(part)}\n{ended}")
            self._report(f"{ended.partition('.')[0]}; it starts again in {delay:g} s")
            part.kill()  # its children, which may hold its ports
            part.due = now + delay
        if part.due is None or now < part.due:
            return False
        try:
            part.start()
        except (OSError, ClipServeError) as error:  # short of memory, processes or disk: counts as one more end
            self._report(f"{part.name} could not be started ({getattr(error, 'strerror', None) or error})")
        return part.process.poll() is None

    def _too_often(self, part: StackProcess) -> str:
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
