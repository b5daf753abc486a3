"""What became of each item of an ingest, and the sum of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["added", "unchanged", "skipped", "failed"]


@dataclass(frozen=True)
class Result:
    """`code` says why an item was skipped or failed, `message` says it for people; `notes`: what was done to it."""

    id: str
    outcome: Outcome
    code: str = ""
    message: str = ""
    notes: tuple[str, ...] = ()


@dataclass
class Tally:
    """How many had which outcome; `skipped` by reason, `noted` by note, and each that failed."""

    added: int = 0
    unchanged: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    failed: list[Result] = field(default_factory=list)

    def count(self, result: Result) -> None:
        if result.outcome == "failed":
            self.failed.append(result)
        elif result.outcome == "skipped":
            self.skipped[result.code] += 1
        else:
            setattr(self, result.outcome, getattr(self, result.outcome) + 1)
        self.noted.update(result.notes)

    @property
    def seen(self) -> int:
        """All results so far."""
        return self.added + self.unchanged + self.skipped.total() + len(self.failed)
