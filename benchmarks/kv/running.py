"""One load through the scheduler with one cache: what was said, how fast, and what memory it took at each step."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.kv.loads import Request
from clip_core.caption_caches.choice import CacheChoice
from clip_core.captions.captioner import Captioner
from clip_core.captions.scheduler import Scheduler

ROWS = 256  # more than fit in any budget here: bytes are what bounds
_LOOK_EVERY = 4  # steps


@dataclass(frozen=True)
class MemoryLook:
    """Bytes. `reserved`: no other request can have them. `live`: what rows attend to, shared ones once."""

    reserved: int
    resident: int
    live: int


@dataclass
class LoadRun:
    tokens: dict[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)
    looks: list[MemoryLook] = field(default_factory=list)
    live: list[int] = field(default_factory=list)  # requests under way at each step while others wait
    seconds: float = 0.0
    preempted: int = 0
    tokens_again: int = 0

    def told(self) -> dict[str, float]:
        """Means over the steps in which requests waited; bytes in MB."""
        most = max(self.looks, key=lambda look: look.reserved)
        return {
            "captions_per_s": len(self.tokens) / self.seconds,
            "admitted_mean": statistics.mean(self.live) if self.live else 0.0,
            "admitted_most": float(max(self.live, default=0)),
            "preempted": float(self.preempted),
            "tokens_again": float(self.tokens_again),
            "reserved_mb": most.reserved / 1e6,
            "resident_mb": max(look.resident for look in self.looks) / 1e6,
            "live_mb": max(look.live for look in self.looks) / 1e6,
            "waste": 1 - statistics.mean(look.live / look.reserved for look in self.looks if look.reserved),
        }


def run(
    captioner: Captioner, choice: CacheChoice, requests: Sequence[Request], rows: int = ROWS, every: int = _LOOK_EVERY
) -> LoadRun:
    """All at once; `every` so many steps memory is looked at, outside of the time. Raises what a caption fails with."""
    scheduler, ran = Scheduler(captioner, rows, len(requests), choice), LoadRun()
    for i, (pixels, ask) in enumerate(requests):
        scheduler.add(str(i), pixels, ask)
    step = 0
    while not scheduler.idle:
        started = time.perf_counter()
        events = scheduler.run(1)
        ran.seconds += time.perf_counter() - started
        for event in events:
            if event.error is not None:
                raise event.error
            if event.captions is not None:
                ran.tokens[event.id] = tuple(caption.tokens for caption in event.captions)
        if scheduler.waiting:
            ran.live.append(scheduler.live_requests)
        step += 1
        if step % every == 0 and scheduler.grids:
            ran.looks.append(look(scheduler))
    ran.preempted, ran.tokens_again = scheduler.counts.preempted, scheduler.counts.tokens_again
    return ran


def look(scheduler: Scheduler) -> MemoryLook:
    token, pool = scheduler.captioner.cache_shape.token_bytes, scheduler.store.pool
    resident = sum(grid.texts.resident + grid.pictures.resident for grid in scheduler.grids)
    live = sum(grid.texts.stored_tokens * token + grid.pictures.live_bytes for grid in scheduler.grids)
    return MemoryLook(scheduler.cache_bytes, resident + (pool.resident if pool is not None else 0), live)


def tokens_that_differ(one: LoadRun, other: LoadRun) -> int:
    """Positions of all captions at which two runs differ."""
    differ = 0
    for id, captions in one.tokens.items():
        for mine, its in zip(captions, other.tokens[id], strict=True):
            differ += sum(a != b for a, b in zip(mine, its, strict=False)) + abs(len(mine) - len(its))
    return differ
