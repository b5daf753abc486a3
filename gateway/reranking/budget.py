"""What a request may spend on reranking: milliseconds, and tokens that a decoder reads."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class Budget:
    """None sets no limit. The time runs from when the budget is made."""

    ms: float | None = None
    tokens: int | None = None
    started: float = field(default_factory=time.perf_counter)
    used_tokens: int = 0
    spent: str | None = None  # which of the two ended the work: "ms" or "tokens"

    def seconds_left(self) -> float | None:
        return None if self.ms is None else max(0.0, self.ms / 1e3 - (time.perf_counter() - self.started))

    def tokens_left(self) -> int | None:
        return None if self.tokens is None else max(0, self.tokens - self.used_tokens)

    def elapsed_ms(self) -> float:
        return (time.perf_counter() - self.started) * 1e3

    def over(self) -> bool:
        """Notes it, too."""
        if self.seconds_left() == 0.0:
            self.spent = "ms"
        elif self.tokens_left() == 0:
            self.spent = "tokens"
        return self.spent is not None
