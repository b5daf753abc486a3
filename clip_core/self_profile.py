"""A service looks at itself: where its threads spend processor time, what takes memory, and how much there was when.

Each sample gives the processor time that a thread has used since the last one to the stack in which it is found. So
threads that wait count nothing, and what compiled code does without the interpreter's lock is its caller's.
"""

from __future__ import annotations

import sys
import threading
import time
import tracemalloc
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from clip_core import memory_use
from clip_core.errors import BadInput, Conflict
from clip_core.memory_use import resident_bytes

MOST_SECONDS = 20.0
_SAMPLE_S, _MEMORY_S = 0.01, 0.1
_DEEPEST, _MOST_LINES = 60, 50
_OTHERS = [tracemalloc.Filter(False, file) for file in (__file__, memory_use.__file__, tracemalloc.__file__)]
Stack = tuple[str, ...]


class SelfProfiler:
    """One profile at a time in a process."""

    def __init__(self) -> None:
        self._taking = threading.Lock()

    def take(self, seconds: float, *, memory: bool = False) -> dict[str, Any]:
        """After `seconds`; in a thread. `memory`: what is allocated meanwhile and still there, which costs time.

        Raises BadInput, or Conflict while another profile is taken.
        """
        if not 0 < seconds <= MOST_SECONDS:
            raise BadInput(f"`seconds` is a number above 0, of at most {MOST_SECONDS:g}", param="seconds")
        if not self._taking.acquire(blocking=False):
            raise Conflict("a profile of this process is being taken: wait for its end")
        try:
            return _traced(seconds) if memory else _sampled(seconds)
        finally:
            self._taking.release()


def _traced(seconds: float) -> dict[str, Any]:
    tracemalloc.start()
    try:
        found = _sampled(seconds)
        lines = tracemalloc.take_snapshot().filter_traces(_OTHERS).statistics("lineno")
    finally:
        tracemalloc.stop()
    told = [{"where": str(each.traceback[0]), "bytes": each.size, "blocks": each.count} for each in lines[:_MOST_LINES]]
    return {**found, "memory": told}


def _sampled(seconds: float) -> dict[str, Any]:
    spent: Counter[Stack] = Counter()
    timeline: list[tuple[float, int]] = []
    started, used, began = time.monotonic(), _thread_ns(), time.process_time()
    while (passed := time.monotonic() - started) < seconds:
        if not timeline or passed - timeline[-1][0] >= _MEMORY_S:
            timeline.append((round(passed, 3), resident_bytes()))
        time.sleep(min(_SAMPLE_S, seconds))
        used = _add(spent, used)
    return {
        "seconds": seconds,
        "cpu_ms": round((time.process_time() - began) * 1e3, 1),
        "stacks": [{"frames": stack, "ms": round(ns / 1e6, 3)} for stack, ns in spent.most_common()],
        "timeline": timeline,
    }


def _add(spent: Counter[Stack], before: dict[int, int]) -> dict[int, int]:
    """What each thread but this one has used since; returns what it had used by now."""
    now, frames = _thread_ns(), sys._current_frames()
    for ident, ns in now.items():
        grown = ns - before.get(ident, ns)
        if grown > 0 and ident in frames and ident != threading.get_ident():
            spent[_stack(frames[ident])] += grown
    return now


def _stack(frame: FrameType | None) -> Stack:
    """The caller first; of very deep ones the innermost frames."""
    names: list[str] = []
    while frame is not None and len(names) < _DEEPEST:
        names.append(f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_name}")
        frame = frame.f_back
    return tuple(reversed(names))


def _thread_ns() -> dict[int, int]:
    """Processor time of each of Python's threads; Linux counts it."""
    found: dict[int, int] = {}
    for thread in threading.enumerate():
        try:
            counted = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_bytes()
        except OSError:  # it has ended
            continue
        if thread.ident is not None:
            found[thread.ident] = int(counted.split()[0])
    return found
