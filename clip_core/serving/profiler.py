"""PyTorch's profiler around a few batches of one worker, while it goes on serving.

Each batch is profiled by itself, so nothing is left open while a worker has nothing to do. Around a batch PyTorch's
profiler needs milliseconds of its own; where that is more than a tenth of the time, batches in between run without it.
A profile ends after so many batches or seconds, whichever is first; what was recorded is written by a thread of its
own, into a folder that all workers of the endpoint share: whichever of them is asked for it has it. A lock there keeps
profiles apart; it ends with its worker.
"""

from __future__ import annotations

import fcntl
import gzip
import logging
import os
import re
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import orjson

from clip_core.errors import BadInput, Conflict, NotFound

T = TypeVar("T")
MOST_BATCHES, MOST_SECONDS = 200, 60.0
_MOST_EVENTS = 60_000  # of the trace: about 8 MB, which an answer may have
_KEPT_TIMES = 500  # of batches before the profile
_MOST_SLOWER = 0.1  # of the time, spent by the profiler itself
_REST, _MOST_REST_S = 5.0, 0.1  # times as long as the last batch took to read, at most: the worker serves meanwhile
_ID = re.compile(r"[0-9a-f]{32}")
log = logging.getLogger("clipserve.profiler")


@dataclass
class _Profile:
    """One that is under way."""

    id: str
    lock: int
    batches: int
    before: list[float]  # seconds of batches
    runs: list[Any] = field(default_factory=list)  # finished profiles of PyTorch
    done: list[dict[str, Any]] = field(default_factory=list)  # what is known of each batch
    began: float = 0.0  # by the monotonic clock
    spent_s: float = 0.0  # by the profiler itself, around batches

    def takes_next(self) -> bool:
        return self.spent_s <= _MOST_SLOWER * (time.perf_counter() - self.began)


class Profiler:
    """`folder`: shared by the workers of one endpoint, and theirs alone."""

    def __init__(self, endpoint: str, worker: str, folder: Path | None = None) -> None:
        self.endpoint, self.worker = endpoint, worker
        self._folder = folder or Path(tempfile.gettempdir()) / f"clipserve-profiles-{os.getuid()}" / endpoint
        self._times: deque[float] = deque(maxlen=_KEPT_TIMES)
        self._lock = threading.Lock()
        self._current: _Profile | None = None

    def start(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """`batches` and `seconds` bound it. Raises BadInput, or Conflict while a worker of the endpoint profiles."""
        batches = _bounded(body.get("batches", 20), "batches", MOST_BATCHES)
        seconds = _bounded(body.get("seconds", 10), "seconds", MOST_SECONDS)
        profile = _Profile(uuid.uuid4().hex, self._take_lock(), int(batches), list(self._times))
        for old in self._folder.glob("*.json.*"):
            old.unlink(missing_ok=True)
        threading.Thread(target=self._begin, args=(profile, seconds), name="profile", daemon=True).start()
        return {"id": profile.id, "state": "running", "worker": self.worker}

    def fetch(self, identity: object) -> dict[str, Any]:
        """What the profile recorded, or that it goes on. Raises NotFound when no worker has or makes it."""
        if not isinstance(identity, str) or not _ID.fullmatch(identity):
            raise BadInput("`id` is what the start of the profile answered", param="admin.id")
        found = self._written(identity)
        if found is None and self._is_locked():
            return {"id": identity, "state": "running"}
        if found is None and (found := self._written(identity)) is None:  # it may have ended in between
            raise NotFound("this profile is lost: its worker ended, another began, or the disk is full")
        return found

    def _written(self, identity: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = orjson.loads(gzip.decompress(self._path(identity).read_bytes()))
        except OSError:
            return None
        return found

    def run(self, work: Callable[[], T], about: Callable[[], dict[str, Any]]) -> T:
        """A batch. `about` says afterwards what is known of it; what goes wrong with the profile is logged."""
        profile, started = self._current, time.perf_counter()
        if profile is None or not profile.takes_next():
            done = work()
            self._times.append(time.perf_counter() - started)
            return done
        answer, seconds = _profiled(work, profile)
        own = time.perf_counter() - started - seconds
        profile.spent_s += own
        profile.done.append({**about(), "ms": round(seconds * 1e3, 3), "profiler_ms": round(own * 1e3, 3)})
        if len(profile.done) >= profile.batches:
            self._finish(profile)
        return answer

    def _begin(self, profile: _Profile, seconds: float) -> None:
        """PyTorch's profiler takes seconds to start for the first time in a process, in whichever thread."""
        _profiled(lambda: None, _Profile("", 0, 1, []))
        profile.began = time.perf_counter()
        self._current = profile
        timer = threading.Timer(seconds, lambda: self._finish(profile))
        timer.daemon = True
        timer.start()

    def _finish(self, profile: _Profile) -> None:
        """Once; what takes long is left to a thread."""
        with self._lock:
            if self._current is not profile:
                return
            self._current = None
        threading.Thread(target=self._write, args=(profile,), name="profile", daemon=True).start()

    def _write(self, profile: _Profile) -> None:
        try:
            found = {
                "id": profile.id,
                "state": "done",
                "endpoint": self.endpoint,
                "worker": self.worker,
                "batches": profile.done,
                "before_ms": [round(each * 1e3, 3) for each in profile.before],
                **_recorded(profile.runs),
            }
            part = self._path(profile.id).with_suffix(".part")
            part.write_bytes(gzip.compress(orjson.dumps(found), 6))
            part.rename(self._path(profile.id))
        except Exception:
            log.exception("a profile can't be written")
        finally:
            os.close(profile.lock)

    def _path(self, identity: str) -> Path:
        return self._folder / f"{identity}.json.gz"

    def _take_lock(self) -> int:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            opened = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise Conflict(f"no profile can be written here: {error.strerror}") from error
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(opened)
            raise Conflict(f"a profile of {self.endpoint} is being taken: wait for its end") from error
        return opened

    def _is_locked(self) -> bool:
        try:
            os.close(self._take_lock())
        except Conflict:
            return True
        return False


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    """With its seconds."""
    started = time.perf_counter()
    return work(), time.perf_counter() - started


def _profiled(work: Callable[[], T], profile: _Profile) -> tuple[T, float]:
    """`work` runs once, whatever the profiler does; its seconds are without what the profiler takes around it."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as torch_profile

    try:
        recorder = torch_profile(activities=[ProfilerActivity.CPU], with_flops=True)
        recorder.start()
    except Exception:
        log.exception("PyTorch's profiler does not start")
        return _timed(work)
    try:
        return _timed(work)
    finally:
        try:
            recorder.stop()
            profile.runs.append(recorder)
        except Exception:
            log.exception("PyTorch's profiler does not stop")


class _Event(NamedTuple):
    """What one thread did, in nanoseconds; sorted, an event comes before those inside it."""

    thread: int
    start: int
    minus_length: int
    name: str
    flops: int


def _recorded(runs: list[Any]) -> dict[str, Any]:
    """Operators summed over all batches, and the first events as Chrome's. Each run is let go as soon as it is read."""
    import torch

    operators: dict[str, dict[str, float]] = {}
    trace: list[dict[str, Any]] = []
    count = 0
    while runs:
        started = time.perf_counter()
        events = _events(runs.pop(0))
        _sum(events, operators)
        count += len(events)
        trace += map(_chrome_event, events[: _MOST_EVENTS - len(trace)])
        time.sleep(min(_REST * (time.perf_counter() - started), _MOST_REST_S))
    return {
        "threads": torch.get_num_threads(),
        "operators": [{"name": name, **row} for name, row in operators.items()],
        "trace": trace,
        "cut": count > len(trace),
    }


def _events(run: Any) -> list[_Event]:
    """PyTorch's own reading (`key_averages`, `export_chrome_trace`) takes a third of a second for each batch."""
    return sorted(
        _Event(each.start_thread_id(), each.start_ns(), -each.duration_ns(), each.name(), each.flops())
        for each in run.profiler.kineto_results.events()
        if each.device_type().name == "CPU"
    )


def _sum(events: Sequence[_Event], operators: dict[str, dict[str, float]]) -> None:
    """Into `operators`: their calls, their time with and without what they called, and floating-point operations."""
    around: list[tuple[_Event, dict[str, float]]] = []
    for event in events:
        row = operators.setdefault(event.name, {"calls": 0, "self_us": 0.0, "total_us": 0.0, "flops": 0.0})
        us = -event.minus_length / 1e3
        while around and not _inside(event, around[-1][0]):
            around.pop()
        if around:
            around[-1][1]["self_us"] -= us
        around.append((event, row))
        row["calls"] += 1
        row["self_us"] += us
        row["total_us"] += us
        row["flops"] += event.flops


def _inside(event: _Event, other: _Event) -> bool:
    return event.thread == other.thread and event.start < other.start - other.minus_length


def _chrome_event(event: _Event) -> dict[str, Any]:
    times = {"ts": event.start / 1e3, "dur": -event.minus_length / 1e3}
    return {"name": event.name, "ph": "X", "pid": os.getpid(), "tid": event.thread, **times}


def _bounded(value: object, name: str, most: float) -> float:
    if type(value) not in (int, float) or not 0 < value <= most:  # type: ignore[operator]
        raise BadInput(f"`{name}` is a number above 0, of at most {most:g}", param=f"admin.{name}")
    return float(value)  # type: ignore[arg-type]
