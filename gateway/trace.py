"""The trace of one request: its id, deadline, caller and stage times, found from anywhere in its task."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field

from starlette.datastructures import Headers

from gateway.key_masking import without_keys

_MOMENT_MS = 0.1
_GOOD_ID = re.compile(r"[\x21-\x7e]{1,128}")


def _uncounted(_: int) -> None:
    """Of work that is no request's."""


@dataclass
class Trace:
    """One request as it goes through; `stages` holds milliseconds by name, `headers` go into the answer.

    `deadline` is on the clock of time.monotonic(); None means that only the gateway's own timeouts apply. `caller` is a
    key's id or an address; requests of one caller share limits and a place in queues. It is empty for background work.
    Until `sooner` what is under way ends: something follows it before the deadline. A `patient` request may wait
    for its turn without limit: it is a stream, and a part of it is done. `progressed` is when a part of it was last
    answered upstream, on the same clock as `deadline`. Failures of what is `quiet` are no news: it asks again in a
    moment. `hold` counts bytes that the request holds beside its body, and may end it where there are too many.
    """

    request_id: str = ""
    started: float = field(default_factory=time.perf_counter)
    stages: dict[str, float] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    deadline: float | None = None
    sooner: float | None = None
    caller: str = ""
    patient: bool = False
    progressed: float = 0.0
    quiet: bool = False
    hold: Callable[[int], None] = _uncounted

    def seconds_left(self) -> float | None:
        """Seconds until the deadline, negative when it is past; None without a deadline."""
        ends = [end for end in (self.deadline, self.sooner) if end is not None]
        return min(ends) - time.monotonic() if ends else None

    def progress(self) -> None:
        """A part of it was answered upstream: it does not stall."""
        self.progressed = time.monotonic()

    def note(self, stage: str, ms: float) -> None:
        """The longest counts of what ran side by side."""
        self.stages[stage] = max(ms, self.stages.get(stage, 0.0))

    def elapsed_ms(self) -> float:
        return (time.perf_counter() - self.started) * 1e3

    def server_timing(self) -> str:
        stages = {**self.stages, "total": self.elapsed_ms()}
        return ", ".join(f"{name};dur={ms:.2f}" for name, ms in stages.items())


_current: ContextVar[Trace] = ContextVar("gateway_trace")


def current_trace() -> Trace:
    """The trace of the request being answered; outside of any request, a fresh Trace without an id."""
    return _current.get(None) or Trace()


def set_current_trace(trace: Trace) -> Token[Trace]:
    """Set the trace for the rest of this task; work done for several requests at once has a trace of its own.

    The token is for `reset_current_trace`.
    """
    return _current.set(trace)


def reset_current_trace(token: Token[Trace]) -> None:
    """Put back the trace that was there before `set_current_trace`."""
    _current.reset(token)


@contextmanager
def ending_sooner(share: float, most_s: float) -> Iterator[None]:
    """Of what is left until the deadline, this share, and at most `most_s`, is kept for what comes after the block."""
    trace = current_trace()
    before, left = trace.sooner, trace.seconds_left()
    if left is not None:
        trace.sooner = time.monotonic() + left - min(share * left, most_s)
    try:
        yield
    finally:
        trace.sooner = before


@contextmanager
def timed(stage: str) -> Iterator[None]:
    """A stage of the request at hand, told where it took a moment; also when it fails."""
    started = time.perf_counter()
    try:
        yield
    finally:
        ms = (time.perf_counter() - started) * 1e3
        if ms >= _MOMENT_MS:
            current_trace().note(stage, ms)


def request_id_of(headers: Headers) -> str:
    """The caller's X-Request-Id if it is printable ASCII of at most 128 characters, without a key; else a new one."""
    given = without_keys(headers.get("x-request-id", ""))
    return given if _GOOD_ID.fullmatch(given) else uuid.uuid4().hex
