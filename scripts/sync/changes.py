"""What a sync did, or would do, with each picture; and the sum of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

Did = Literal["added", "changed", "moved", "removed", "unchanged", "skipped", "failed", "kept"]


@dataclass(frozen=True)
class Change:
    """`was`: the id before a move. `code` and `message` say why one was skipped, failed, or kept though it is gone."""

    did: Did
    id: str
    code: str = ""
    message: str = ""
    was: str = ""
    notes: tuple[str, ...] = ()

    def line(self) -> dict[str, object]:
        """Without what is empty."""
        told = {"outcome": self.did, "id": self.id, "was": self.was, "code": self.code, "message": self.message}
        return {name: value for name, value in {**told, "notes": list(self.notes)}.items() if value}


@dataclass
class Summary:
    """`refused` says why removals were not followed; "" where they were."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    reused: int = 0  # vectors that were not computed again
    refused: str = ""

    def count(self, change: Change) -> None:
        self.counts[change.did] += 1
        if change.code:
            self.reasons[change.did, change.code] += 1
