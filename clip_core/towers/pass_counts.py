"""What the towers were given since the last report: how full their passes were, and how much of it was padding."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from clip_core.tracing.spans import Span, stage


@dataclass
class PassCount:
    """Counts of one modality. `capacity` is what its passes could have held; tokens are of texts only."""

    passes: int = 0
    items: int = 0
    capacity: int = 0
    tokens: int = 0
    padding: int = 0

    def add(self, items: int, capacity: int, *, tokens: int = 0, padding: int = 0) -> None:
        """One pass of `items`, which computed `tokens`, `padding` of them for nothing."""
        self.passes += 1
        self.items += items
        self.capacity += capacity
        self.tokens += tokens
        self.padding += padding


@dataclass
class PassCounts:
    text: PassCount = field(default_factory=PassCount)
    image: PassCount = field(default_factory=PassCount)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str, **options: Any) -> Iterator[Span | None]:
        """Counts the seconds of this stage, which is a span where the trace is recorded; for `options` see `stage`."""
        started = time.perf_counter()
        with stage(name, **options) as span:
            yield span
        self.add_seconds(name, time.perf_counter() - started)

    def add_seconds(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def take_seconds(self) -> dict[str, float]:
        """By stage; they start again from nothing."""
        taken, self.seconds = self.seconds, {}
        return taken

    def take(self) -> dict[str, PassCount]:
        """The counts by modality; they start again from nothing."""
        taken = {"text": self.text, "image": self.image}
        self.text, self.image = PassCount(), PassCount()
        return taken
